import assert from 'node:assert/strict';
import {test} from 'node:test';
import {mount} from './snippets.js';

const IDLE = {state: 'idle', run: '', fraction: 0, message: '', parts: [], tokens: 0, forming: 0};
const RUNNING = {...IDLE, state: 'running', run: 'r1', fraction: 0.5, message: 'Writing', parts: ['3 tokens'], tokens: 3};

function line(t) {
  t.mock.timers.enable({apis: ['setTimeout']});
  const props = {value: IDLE, waiting_text: 'Waiting in line', silent_text: 'No answer', refused_text: 'Refused'};
  const page = mount('progress_line', props);
  const toldToStop = [];
  page.at('.line').scrollIntoView = () => {};
  page.bench.addEventListener('click', event => { if (event.target.matches('.stop')) toldToStop.push(props.value.state); });
  const pressed = {run: 0};
  page.bench.querySelector('.run').addEventListener('click', () => { pressed.run += 1; });
  return {
    ...page, toldToStop, pressed, wait: milliseconds => t.mock.timers.tick(milliseconds),
    tell: event => page.bench.dispatchEvent(new page.window.CustomEvent(event)),
    stop: () => page.bench.querySelector('.stop').click(),
    state: () => page.at('.line').dataset.state, said: () => page.at('.said').textContent, wrong: () => page.at('.wrong').textContent,
  };
}

test('a run that is asked for says so at once, that there is a queue after a while, and that nobody answers after longer', t => {
  const page = line(t);
  page.tell('asked');
  assert.deepEqual([page.state(), page.said(), page.wrong()], ['waiting', 'Starting', '']);
  page.wait(1500);
  assert.equal(page.said(), 'Waiting in line');
  page.wait(18500);
  assert.equal(page.wrong(), 'No answer');
});

test('the first frame of a run ends the waiting', t => {
  const page = line(t);
  page.tell('asked');
  page.update(RUNNING);
  page.wait(60000);
  assert.deepEqual([page.state(), page.said(), page.wrong()], ['running', 'Writing', '']);
  assert.equal(page.at('.numbers').textContent, '3 tokens');
});

test('an error is an alert and not a status', t => {
  const page = line(t);
  page.update({...IDLE, state: 'error', message: 'Too long'});
  assert.deepEqual([page.said(), page.wrong()], ['', 'Too long']);
});

for (const [tokens, forming, said] of [[1, 0, 'Stopped after 1 token.'], [3, 0, 'Stopped after 3 tokens.'],
  [3, 2, 'Stopped after 5 tokens, the last 2 of them still forming.']]) {
  test('stopped with ' + tokens + ' tokens and ' + forming + ' forming, it says: ' + said, t => {
    const page = line(t);
    page.tell('asked');
    page.update({...RUNNING, tokens, forming});
    page.stop();
    assert.deepEqual([page.state(), page.said()], ['stopped', said]);
    assert.deepEqual(page.toldToStop, ['stopped'], 'gradio was not told');
  });
}

test('late frames of a run that was stopped are not drawn, those of the next are', t => {
  const page = line(t);
  page.tell('asked');
  page.update(RUNNING);
  page.stop();
  page.update({...RUNNING, tokens: 9});
  assert.equal(page.state(), 'stopped');
  page.update({...RUNNING, run: 'r2'});
  assert.equal(page.state(), 'running');
});

test('Stop before the server has answered is kept from gradio until the first frame, and pressed then', t => {
  const page = line(t);
  page.tell('asked');
  page.stop();
  assert.deepEqual([page.state(), page.said(), page.toldToStop], ['stopped', 'Stopped before it began.', []]);
  page.update(RUNNING);
  assert.equal(page.state(), 'stopped');
  assert.equal(page.toldToStop.length, 1);
});

test('Stop without a run is for gradio alone', t => {
  const page = line(t);
  page.stop();
  assert.deepEqual([page.state(), page.toldToStop.length], ['idle', 1]);
});

test('Run pressed while a stopped run is still ending is pressed again when it has ended', t => {
  const page = line(t);
  page.tell('asked');
  page.update(RUNNING);
  page.stop();
  page.tell('asked');
  assert.equal(page.state(), 'waiting');
  assert.equal(page.pressed.run, 0);
  page.tell('ended');
  page.wait(60);
  assert.equal(page.pressed.run, 1);
});

test('a run that ends is not pressed again', t => {
  const page = line(t);
  page.tell('asked');
  page.update({...RUNNING, state: 'done'});
  page.tell('ended');
  page.wait(10000);
  assert.deepEqual([page.state(), page.pressed.run], ['done', 0]);
});

test('a run that gradio refuses is an error', t => {
  const page = line(t);
  page.tell('asked');
  page.tell('refused');
  assert.deepEqual([page.state(), page.wrong()], ['error', 'Refused']);
});

test('a link presses Run once, after a moment, and only where nothing runs', t => {
  const page = line(t);
  page.update({...IDLE, press: true});
  assert.equal(page.pressed.run, 0);
  page.wait(300);
  page.wait(10000);
  assert.equal(page.pressed.run, 1);
  page.update({...RUNNING, press: true});
  page.wait(10000);
  assert.equal(page.pressed.run, 1);
});

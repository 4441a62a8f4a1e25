import assert from 'node:assert/strict';
import {test} from 'node:test';
import {mount} from './snippets.js';

const IDLE = {state: 'idle', run: '', fraction: 0, message: '', parts: [], tokens: 0, forming: 0};
const RUNNING = {...IDLE, state: 'running', run: 'r1', fraction: 0.5, message: 'Writing', parts: ['3 tokens'], tokens: 3};

function line() {
  const page = mount('progress_line', {value: IDLE, part: 'progress'});
  const send = (target, type, detail) => target.dispatchEvent(new page.window.CustomEvent(type, {detail}));
  page.at('.line').scrollIntoView = () => {};
  return {
    ...page, frame: value => send(page.element, 'frame', value), run: (name, more = {}) => send(page.bench, 'run-state', {name, ...more}),
    shown: () => [page.at('.line').dataset.state, page.at('.note').textContent, page.at('.wrong').textContent],
  };
}

test('a frame is drawn without gradio, and given to gradio when the run has ended', () => {
  const page = line();
  page.run('starting');
  page.frame(RUNNING);
  assert.deepEqual([...page.shown(), page.at('.numbers').textContent], ['running', 'Writing', '', '3 tokens']);
  assert.notEqual(page.props.value.state, 'running');
  page.frame({...RUNNING, state: 'done', message: 'Done'});
  page.run('ended', {outcome: 'done', message: ''});
  assert.equal(page.props.value.state, 'done');
});

test('a run that starts says so', () => {
  const page = line();
  page.run('starting');
  assert.deepEqual(page.shown(), ['waiting', 'Starting', '']);
});

for (const [about, value, said] of [
  ['one token', {...RUNNING, tokens: 1}, 'Stopped after 1 token.'],
  ['tokens that are forming', {...RUNNING, forming: 2}, 'Stopped after 5 tokens, the last 2 of them still forming.'],
  ['nothing but what is forming', {...RUNNING, tokens: 0, forming: 4}, 'Stopped after 4 tokens, all still forming.'],
  ['one token that is forming', {...RUNNING, tokens: 0, forming: 1}, 'Stopped after 1 token, still forming.'],
  ['texts that it counts', {...RUNNING, stopped: 'Stopped: 3 of 9 texts are finished.'}, 'Stopped: 3 of 9 texts are finished.'],
  ['a share without a count', {...RUNNING, tokens: 0}, 'Stopped.'],
  ['nothing', {...RUNNING, tokens: 0, fraction: 0}, 'Stopped before it began.'],
  ['a place in the queue', {...RUNNING, state: 'waiting'}, 'Stopped before it began.'],
]) {
  test('stopped with ' + about + ', it says: ' + said, () => {
    const page = line();
    page.run('starting');
    page.frame(value);
    page.run('stopping');
    assert.deepEqual(page.shown(), ['stopped', said, '']);
  });
}

test('what ended with an error, or was lost, is an alert', () => {
  for (const [name, more] of [['ended', {outcome: 'error'}], ['lost', {}]]) {
    const page = line();
    page.run('starting');
    page.run(name, {...more, message: 'It went wrong.'});
    assert.deepEqual(page.shown(), ['error', '', 'It went wrong.']);
  }
});

test('a lost run that is found again shows what it last said', () => {
  const page = line();
  page.run('starting');
  page.frame(RUNNING);
  page.run('lost', {message: 'Lost.'});
  page.run('running');
  assert.deepEqual(page.shown(), ['running', 'Writing', '']);
});

test('why another run could not take its place stands beside a run that goes on, until the next', () => {
  const page = line();
  page.run('starting');
  page.frame(RUNNING);
  page.run('running', {message: 'Seed is too low.'});
  page.frame({...RUNNING, state: 'done', message: 'Done'});
  assert.deepEqual(page.shown(), ['done', 'Done', 'Seed is too low.']);
  page.run('starting');
  assert.deepEqual(page.shown(), ['waiting', 'Starting', '']);
});

test('a run that ended without a last word is stopped', () => {
  const page = line();
  page.run('starting');
  page.frame(RUNNING);
  page.run('ended', {outcome: 'stopped', message: ''});
  assert.deepEqual(page.shown(), ['stopped', 'Stopped after 3 tokens.', '']);
});

import assert from 'node:assert/strict';
import {test} from 'node:test';
import {defined, mount} from './snippets.js';

const lines = (...blocks) => blocks.map(tokens => JSON.stringify(tokens)).join('\n');
const FIRST = [['One', 0.9, false], [' day', 0.5, false]], SECOND = [[' end', 0.8, false], ['<|pad|>', 1, true]];
const RUNNING = {state: 'running', run: 'r', prompt: 'Say: ', settled: lines(FIRST), live: [[' e', 0.1, false]], look: ''};
const LOOK = [
  {block: 0, first: 0, count: 2, steps: [0, 1], noise: [100, 50.4], of: 2, ids: [0, 1, 2, 1], sure: [10, 20, 90, 50],
    words: {0: ['Two', false], 1: [' day', false], 2: ['One', false]}},
  {block: 1, first: 0, count: 1, steps: [1], noise: [50], of: 2, ids: [3], sure: [80], words: {3: [' and', false]}},
];
const DONE = {...RUNNING, state: 'done', settled: lines(FIRST, SECOND), live: [], look: JSON.stringify(LOOK)};

function strip(value, part = '') {
  const page = mount('token_strip', {value, part, empty_text: 'Nothing yet', start_label: 'Write'}, {parts: ['step_text.js', 'swipe.js', 'playhead.js', 'roll.js']});
  return {
    ...page, answer: () => page.at('.answer').textContent, live: () => page.at('.live').textContent, where: () => page.at('.where').textContent,
    scrub: to => {
      page.at('input[type=range]').value = to;
      page.at('input[type=range]').dispatchEvent(new page.window.Event('input'));
    },
    press: key => page.at('.text').dispatchEvent(new page.window.KeyboardEvent('keydown', {key, bubbles: true})),
  };
}

test('what has settled, what is forming and the prompt stand each in its place', () => {
  const page = strip(RUNNING);
  assert.deepEqual([page.at('.prompt').textContent, page.answer(), page.live()], ['Say: ', 'One day', ' e']);
  assert.equal(page.at('.strip').getAttribute('aria-busy'), 'true');
});

test('a finger that goes over the text from side to side moves the player, a tap or a mouse does not', () => {
  const page = strip(DONE), surface = page.at('.page'), slider = page.at('input[type=range]');
  Object.defineProperty(surface, 'clientWidth', {value: 300});
  const point = (name, clientX, pointerType = 'touch') => surface.dispatchEvent(
    Object.assign(new page.window.Event(name, {bubbles: true}), {clientX, pointerType, isPrimary: true}));
  const swipe = (from, to, type) => {
    point('pointerdown', from, type);
    point('pointermove', to, type);
    point('pointerup', to, type);
    return Number(slider.value);
  };
  assert.equal(slider.max, '3');
  assert.deepEqual([swipe(200, 195), swipe(200, 90, 'mouse')], [3, 3]);
  assert.deepEqual([swipe(250, 150), swipe(250, 150), swipe(10, 120), swipe(250, -400)], [2, 1, 2, 0]);
  assert.match(page.where(), /^block 1 of 2, step 1 of 2/);
  point('pointermove', 300);
  assert.equal(slider.value, '0', 'no finger is down any more');
});

test('a finger that comes down on the strip of steps moves it when it goes sideways or taps, not when it scrolls', () => {
  const page = strip(DONE), slider = page.at('input[type=range]');
  const point = (name, clientX, clientY, pointerType = 'touch') => slider.dispatchEvent(
    Object.assign(new page.window.Event(name, {bubbles: true}), {clientX, clientY, pointerType, isPrimary: true}));
  const finger = (to, ...moves) => {
    point('pointerdown', 100, 100);
    page.scrub(to);      // the browser moves its slider at once
    const then = slider.value;
    for (const move of moves) point(...move);
    return [then, slider.value, page.where().slice(0, 7)];
  };
  assert.deepEqual(finger('1', ['pointermove', 104, 80], ['pointercancel', 104, 60]), ['3', '3', 'the fin']);
  assert.deepEqual(finger('1', ['pointermove', 80, 60], ['pointercancel', 80, 40]), ['3', '3', 'the fin']);
  assert.deepEqual(finger('2', ['pointerup', 101, 101]), ['3', '2', 'block 2']);
  assert.deepEqual(finger('1', ['pointermove', 86, 104]), ['2', '1', 'block 1']);
  page.scrub('0');
  assert.equal(slider.value, '0', 'it follows the finger from there on');
  point('pointerdown', 100, 100, 'mouse');
  page.scrub('2');
  assert.match(page.where(), /^block 2/, 'a mouse moves it at once');
});

test('text is text, whatever it looks like', () => {
  const page = strip({...RUNNING, settled: lines([['<img src=x>', 1, false]])});
  assert.equal(page.answer(), '<img src=x>');
  assert.equal(page.at('img'), null);
});

test('a special token is a sign with its name as the title', () => {
  const last = strip(DONE).at('.answer').lastChild;
  assert.deepEqual([last.textContent, last.title, last.className], ['∎', '<|pad|> · 100 %', 'token special']);
});

test('a given token is one on its way and at the end, without noise', () => {
  const given = [{...LOOK[0], given: [1, 0]}, LOOK[1]];
  const page = strip({...DONE, settled: lines([['One', 0.9, 0, 0, 1], FIRST[1]], SECOND), look: JSON.stringify(given)});
  assert.deepEqual([...page.element.querySelectorAll('.answer .given')].map(node => node.textContent), ['One']);
  page.scrub(0);
  assert.deepEqual([...page.element.querySelectorAll('.live .given')].map(node => node.textContent), ['Two']);
});

test('settled tokens that stand there are not drawn anew', () => {
  const page = strip(RUNNING);
  const node = page.at('.answer').firstChild;
  page.update({...RUNNING, settled: lines(FIRST, SECOND)});
  assert.equal(page.at('.answer').firstChild, node);
  assert.equal(page.answer(), 'One day end∎');
});

test('another run starts from a clean sheet', () => {
  const page = strip(RUNNING);
  page.update({...RUNNING, run: 's', settled: lines(SECOND)});
  assert.equal(page.answer(), ' end∎');
});

test('Stop keeps what there is', () => {
  const page = strip(RUNNING, 'strip');
  page.bench.dispatchEvent(new page.window.CustomEvent('run-state', {detail: {name: 'stopping'}}));
  assert.equal(page.at('.strip').dataset.state, 'stopped');
  assert.equal(page.answer(), 'One day');
});

test('the slider goes through all steps to the finished text', () => {
  const page = strip(DONE);
  assert.equal(page.at('input[type=range]').max, '3');
  assert.equal(page.where(), 'the finished text, after 1 change of mind');
  page.scrub(1);
  assert.deepEqual([page.answer(), page.live(), page.where()], ['', 'One day', 'block 1 of 2, step 2 of 2, noise 50 %']);
  page.scrub(2);
  assert.deepEqual([page.answer(), page.live()], ['One day', ' and']);
  page.scrub(3);
  assert.deepEqual([page.answer(), page.live()], ['One day end∎', '']);
});

// What a strip has asked for: the time is the browser's own.
const asked = page => page.triggered.map(([event, {block, token, requested}]) => {
  assert.ok(requested > 0);
  return [event, block, token];
});

test('a token that is clicked is asked about by its block and place', () => {
  const page = strip(DONE);
  page.at('.answer').children[2].click();
  assert.deepEqual(asked(page), [['select', 1, 0]]);
});

test('the arrow keys move among the tokens and stay within them, Enter asks', () => {
  const page = strip(DONE);
  for (const key of ['ArrowRight', 'ArrowRight', 'ArrowLeft', 'ArrowLeft', 'ArrowRight', 'Enter']) page.press(key);
  assert.deepEqual(asked(page), [['select', 0, 1]]);
});

test('a run that is not finished cannot be looked into', () => {
  const page = strip(RUNNING);
  page.at('.answer').firstChild.click();
  page.press('ArrowRight');
  page.press('Enter');
  assert.deepEqual(page.triggered, []);
});

test('a run that was stopped in its first block is played, and none of its words looked into', () => {
  const page = strip({...DONE, state: 'stopped', settled: '', live: [[' f', 0.5, false]], look: JSON.stringify(LOOK.slice(0, 1))});
  assert.equal(page.at('.look').classList.contains('ready'), true);
  assert.equal(page.at('.strip').classList.contains('inspectable'), false);
  assert.equal(page.where(), 'the text as it was stopped');
});

test('the bench hears which state is shown, and where the finished text is', () => {
  const page = strip(DONE), told = [];
  page.bench.addEventListener('playhead', event => told.push(event.detail));
  page.scrub(1);
  page.scrub(3);
  assert.deepEqual(told, [{run: 'r', block: 0, step: 1, noise: 50.4}, {run: 'r', block: null}]);
});

test('a word on its way is blurred by its own noise', () => {
  const page = strip({...DONE, look: JSON.stringify([{...LOOK[0], t: [100, 80, 60, 40]}, LOOK[1]])});
  page.scrub(1);
  assert.deepEqual([...page.element.querySelectorAll('.live .token')].map(node => node.style.getPropertyValue('--noise')), ['0.6', '0.4']);
});

test('the strip of steps is gold from the state on at which a word stays', () => {
  const observer = class { observe() {} };
  const {Roll} = defined(['components/roll.js'], ['Roll'], {
    ResizeObserver: observer, MutationObserver: observer, document: {body: null}, window: {},
  });
  const roll = new Roll({clientWidth: 0, clientHeight: 0});
  roll.open(LOOK, [FIRST, SECOND]);
  assert.deepEqual(roll.columns, [[[false, 0.1], [true, 0.2]], [[true, 0.9], [true, 0.5]], [[false, 0.8]]]);
  assert.deepEqual([roll.starts, roll.rows, roll.at], [[0, 2], 2, 3]);
});

import assert from 'node:assert/strict';
import {mock, test} from 'node:test';
import {mount} from './snippets.js';

const waypoint = (text, more = {}) => ({label: 'x', leg: [0, 1], text, filled: 1, end: null, distances: [], misfit: null, ...more});
const ENDS = [waypoint('The cat sat.', {end: 0, distances: [0, 1], misfit: 0.5}), waypoint('A dog ran.', {end: 1, distances: [1, 0], misfit: 0.7})];
const way = (title, middle, more = {}) => ({
  title, state: 'done', note: '', query: '?r=' + title, recipe: '{}',
  waypoints: [ENDS[0], waypoint(middle, {distances: [0.3, 0.9], misfit: 0.9}), ENDS[1]], ...more,
});
const VALUE = {run: 'r', state: 'done', texts: ['The cat sat.', 'A dog ran.'], ways: [
  way('Decoder only', 'The dog sat.'), way('Through the flow', 'The cat ran.'), way('Noise to noise', 'A bird.'), way('Prompt to prompt', 'So they did.'),
]};

function compared(value) {
  const page = mount('four_ways', {value, part: ''}, {parts: ['elements.js', 'waypoint_stage/word_origins.js']});
  const all = selector => [...page.element.querySelectorAll(selector)];
  return {...page, all, texts: () => all('.way .now').map(now => now.textContent), slide(to) {
    page.at('.thumb').value = to;
    page.at('.thumb').dispatchEvent(new page.window.Event('input'));
  }};
}

test('nothing stands there before the ways were compared', () => {
  assert.equal(compared(null).at('.ways').hidden, true);
});

test('one slider moves all ways', () => {
  const page = compared(VALUE);
  assert.deepEqual(page.texts(), ['The dog sat.', 'The cat ran.', 'A bird.', 'So they did.']);
  assert.equal(page.at('.where').textContent, 'waypoint 2 of 3');
  page.slide(3);
  assert.deepEqual(page.texts(), Array(4).fill('A dog ran.'));
  assert.equal(page.at('.thumb').getAttribute('aria-valuetext'), 'waypoint 3 of 3');
});

test('each way tells how far its waypoint has come, how real it is, and how many texts differ', () => {
  const page = compared({...VALUE, ways: [way('Decoder only', 'A dog ran.')]});
  assert.equal(page.at('.tells').textContent, '25 % of the way, misfit 0.90 (1.50 times that of the texts). 2 different texts of 3.');
});

test('a way is used by its recipe and has its link', () => {
  const page = compared({...VALUE, ways: [VALUE.ways[0], way('Through the flow', 'x', {recipe: '{"a": 1}'})]});
  page.all('.use')[1].click();
  assert.deepEqual(page.triggered, [['select', {recipe: '{"a": 1}'}]]);
  assert.equal(page.all('.link')[0].getAttribute('href'), '?r=Decoder only&tab=interpolate');
  page.update({...VALUE, ways: [way('Decoder only', 'x', {query: ''}), VALUE.ways[1]]});
  assert.deepEqual(page.all('.link').map(link => link.hidden), [true, false]);
});

test('a way that cannot be run says why and cannot be used', () => {
  const page = compared({...VALUE, ways: [VALUE.ways[0], {title: 'Prompt to prompt', state: 'refused', note: 'Too long.', waypoints: []}]});
  assert.deepEqual(page.texts(), ['The dog sat.', 'Too long.']);
  assert.deepEqual(page.all('.use').map(use => use.hidden), [false, true]);
});

test('ways come one after another, the thumb stays, and Stop keeps what is finished', () => {
  const waiting = title => ({...way(title, ''), state: 'waiting', waypoints: []});
  const running = {...VALUE, state: 'running', ways: VALUE.ways.map(one => waiting(one.title))};
  const page = compared(running);
  assert.deepEqual(page.texts(), Array(4).fill('Not begun yet.'));
  const some = {...running, ways: [VALUE.ways[0], {...VALUE.ways[1], state: 'running', waypoints: VALUE.ways[1].waypoints.map(one => ({...one, filled: 0.5}))}, ...running.ways.slice(2)]};
  page.update(some);
  assert.equal(page.at('.where').textContent, 'waypoint 2 of 3');
  page.slide(1);
  page.update(structuredClone(some));
  assert.equal(page.at('.where').textContent, 'waypoint 1 of 3');
  assert.deepEqual(page.all('.now').map(now => now.classList.contains('forming')), [false, true, false, false]);
  page.update({...some, state: 'stopped'});
  page.slide(2);
  assert.deepEqual(page.texts(), ['The dog sat.', 'The cat ran.', 'Stopped before it began.', 'Stopped before it began.']);
});

test('playing moves all ways to the end and stops there', () => {
  mock.timers.enable({apis: ['setInterval']});
  const page = compared(VALUE);
  page.at('.play').click();
  mock.timers.tick(10_000);
  assert.deepEqual([page.at('.where').textContent, page.at('.play').textContent], ['waypoint 3 of 3', 'Play']);
  mock.timers.reset();
});

test('a hand on the slider stops what plays', () => {
  mock.timers.enable({apis: ['setInterval']});
  const page = compared(VALUE);
  page.at('.play').click();
  page.slide(1);
  mock.timers.tick(10_000);
  assert.equal(page.at('.where').textContent, 'waypoint 1 of 3');
  mock.timers.reset();
});

test('text is text, whatever it looks like', () => {
  const page = compared({...VALUE, ways: [way('<b>Way</b>', '<img src=x>')]});
  assert.deepEqual(page.texts(), ['<img src=x>']);
  assert.deepEqual([page.at('img'), page.at('b')], [null, null]);
});

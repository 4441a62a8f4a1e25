import assert from 'node:assert/strict';
import {mock, test} from 'node:test';
import {defined, mount} from './snippets.js';

const {misfitRatio, originsOf, placesOn, pointOf, repeatsOf, shareOf} = defined(
  ['components/waypoint_stage/word_origins.js'], ['misfitRatio', 'originsOf', 'placesOn', 'pointOf', 'repeatsOf', 'shareOf']);

const origins = (text, first, second) => originsOf(text, first, second).filter(([, of]) => of).map(([word, of]) => word + ':' + of).join(' ');

test('a word comes from the first text, the second, both or neither', () => {
  assert.equal(origins('The dog sat in rain.', 'The cat sat.', 'The dog ran in.'), 'The:both dog:second sat:first in:second rain:own');
});

test('capitals make no other word, and marks belong to none', () => {
  assert.equal(origins('CAT, cat!', 'The cat.', 'A dog.'), 'CAT:first cat:first');
  assert.equal(originsOf('Oh, no!', 'a', 'b').map(([piece]) => piece).join(''), 'Oh, no!');
});

test('a language without spaces has words too', () => {
  assert.equal(origins('今日は雨です', '今日は晴れです', '明日は雨です').includes('雨:second'), true);
});

test('how far a waypoint has come is its distance to the first text as a share', () => {
  assert.deepEqual([[0, 1], [1, 3], [1, 0], [0, 0]].map(shareOf), [0, 0.25, 1, 0]);
});

test('a point has its true distances from both texts', () => {
  const [x, y] = pointOf([3, 4], 5);
  assert.ok(Math.abs(Math.hypot(x, y) - 3) < 1e-9 && Math.abs(Math.hypot(x - 5, y) - 4) < 1e-9);
  assert.deepEqual(pointOf([1, 1], 2), [1, 0]);
  assert.deepEqual(pointOf([1, 0.5], 2)[1], 0);       // nearer to both than the straight line: on it
  assert.deepEqual(pointOf([2, 2], 0), [0, 2]);       // texts that are the same
});

const waypoint = (text, more = {}) => ({label: 'x', leg: [0, 1], text, filled: 1, end: null, distances: [], misfit: null, ...more});

test('equal neighbours are joined, empty ones are not', () => {
  assert.deepEqual(repeatsOf(['a', 'a', '', '', 'b'].map(text => waypoint(text))), [false, true, false, false, false]);
});

test('a misfit is told as a multiple of that of the two texts, where all are known', () => {
  const all = [waypoint('a', {end: 0, misfit: 1}), waypoint('b', {misfit: 3}), waypoint('c', {end: 1, misfit: 2})];
  assert.equal(misfitRatio(all, 1), 2);
  assert.equal(misfitRatio([waypoint('a', {end: 0}), ...all.slice(1)], 1), null);
  assert.equal(misfitRatio([all[0], waypoint('b'), all[2]], 1), null);
});

test('a text between two legs belongs to both', () => {
  const all = [[0, 1, 0], [0, 1, null], [1, 2, 1], [1, 2, null], [1, 2, 2]].map(([a, b, end]) => waypoint('x', {leg: [a, b], end}));
  assert.deepEqual([placesOn([0, 1], all), placesOn([1, 2], all)], [[0, 1, 2], [2, 3, 4]]);
});

const DONE = {run: 'r', state: 'done', unit: 'radians', texts: ['The cat sat.', 'A dog ran.'], waypoints: [
  waypoint('The cat sat.', {label: 'text 1', end: 0, distances: [0, 1], misfit: 0.5}),
  waypoint('The cat ran.', {label: '2', distances: [0.3, 0.8], misfit: 0.6}),
  waypoint('The cat ran.', {label: '3', distances: [0.3, 0.8], misfit: 0.6}),
  waypoint('A bird ran.', {label: '4', distances: [0.9, 0.4], misfit: 0.9}),
  waypoint('A dog ran.', {label: 'text 2', end: 1, distances: [1, 0], misfit: 0.7}),
]};

function stage(value, more = {}) {
  const page = mount('waypoint_stage', {value, part: '', empty_text: 'Nothing yet', start_label: 'Interpolate'}, {parts: ['swipe.js', 'waypoint_stage/word_origins.js'], more});
  return {...page, now: () => page.at('.now').textContent, press: key => page.at('.cells').dispatchEvent(new page.window.KeyboardEvent('keydown', {key, bubbles: true}))};
}

test('it opens on the middle, between its two texts, with each word marked', () => {
  const page = stage({...DONE, waypoints: DONE.waypoints.toSpliced(1, 2)});
  assert.equal(page.now(), 'A bird ran.');
  assert.deepEqual([...page.at('.now').children].map(word => word.className), ['of-second', 'of-own', 'of-second']);
  assert.deepEqual([page.at('.end.first').textContent, page.at('.end.second').textContent], DONE.texts);
});

test('keys move the thumb and stay on the strip, which says what it shows', () => {
  const page = stage(DONE), cells = page.at('.cells');
  page.press('ArrowRight');
  assert.equal(page.now(), 'A bird ran.');
  assert.match(cells.getAttribute('aria-valuetext'), /^waypoint 4 of 5, 69 % of the way in latents: A bird ran\.$/);
  page.press('End');
  page.press('ArrowRight');
  assert.deepEqual([page.now(), cells.getAttribute('aria-valuenow')], ['A dog ran.', '5']);
  page.press('Home');
  assert.deepEqual([page.now(), cells.getAttribute('aria-valuenow')], ['The cat sat.', '1']);
});

test('a finger that scrolls from the strip on leaves the thumb, one that goes sideways or taps moves it, a mouse at once', () => {
  const page = stage(DONE), cells = page.at('.cells');
  cells.getBoundingClientRect = () => ({left: 0, width: 500});
  cells.setPointerCapture = () => {};
  const point = (name, clientX, clientY, more = {}) => cells.dispatchEvent(
    Object.assign(new page.window.Event(name, {bubbles: true}), {clientX, clientY, pointerType: 'touch', buttons: 1, ...more}));
  const before = page.now();
  point('pointerdown', 450, 10);
  point('pointermove', 455, 60);
  point('pointercancel', 455, 80);
  assert.equal(page.now(), before);
  point('pointerdown', 450, 10);
  point('pointerup', 450, 10, {buttons: 0});
  assert.equal(page.now(), 'A dog ran.');
  point('pointerdown', 450, 10);
  point('pointermove', 50, 20);
  assert.equal(page.now(), 'The cat sat.');
  point('pointerdown', 350, 10, {pointerType: 'mouse'});
  assert.equal(page.now(), 'A bird ran.');
});

test('neighbours that read the same are one on the strip', () => {
  assert.deepEqual([...stage(DONE).at('.cells').children].map(cell => cell.classList.contains('same')), [false, false, true, false, false]);
});

test('playing moves the thumb to the end and stops there', () => {
  mock.timers.enable({apis: ['setInterval']});
  const page = stage(DONE), play = page.at('.play');
  page.press('End');
  play.click();
  assert.deepEqual([page.now(), play.textContent], ['The cat sat.', 'Pause']);
  mock.timers.tick(10_000);
  assert.deepEqual([page.now(), play.textContent], ['A dog ran.', 'Play']);
  mock.timers.reset();
});

test('a hand on the strip stops what plays', () => {
  mock.timers.enable({apis: ['setInterval']});
  const page = stage(DONE);
  page.at('.play').click();
  page.press('Home');
  mock.timers.tick(10_000);
  assert.equal(page.now(), 'The cat sat.');
  mock.timers.reset();
});

test('the strip fills while waypoints come, and the thumb stays where it was put', () => {
  const running = {...DONE, state: 'running', waypoints: DONE.waypoints.map(one => one.end === null ? {...one, filled: 0.25, distances: [], misfit: null} : one)};
  const page = stage(running);
  page.press('Home');
  page.press('ArrowRight');
  assert.equal(page.at('.cells').children[1].style.getPropertyValue('--filled'), '0.25');
  assert.equal(page.at('.now').classList.contains('forming'), true);
  page.update(DONE);
  assert.deepEqual([page.at('.cells').getAttribute('aria-valuenow'), page.at('.now').classList.contains('forming')], ['2', false]);
});

// One that ships, on a page that sees it when `come` is called.
function recorded(reduced = false) {
  let come;
  class IntersectionObserver {
    constructor(seen) { come = () => seen([{isIntersecting: true}]); }
    observe() {}
    disconnect() {}
  }
  const page = stage({...DONE, run: 'recorded', recorded: 'a recorded one'}, {IntersectionObserver, matchMedia: () => ({matches: reduced})});
  return {...page, come: () => come?.()};
}

test('a recorded one says so and plays once it is seen', () => {
  mock.timers.enable({apis: ['setInterval']});
  const page = recorded();
  assert.deepEqual([page.at('.recorded').textContent, page.now()], ['a recorded one', 'The cat sat.']);
  mock.timers.tick(10_000);
  assert.equal(page.now(), 'The cat sat.');
  page.come();
  mock.timers.tick(10_000);
  assert.equal(page.now(), 'A dog ran.');
  mock.timers.reset();
});

test('a recorded one that comes into sight leaves the thumb where a hand has put it', () => {
  mock.timers.enable({apis: ['setInterval']});
  const page = recorded();
  page.press('ArrowRight');
  page.come();
  mock.timers.tick(10_000);
  assert.equal(page.now(), 'The cat ran.');
  mock.timers.reset();
});

test('a recorded one stands still where no movement is wanted, and a run of one’s own is no recorded one', () => {
  mock.timers.enable({apis: ['setInterval']});
  const page = recorded(true);
  page.come();
  mock.timers.tick(10_000);
  assert.equal(page.now(), 'The cat ran.');
  page.update(DONE);
  assert.equal(page.at('.recorded').textContent, '');
  mock.timers.reset();
});

test('how real a waypoint is stands in a sentence, and every dot in its picture', () => {
  const page = stage(DONE);
  page.press('ArrowRight');
  assert.match(page.at('.real').textContent, /Misfit 0\.90, 1\.50 times that of the two texts\./);
  assert.equal(page.element.querySelectorAll('.dot').length, 5);
});

test('the waypoint that is shown goes on to be edited', () => {
  const page = stage(DONE);
  page.press('End');
  page.at('.edit').click();
  assert.deepEqual(page.triggered, [['select', {text: 'A dog ran.', row: 4}]]);
});

test('a candidate stands there during the run alone, and what is not finished is neither on its way then nor to be edited', () => {
  const [first, , , , last] = DONE.waypoints, left = {filled: 0.4};
  const tried = [first, waypoint('', {...left, candidate: 'He loved'}), waypoint('A cat', left), last];
  for (const [state, text, said] of [['running', 'He loved', 'on its way'], ['stopped', '', 'not finished']]) {
    const page = stage({...DONE, state, waypoints: tried}), told = [];
    for (const key of ['Home', 'ArrowRight', 'ArrowRight', 'ArrowRight']) {
      page.press(key);
      told.push([page.now(), page.at('.where').textContent.includes(said), page.at('.edit').hidden]);
    }
    assert.deepEqual(told, [['The cat sat.', false, false], [text, true, true], ['A cat', true, true], ['A dog ran.', false, false]]);
  }
});

test('text is text, whatever it looks like', () => {
  const page = stage({...DONE, waypoints: [waypoint('<img src=x>'), waypoint('b')]});
  page.press('Home');
  assert.equal(page.now(), '<img src=x>');
  assert.equal(page.at('img'), null);
});

test('nothing to show asks for a run', () => {
  const page = stage({run: '', state: 'empty', texts: [], waypoints: [], unit: ''});
  page.at('.start').click();
  page.press('ArrowRight');
  assert.deepEqual(page.triggered, [['submit', undefined]]);
});

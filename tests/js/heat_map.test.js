import assert from 'node:assert/strict';
import {test} from 'node:test';
import {defined, mount, pack} from './snippets.js';

const {FlowData} = defined(['components/readings.js', 'components/flow_map/flow_data.js'], ['FlowData']);
const AT = {pca: pack([0])}, OF = 4;

// What the heat map says of one block in OF steps. settled: by place, the step from which the word stays; noise: of a place at
// a step. text: how many places belong to the text.
function said(settled, noise, text = settled.length) {
  const places = settled.map((_, place) => place), data = new FlowData();
  const states = Array.from({length: OF + 1}, (_, step) => ({is: 'state', run: 'r', block: 0, step, of: OF, last: step === OF, text,
    noise: places.map(place => step === OF ? 0 : noise(step, place)), sure: places.map(() => 1),
    ids: settled.map(from => [step >= from ? 1 : 0]), words: places.map(place => ' w' + place), at: AT}));
  data.read([{is: 'run', run: 'r', label: 'seed 1', places: places.length}, ...states].map(record => JSON.stringify(record) + '\n').join(''));
  const page = mount('heat_map', {name: 'flow'}, {parts: ['quoted_words.js', 'readings.js', 'save_file.js', 'picture_file.js']});
  page.document.dispatchEvent(new page.window.CustomEvent('flow:frame', {detail: {map: 'flow', data, frame: null, chosen: null}}));
  const outside = [...page.element.querySelectorAll('.outside')].map(word => word.textContent);
  return {text: page.at('.about').textContent, outside, bars: [...page.element.querySelectorAll('.mark')].map(mark => parseFloat(mark.style.left))};
}

const together = step => 100 - 25 * step;
const staggered = (step, place) => Math.min(100, 100 - 25 * (step - place));
const ABOUT = 'From left to right, noise becomes a word; the bar marks where a word settled. ';

test('first and last are where the bars stand, whatever the noise of their places', () => {
  const {text, bars} = said([1, 2, 3], staggered);  // at 75, 75 and 75 % of their own noise
  assert.deepEqual(bars, [20, 40, 60]);
  assert.equal(text, ABOUT + 'Half of the 3 words had settled after 2 of 4 steps; “w0” was first (after 1 of 4 steps, at 75 % noise), '
    + '“w2” was last (after 3 of 4 steps, at 75 % noise). Places follow one another here, so each has its own noise.');
});

test('a word that settled before its turn came explains its 100 %', () => {
  const {text} = said([2, 1, 3], (step, place) => Math.min(100, 100 - 25 * (step - 2 * place)));
  assert.match(text, /“w1” was first \(after 1 of 4 steps, at 100 % noise\), “w2” was last \(after 3 of 4 steps, at 100 % noise\)\./);
  assert.match(text, /each has its own noise: at 100 %, a word had settled before its own began to fall\.$/);
});

test('of several that were first or last together none is named', () => {
  assert.equal(said([0, 0, 3], together).text, ABOUT + '2 of the 3 words settled before the first step, '
    + '“w2” was last (after 3 of 4 steps, at 25 % noise).');
  assert.match(said([1, 1, 2, 2, 3], together).text, /settled after 2 of 4 steps; 2 were first together \(after 1 of 4 steps\), “w4” was last/);
  assert.match(said([1, 3, 3], together).text, /“w0” was first \(.*\), 2 were last together \(after 3 of 4 steps\)\.$/);
  assert.equal(said([2, 2], together).text, ABOUT + 'All 2 words settled after 2 of 4 steps.');
  assert.equal(said([2], together).text, ABOUT + '“w0” settled after 2 of 4 steps, at 50 % noise.');
});

test('a word after the end of the text is grey, said and not counted', () => {
  const {text, outside} = said([1, 2, 3], together, 2);
  assert.deepEqual(outside, ['w2']);
  assert.match(text, /Half of the 2 words .* “w1” was last \(.*\)\. Words in grey came after the end of the text and are not counted\.$/);
  assert.doesNotMatch(said([1, 2, 3], together).text, /in grey/);
});

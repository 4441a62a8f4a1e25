import assert from 'node:assert/strict';
import {test} from 'node:test';
import {defined} from './snippets.js';

const {briefly, firstPlace, joined, partsOf, rowsByPlace, wordsOf} = defined(
  ['components/candidate_stage/strengths.js'], ['briefly', 'firstPlace', 'joined', 'partsOf', 'rowsByPlace', 'wordsOf']);

const text = parts => parts.map(part => part.text).join('');
const finished = (before, words, after) => partsOf({final: [[before, 0], [words, 1], [after, 0]]});
const forming = {final: null, lead: 'Tom', settled: '[[" was",-1,0]]\n[[" so",0.9,0]]\n', live: [[' sad', 0.3, 0], [' now', -1, 0], ['<end>', 0.2, 1]], tail: '.'};

test('rows stand at their places, and without a strip all at one', () => {
  const rows = [{place: 0}, {place: 1}, {place: 1}];
  assert.deepEqual(rowsByPlace(rows, 3).map(at => at.length), [1, 2, 0]);
  assert.deepEqual(rowsByPlace([{place: 0}, {place: 0}], 0).map(at => at.length), [2]);
});

test('a place counts the equal ones that follow it, and texts that are not there yet are not equal', () => {
  assert.deepEqual(joined(['a', 'a', 'b', 'a']), [2, 0, 1, 1]);
  assert.deepEqual(joined(['', '', 'b']), [1, 1, 1]);
});

test('the thumb begins at the least strength from 0 upwards that changes something', () => {
  const both = [-1, -0.5, 0, 0.5, 1].map(value => [value, '']);
  assert.equal(firstPlace(both, [1, 1, 0, 0, 0.5]), 4);
  assert.equal(firstPlace(both, [1, 0, 0, 0, 0]), 4);
  assert.equal(firstPlace([[0.9, ''], [0.5, ''], [0.1, '']], [1, 1, 0]), 1);
  assert.equal(firstPlace([[-2, ''], [-1, '']], [1, 1]), 1);
});

test('what stands in the span is what is new in it, also while it forms', () => {
  assert.equal(wordsOf({final: [], words: 'sad'}), 'sad');
  assert.equal(wordsOf(forming), 'so sad');
  assert.equal(text(partsOf(forming)), 'Tom was so sad now.');
});

test('a candidate in brief keeps what it changes and a few words around it', () => {
  assert.equal(text(briefly(finished('A long time ago Tom was', ' sad', ' and went to the park.'), 10)), '… Tom was sad and went …');
  assert.equal(text(briefly(finished('Tom was', ' sad', '.'), 10)), 'Tom was sad.');
  assert.equal(text(briefly(partsOf({final: [['Tom was happy.', 0]]}), 10)), 'as it was');
});

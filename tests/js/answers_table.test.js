import assert from 'node:assert/strict';
import {test} from 'node:test';
import {mount} from './snippets.js';

const value = {state: 'running', who: ['Cola-DLM', 'Transformer'], note: 'Others too.', rows: [['C:ab=', 'ab', [['<b>', 'wrong'], null]]]};

test('answers are shown as text with what they are, and what is not there yet as nothing', () => {
  const page = mount('answers_table', {value, part: 'answers'}, {parts: ['table_cells.js']});
  const texts = at => [...page.element.querySelectorAll(at)].map(node => node.textContent);
  assert.deepEqual(texts('thead th'), ['Question', 'Right would be', 'Cola-DLM', 'Transformer']);
  assert.deepEqual(texts('tbody code'), ['C:ab=', 'ab', '<b>']);
  assert.deepEqual(texts('.verdict'), ['✗ wrong']);
  assert.equal(page.at('caption').textContent, 'Others too.');
  page.update({...value, rows: [['C:ab=', 'ab', [['', 'forming'], ['', 'right']]]]});
  assert.deepEqual(texts('tbody td:nth-child(n + 3)'), ['…', '(nothing)✓ right']);
  page.update(null);
  assert.equal(page.at('.region').hidden, true);
});

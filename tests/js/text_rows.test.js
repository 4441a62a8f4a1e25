import assert from 'node:assert/strict';
import {test} from 'node:test';
import {mount} from './snippets.js';

const ROW = {label: 'seed 1', score: '', lead: '', tail: '', text: '', settled: '', live: [], final: null};
const VALUE = {state: 'running', run: 'r', rows: [], notes: []};

function rows(...parts) {
  const value = {...VALUE, rows: parts.map(part => ({...ROW, ...part}))};
  const page = mount('text_rows', {value, part: 'rows', heading: 'Variations', empty_text: '', changed_words: 'changed', start_label: '', action: 'Use'});
  return {...page, texts: () => [...page.element.querySelectorAll('.text')].map(node => node.textContent)};
}

test('a row that nothing leads begins without a gap, one after a prompt keeps it', () => {
  const settled = JSON.stringify([[' One', 0.5, false], [' day', 0.5, false]]);
  assert.deepEqual(rows({settled}, {settled, lead: 'Say:'}).texts(), ['One day', 'Say: One day']);
});

test('a token that stays has no confidence of its own', () => {
  const [kept, new_] = rows({live: [['a', -1, false], ['b', 0.5, false]]}).element.querySelectorAll('.live .token');
  assert.deepEqual([kept.className, kept.title, new_.title], ['token kept', 'stays', '50 %']);
});

test('finished pieces are marked by what has changed in them', () => {
  const page = rows({final: [['He ', 2], ['ran', 1], [' off', 0], [' here', 5]]});
  const nodes = [...page.at('.answer').children];
  assert.deepEqual(nodes.map(node => [node.tagName, ...node.classList]), [['SPAN', 'prompt'], ['MARK', 'changed'], ['SPAN'], ['MARK', 'changed', 'was']]);
});

test('rows come and go with the value, and those that stay are the same', () => {
  const page = rows({label: 'a'}, {label: 'b'});
  const first = page.at('.list').firstChild;
  page.update({...VALUE, rows: [{...ROW, label: 'c'}], notes: ['One was left out.']});
  assert.equal(page.at('.list').children.length, 1);
  assert.equal(page.at('.list').firstChild, first);
  assert.deepEqual([page.at('.label').textContent, page.at('.notes').textContent], ['c', 'One was left out.']);
});

test('the button of a row that has a text gives that text on', () => {
  const page = rows({}, {text: 'One day'});
  const [without, with_] = page.element.querySelectorAll('.act');
  assert.deepEqual([without.hidden, with_.hidden, with_.getAttribute('aria-label')], [true, false, 'Use: seed 1']);
  with_.click();
  assert.deepEqual(page.triggered, [['select', {text: 'One day', row: 1}]]);
});

test('Stop keeps what there is', () => {
  const page = rows({label: 'a'});
  page.bench.dispatchEvent(new page.window.CustomEvent('run-state', {detail: {name: 'stopping'}}));
  assert.equal(page.at('.rows').dataset.state, 'stopped');
  assert.equal(page.at('.label').textContent, 'a');
});

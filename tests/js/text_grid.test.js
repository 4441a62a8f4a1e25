import assert from 'node:assert/strict';
import {test} from 'node:test';
import {mount} from './snippets.js';

const cell = text => [text, '4 tokens', {seed: 1}, 'prompt of ' + text];

function grid(more) {
  const value = {state: 'done', prompt: 'One day', sheets: [''], rows: ['a', 'b'], columns: ['x', 'y'], cells: ['1', '2', '3', '4'].map(cell), prompts: '', ...more};
  const page = mount('text_grid', {value, part: 'grid'}, {parts: ['elements.js']});
  return {...page, texts: at => [...page.element.querySelectorAll(at)].map(node => node.textContent)};
}

test('two settings are one grid without a heading', () => {
  const page = grid();
  assert.deepEqual([page.texts('.sheet'), page.texts('.text'), page.texts('thead th')], [[], ['1', '2', '3', '4'], ['x', 'y']]);
});

test('a third setting has a grid under each of its values', () => {
  const page = grid({sheets: ['p', 'q'], cells: [...'12345678'].map(cell)});
  assert.deepEqual(page.texts('.sheet'), ['p', 'q']);
  const second = page.element.querySelectorAll('table')[1];
  assert.deepEqual([...second.querySelectorAll('.text')].map(node => node.textContent), ['5', '6', '7', '8']);
});

test('a line above several grids names them and brings each to the top of its place', () => {
  const page = grid({sheets: ['p', 'q', 'r'], cells: [...'123456789abc'].map(cell)}), region = page.at('.frame');
  assert.deepEqual([page.at('.how-many').textContent, page.texts('.to')], ['3 grids:', ['p', 'q', 'r']]);
  Object.defineProperties(region, {clientHeight: {value: 200}, scrollHeight: {value: 900}});
  region.getBoundingClientRect = () => ({top: 50});
  [...page.element.querySelectorAll('.grid')].forEach((table, s) => { table.getBoundingClientRect = () => ({top: 60 + 300 * s - region.scrollTop}); });
  page.element.querySelectorAll('.to')[2].click();
  assert.equal(region.scrollTop, 610);
  region.dispatchEvent(new page.window.Event('scroll'));
  assert.deepEqual([...page.element.querySelectorAll('.to')].map(to => to.getAttribute('aria-current')), ['false', 'false', 'true']);
  assert.ok(region.classList.contains('more'), 'nothing says that the last grid goes on');
  page.update({...page.props.value, sheets: [''], cells: [...'1234'].map(cell)});
  assert.deepEqual([page.at('.index').hidden, page.texts('.to')], [true, []]);
});

test('a text gives its settings and its prompt, and says which it is', () => {
  const page = grid({sheets: ['p', 'q'], cells: [...'12345678'].map(cell)});
  const use = page.element.querySelectorAll('.use')[6];
  use.click();
  assert.equal(use.getAttribute('aria-label'), 'Use these settings: q, b, x');
  assert.deepEqual(page.triggered, [['select', {settings: {seed: 1}, prompt: 'prompt of 7'}]]);
});

test('a cell that has not come to its end has no button', () => {
  const page = grid({state: 'running', cells: [cell('1'), ['so far', '', {}, ''], cell('3'), cell('4')]});
  assert.equal(page.element.querySelectorAll('.use').length, 3);
});

import assert from 'node:assert/strict';
import {test} from 'node:test';
import {Window} from 'happy-dom';
import {defined} from './snippets.js';

function field(type, value) {
  const window = new Window(), {document} = window;
  defined(['theme/empty_numbers.js'], [], {document, HTMLInputElement: window.HTMLInputElement, Event: window.Event});
  const made = document.createElement('input');
  made.type = type;
  made.value = value;
  document.body.append(made);
  const told = [];
  made.addEventListener('input', () => told.push(made.value));
  return {made, told, leave(left) {
    made.focus();
    made.value = left;
    made.blur();
  }};
}

test('a number that was taken away comes back, and the page hears of it', () => {
  const {made, told, leave} = field('number', '4');
  leave('');
  assert.deepEqual([made.value, told], ['4', ['4']]);
});

test('another number stays', () => {
  const {made, told, leave} = field('number', '4');
  leave('2');
  assert.deepEqual([made.value, told], ['2', []]);
});

test('a text may be empty', () => {
  const {made, leave} = field('text', 'a bird');
  leave('');
  assert.equal(made.value, '');
});

import assert from 'node:assert/strict';
import {test} from 'node:test';
import {Window} from 'happy-dom';
import {defined} from './snippets.js';

function field(type, value, step = '') {
  const window = new Window(), {document} = window;
  defined(['theme/number_fields.js'], [], {document, HTMLInputElement: window.HTMLInputElement, Event: window.Event});
  const made = document.createElement('input');
  made.type = type;
  made.step = step;
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

test('a number that counts is rounded, another one keeps its fraction', () => {
  const counts = field('number', '4', '1');
  counts.leave('12.6');
  assert.deepEqual([counts.made.value, counts.told], ['13', ['13']]);
  const share = field('number', '4', '0.05');
  share.leave('0.65');
  assert.deepEqual([share.made.value, share.told], ['0.65', []]);
  const whole = field('number', '4', '1');
  whole.leave('9007199254740993');  // as it was typed: what is too large is refused, not changed
  assert.deepEqual([whole.made.value, whole.told], ['9007199254740993', []]);
});

test('a text may be empty', () => {
  const {made, leave} = field('text', 'a bird');
  leave('');
  assert.equal(made.value, '');
});

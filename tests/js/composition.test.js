import assert from 'node:assert/strict';
import {test} from 'node:test';
import {Window} from 'happy-dom';
import {defined} from './snippets.js';

const {window} = new Window();
const {isComposing} = defined(['theme/composition.js'], ['isComposing'], {window});

test('a key within a composition is one', () => {
  assert.equal(isComposing({type: 'keydown', isComposing: true, keyCode: 13}), true);
});

test('the Enter that ends a composition in Safari is one', () => {
  assert.equal(isComposing({type: 'keydown', isComposing: false, keyCode: 229}), true);
});

test('an Enter of its own is none', () => {
  for (const type of ['keydown', 'keypress', 'keyup']) assert.equal(isComposing({type, isComposing: false, keyCode: 13}), false);
});

test('the character å, whose keypress has the number 229, is none', () => {
  assert.equal(isComposing({type: 'keypress', isComposing: false, keyCode: 229}), false);
});

test('listeners of the page hear the keys that are not composed, and those alone', () => {
  const heard = [];
  window.document.addEventListener('keydown', event => heard.push(event.key), true);
  window.document.body.addEventListener('keydown', event => heard.push(event.key));
  for (const [key, composed] of [['a', true], ['b', false]]) {
    const event = new window.KeyboardEvent('keydown', {key, bubbles: true});
    Object.defineProperty(event, 'isComposing', {value: composed});
    window.document.body.dispatchEvent(event);
  }
  assert.deepEqual(heard, ['b', 'b']);
});

import assert from 'node:assert/strict';
import {test} from 'node:test';
import {defined} from './snippets.js';

const asked = [];
const window = {requestAnimationFrame: callback => asked.push(callback)};
defined(['theme/loader_clock.js'], [], {window});

test('what counts seconds at every frame is not called', () => {
  const counting = Function('F', 'w', 'ze', 'de', 'W', 'Pe', 'return ()=>{F(Pe,(performance.now()-w(de))/1e3),W&&ze()}')();
  assert.equal(window.requestAnimationFrame(counting), 0);
  assert.deepEqual(asked, []);
});

test('every other frame is asked for', () => {
  const step = now => now / 1e3, drawn = () => { const took = performance.now() - 3; return took / 1e3; };
  for (const callback of [step, drawn, function () {}, window.requestAnimationFrame]) {
    window.requestAnimationFrame(callback);
    assert.equal(asked.pop(), callback);
  }
});

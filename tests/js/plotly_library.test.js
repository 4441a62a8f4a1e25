import assert from 'node:assert/strict';
import {test} from 'node:test';
import {defined} from './snippets.js';

test('a library that could not be loaded is asked for again', async () => {
  const window = {}, asked = [];
  const document = {createElement: () => ({remove() {}}), head: {append: script => asked.push(script)}};
  const {plotlyLibrary} = defined(['components/plotly_library.js'], ['plotlyLibrary'], {window, document, props: {library: '/plotly.js'}});
  const first = plotlyLibrary();
  asked[0].onerror();
  await assert.rejects(first, /could not be loaded/);
  const second = plotlyLibrary();
  window.Plotly = {};
  asked[1].onload();
  assert.equal(await second, window.Plotly);
});

import assert from 'node:assert/strict';
import {test} from 'node:test';
import {mount} from './snippets.js';

test('the address has the recipe from the first frame of a run on, so that a reload in its middle brings it back', () => {
  const page = mount('share_link', {value: null, part: 'link'}, {parts: ['clipboard.js', 'save_file.js', 'share_link/commands.js']});
  page.bench.id = 'generate';
  page.bench.dataset.run = 'running';
  assert.equal(page.window.location.search, '');
  page.element.dispatchEvent(new page.window.CustomEvent('frame', {detail: {query: '?r=recipe', recipe: '{}'}}));
  assert.equal(page.window.location.search, '?r=recipe&tab=generate');
});

import assert from 'node:assert/strict';
import {test} from 'node:test';
import {defined} from './snippets.js';

const window = {};
defined(['theme/plain_config.js'], [], {window});

// Whether Svelte would watch it: `proxy` of svelte 5 passes over all but these two kinds.
const watched = list => [Array.prototype, Object.prototype].includes(Object.getPrototypeOf(list));

test('the lists of the configuration and what is picked out of them are arrays that Svelte does not watch', () => {
  const given = {components: [{id: 1}, {id: 2}], dependencies: [{id: 0}], layout: {children: [{id: 1}]}};
  window.gradio_config = given;
  assert.equal(window.gradio_config, given);
  for (const name of ['components', 'dependencies']) {
    assert.ok(Array.isArray(given[name]));
    assert.ok(![given[name], given[name].filter(one => one.id)].some(watched), name);
  }
  assert.deepEqual([...given.components], [{id: 1}, {id: 2}]);
  assert.ok(watched(given.layout.children));
});

test('a configuration of another form is kept as it is', () => {
  for (const given of [undefined, null, {}, {components: 'none', dependencies: null}]) {
    window.gradio_config = given;
    assert.equal(window.gradio_config, given);
  }
});

import assert from 'node:assert/strict';
import {test} from 'node:test';
import {mount} from './snippets.js';

function saver() {
  return mount('saver', {value: null, what: 'Save', kinds: [['html', 'Page (HTML)', 'A page']]}, {parts: ['save_file.js']});
}

test('who saves a page is asked how it is looked at, and where it is', () => {
  const page = saver(), look = {chart: 'umap', dims: 3};
  page.bench.addEventListener('save:ask', event => { event.detail.look = look; });
  page.at('button').click();
  assert.deepEqual(page.triggered, [['select', {kind: 'html', look, address: 'http://localhost/'}]]);
});

test('where nothing is looked at, a file is saved all the same', () => {
  const page = saver();
  page.at('button').click();
  assert.deepEqual(page.triggered, [['select', {kind: 'html', look: null, address: 'http://localhost/'}]]);
});

test('the same file once more is a file once more', () => {
  const page = saver();
  page.props.value = {name: 'a.html', type: 'text/html', data: '', message: 'Saved as a.html'};
  page.at('button').click();
  assert.equal(page.props.value, null);
});

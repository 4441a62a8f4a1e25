import assert from 'node:assert/strict';
import {test} from 'node:test';
import {mount} from './snippets.js';

const KEY = 'coladlm-history';
const TABS = [['generate', 'Generate', ['generate', 'fill']], ['edit', 'Edit', ['edit']], ['trajectories', 'Trajectories', ['generate']]];

function entry(id, more = {}) {
  const recipe = {operation: 'generate', texts: ['Once ' + id], settings: {seed: 3, steps: 8, guidance: 2}, model: 'abc', variations: 1};
  return {id, at: 1, tab: 'generate', name: '', pinned: false, result: '', recipe, ...more};
}

function history(entries, raw = JSON.stringify(entries), query = '') {
  const page = mount('history', {tabs: TABS, value: {fingerprint: 'abc'}}, {storage: {[KEY]: raw}, parts: ['elements.js'], query});
  page.at('.open').click();
  return {
    ...page,
    titles: () => [...page.element.querySelectorAll('.entry .title')].map(node => node.textContent),
    stored: () => JSON.parse(page.window.localStorage.getItem(KEY)),
    ran: detail => page.window.dispatchEvent(new page.window.CustomEvent('coladlm-ran', {detail})),
    find: words => {
      page.at('.find').value = words;
      page.at('.find').dispatchEvent(new page.window.Event('input'));
    },
    open: async text => {
      const input = page.at('.import');
      Object.defineProperty(input, 'files', {value: [new page.window.File([text], 'file.json')]});
      input.dispatchEvent(new page.window.Event('change'));
      await page.window.happyDOM.waitUntilComplete();
      await new Promise(resolve => setTimeout(resolve));
    },
  };
}

test('pinned entries come first, and then the newest', () => {
  const page = history([entry('old'), entry('new', {at: 9}), entry('kept', {pinned: true, at: 0})]);
  assert.deepEqual(page.titles(), ['Once kept', 'Once new', 'Once old']);
});

test('what is stored and is no entry is passed over', () => {
  const broken = [null, 3, {id: 'x'}, {id: 7, recipe: entry('a').recipe}, entry('b', {recipe: {operation: 'generate', texts: [1]}}), entry('good')];
  assert.deepEqual(history(broken).titles(), ['Once good']);
  assert.deepEqual(history([], '{not JSON').titles(), []);
  assert.deepEqual(history([], '{"a": 1}').titles(), []);
});

test('an entry without a name is called after its texts', () => {
  const recipe = {...entry('a').recipe, texts: [' one ', '  ']};
  assert.deepEqual(history([entry('a', {recipe}), entry('b', {name: 'night'})]).titles(), ['one → no prompt', 'night']);
});

test('the search looks into texts, names and results, whatever the case', () => {
  const page = history([entry('a', {name: 'Night'}), entry('b', {result: 'a Fox'}), entry('c')]);
  for (const [words, found] of [['night', ['Night']], ['FOX', ['Once b']], ['once c', ['Once c']], ['nothing', []]]) {
    page.find(words);
    assert.deepEqual(page.titles(), found);
  }
});

test('an entry opens on its tab, and on the first that fits where its own does not', () => {
  const page = history([entry('a', {tab: 'trajectories', at: 2}), entry('b', {tab: 'gone'})]);
  for (const title of page.element.querySelectorAll('.entry .title')) title.click();
  assert.deepEqual(page.triggered.map(([event]) => event), ['open_trajectories', 'open_generate']);
  assert.deepEqual(JSON.parse(page.triggered[0][1].recipe).texts, ['Once a']);
});

test('an operation that no tab of this page has is said so', () => {
  const page = history([entry('a', {recipe: {...entry('a').recipe, operation: 'branch'}})]);
  page.at('.entry .title').click();
  assert.equal(page.at('.outcome').textContent, 'This page has no tab for the operation branch.');
  assert.deepEqual(page.triggered, []);
});

test('an entry of another model says that it will not give its text again', () => {
  const page = history([entry('a', {recipe: {...entry('a').recipe, model: 'other'}}), entry('b')]);
  assert.equal(page.element.querySelectorAll('.other').length, 1);
});

test('entries are pinned, unpinned and deleted', () => {
  const page = history([entry('a'), entry('b')]);
  page.at('.pin').click();
  assert.deepEqual(page.stored().map(one => one.pinned), [true, false]);
  page.at('.pin').click();
  assert.deepEqual(page.stored().map(one => one.pinned), [false, false]);
  page.at('.delete').click();
  assert.deepEqual(page.titles(), ['Once b']);
});

test('a run that has ended is listed first, and keeps its name and its pin when it is run again', () => {
  const page = history([entry('a', {name: 'night', pinned: true, result: 'before'})]);
  page.ran({id: 'b', tab: 'edit', recipe: entry('b').recipe, result: 'text'});
  page.ran({id: 'a', tab: 'edit', recipe: entry('a').recipe, result: 'after'});
  const [again, other] = page.stored();
  assert.deepEqual([again.id, again.name, again.pinned, again.result], ['a', 'night', true, 'after']);
  assert.equal(other.id, 'b');
});

test('of more than 200 entries the oldest go, but for those that are pinned', () => {
  const entries = Array.from({length: 200}, (_, i) => entry('n' + i));
  const page = history([...entries, entry('kept', {pinned: true})]);
  page.ran({id: 'new', tab: 'generate', recipe: entry('new').recipe, result: ''});
  const ids = page.stored().map(one => one.id);
  assert.equal(ids.length, 201);
  assert.equal(ids.includes('n199'), false);
  assert.deepEqual([ids.includes('n198'), ids.includes('kept'), ids[0]], [true, true, 'new']);
});

test('a file with a recipe opens it', async () => {
  const page = history([]);
  await page.open(JSON.stringify(entry('a').recipe));
  assert.equal(page.triggered[0][0], 'open_generate');
});

test('of a file with a history, what is not there yet is added, and of unknown fields nothing', async () => {
  const page = history([entry('a')]);
  await page.open(JSON.stringify({history: [entry('a'), entry('b', {extra: 1, name: 7}), {id: 'broken'}]}));
  assert.equal(page.at('.outcome').textContent, '1 added, 1 were there already.');
  const added = page.stored().find(one => one.id === 'b');
  assert.deepEqual([added.name, 'extra' in added], ['7', false]);
});

test('a file that holds neither is refused in a sentence', async () => {
  for (const [text, said] of [['{', 'The file is empty or is not JSON'], ['[]', 'neither a recipe nor a history'], ['null', 'neither a recipe nor a history']]) {
    const page = history([]);
    await page.open(text);
    assert.match(page.at('.outcome').textContent, new RegExp(said));
  }
});

test('an address that asks for something is told of, and one that does not is not', () => {
  assert.deepEqual(history([], '[]', '?tab=map&r=abc').triggered, [['linked', {query: '?tab=map&r=abc'}]]);
  assert.deepEqual(history([]).triggered, []);
});

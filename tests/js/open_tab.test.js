import assert from 'node:assert/strict';
import {test} from 'node:test';
import {setTimeout as wait} from 'node:timers/promises';
import {Window} from 'happy-dom';
import {defined} from './snippets.js';

const NAMES = ['Generate', 'Map', 'Bench'];

// A page with tabs as gradio makes them, one of which is in its menu. click: as a visitor does; open: as gradio does.
async function page(address, selected = 'Generate') {
  const window = new Window({url: 'http://localhost/' + address}), {document} = window;
  const listeners = [];
  const listen = window.addEventListener.bind(window);
  window.addEventListener = (type, act, options) => {
    listeners.push([type, act]);
    listen(type, act, options);
  };
  defined(['theme/open_tab.js'], [], {globalThis: window});
  const tabs = document.createElement('div');
  tabs.id = 'tabs';
  tabs.innerHTML = '<div class="tab-wrapper"><div><button role="tab">Generate</button><button role="tab">Map</button></div>' +
    '<div class="overflow-dropdown"><button> Bench </button></div></div>';
  const buttons = [...tabs.querySelectorAll('button')];
  const open = name => buttons.forEach(one => one.classList.toggle('selected', one.textContent.trim() === name));
  buttons.forEach((one, i) => one.addEventListener('click', () => open(NAMES[i])));
  open(selected);
  document.body.append(tabs);
  await wait(5);
  const act = type => listeners.filter(([one]) => one === type).forEach(([, does]) => does({isTrusted: true}));
  return {
    window, open, act,
    opened: () => buttons.find(one => one.classList.contains('selected')).textContent.trim(),
    async click(name) {
      act('pointerdown');
      open(name);
      await wait(5);
    },
    async back(address) {  // what the browser does before it says so
      window.history.replaceState(null, '', address);
      window.dispatchEvent(new window.Event('popstate'));
      await wait(5);
    },
  };
}

test('a tab that a visitor opens is named in the address, and Back opens the one before', async () => {
  const {window, click, back, opened} = await page('?a=1'), {length} = window.history;
  window.document.head.innerHTML = '<base href="http://localhost/elsewhere/">';  // as gradio's page has one
  await click('Map');
  assert.equal(window.location.href, 'http://localhost/?a=1#map');
  await click('Bench');
  assert.equal(window.location.hash, '#bench');
  assert.equal(window.history.length, length + 2);
  await back('/?a=1#map');
  assert.equal(opened(), 'Map');
  await back('/?a=1');
  assert.equal(opened(), 'Generate');
  assert.equal(window.history.length, length + 2);
});

test('a page that is loaded anew opens its tab, whatever gradio opens first, until the visitor opens another', async () => {
  const {window, open, click, opened} = await page('?tab=generate#bench');
  assert.equal(opened(), 'Bench');
  open('Generate');
  await wait(5);
  assert.equal(opened(), 'Bench');
  assert.equal(window.location.hash, '#bench');
  await click('Map');
  assert.deepEqual([opened(), window.location.hash], ['Map', '#map']);
});

test('a tab that the page opens by itself adds no step to go back, and is the one of its address', async () => {
  const {window, open, click, back, opened} = await page('?tab=map'), {length} = window.history;
  open('Map');
  await wait(5);
  assert.deepEqual([window.history.length, window.location.hash], [length, '']);
  await click('Bench');
  await back('/?tab=map');
  assert.equal(opened(), 'Map');
});

test('Back keeps the address of the latest run', async () => {
  const {window, click, back, opened} = await page('?r=old');
  await click('Map');
  window.history.replaceState(null, '', '/?r=new#map');
  window.dispatchEvent(new window.Event('coladlm-address'));
  await back('/?r=old');
  assert.deepEqual([opened(), window.location.search], ['Generate', '?r=new']);
});

test('a name that is no tab is left alone', async () => {
  const {window, opened} = await page('#nothing');
  assert.deepEqual([opened(), window.location.hash], ['Generate', '#nothing']);
});

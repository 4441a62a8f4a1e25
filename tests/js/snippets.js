// Runs the JavaScript of the page outside a browser: parts by what they define, components as gradio runs them.

import {readFileSync} from 'node:fs';
import {Window} from 'happy-dom';

const APP = new URL('../../app/', import.meta.url);

function read(file) {
  return readFileSync(new URL(file, APP), 'utf8');
}

// What the files define under these names. given: further names that they may use, such as `document`.
export function defined(files, names, given = {}) {
  const source = files.map(read).join('\n');
  return Function(...Object.keys(given), `${source}\nreturn {${names.join()}};`)(...Object.values(given));
}

// A component on a page of its own, in an element of class `workbench` with the two buttons. script: its file of
// JavaScript, if it has not the name of its HTML. parts: files that it is put together with. more: what stands in place of
// names of the browser. query: of the address.
//
// Answers with the window, the element, the props, what was triggered as [event, data], and `update`, which gives the
// component a new value as the server does. Timers are those of node, so that a test can move them.
export function mount(name, props, {storage = {}, script = name, parts = [], more = {}, query = ''} = {}) {
  const window = new Window({url: 'http://localhost/' + query});
  const {document, localStorage} = window;
  for (const [key, value] of Object.entries(storage)) localStorage.setItem(key, value);
  document.body.innerHTML = `<div class="workbench"><button class="run"></button><button class="stop"></button>
    <div id="component">${read(`components/${name}/${name}.html`)}</div></div>`;
  const element = document.getElementById('component');
  const triggered = [], watchers = [];
  const given = {
    window, document, localStorage, Event: window.Event, CustomEvent: window.CustomEvent, getComputedStyle: window.getComputedStyle.bind(window),
    ResizeObserver: window.ResizeObserver, MutationObserver: window.MutationObserver, IntersectionObserver: window.IntersectionObserver,
    matchMedia: window.matchMedia.bind(window), element, props, trigger: (event, data) => triggered.push([event, data]), watch: (_, act) => watchers.push(act), ...more,
  };
  defined(['runs/run_part.js', ...parts.map(part => `components/${part}`), `components/${name}/${script}.js`], [], given);
  const update = value => {
    props.value = value;
    for (const act of watchers) act();
  };
  return {window, document, element, props, triggered, update, bench: document.querySelector('.workbench'), at: selector => element.querySelector(selector)};
}

// Int16 numbers as the server packs them for a component.
export function pack(numbers) {
  return Buffer.from(Int16Array.from(numbers).buffer).toString('base64');
}

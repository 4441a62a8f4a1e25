import assert from 'node:assert/strict';
import {test} from 'node:test';
import {mount} from './snippets.js';

test('a number opens its tab, also one that a narrow page keeps in a menu', () => {
  const names = ['Generate', 'Edit', 'Map', 'Model'];
  const {document, window} = mount('help', {tabs: names, shortcuts: [], glossary: []});
  const clicked = [], tabs = Object.assign(document.createElement('div'), {id: 'tabs'});
  tabs.innerHTML = '<button role="tab"> Generate </button><button role="tab">Edit</button>' +
    '<div class="overflow-menu"><button>…</button><div class="overflow-dropdown hide"><button> Map </button><button>Model</button></div></div>';
  tabs.addEventListener('click', event => clicked.push(event.target.textContent.trim()));
  document.body.append(tabs);
  for (const key of ['1', '3', '4', '2', '5']) document.body.dispatchEvent(new window.KeyboardEvent('keydown', {key, bubbles: true}));
  assert.deepEqual(clicked, ['Generate', 'Map', 'Model', 'Edit']);
});

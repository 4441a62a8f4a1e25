import assert from 'node:assert/strict';
import {test} from 'node:test';
import {mount} from './snippets.js';

const settled = () => new Promise(done => setTimeout(done));

// Two panels as gradio's accordions stand there: with a button of their own, which makes what is in them.
function page() {
  const {document, bench, element} = mount('panel_buttons', {heading: 'Compare', panels: [['one', 'The one'], ['two', 'The other']]});
  const made = [];
  for (const id of ['one', 'two']) {
    const panel = Object.assign(document.createElement('div'), {id});
    const own = document.createElement('button');
    own.addEventListener('click', () => {
      own.classList.toggle('open');
      made.push(id);
    });
    panel.append(own);
    bench.append(panel);
  }
  const buttons = [...element.querySelectorAll('button')];
  const shown = () => ['one', 'two'].filter(id => document.getElementById(id).hasAttribute('data-shown'));
  const expanded = () => buttons.map(button => button.getAttribute('aria-expanded'));
  const run = async (id, state) => {
    document.getElementById(id).dataset.runState = state;
    await settled();
    return buttons.map(button => button.textContent);
  };
  return {document, buttons, made, shown, expanded, run};
}

test('a button shows its panel in the place of the one before, and hides it again', () => {
  const {buttons, shown, expanded} = page();
  buttons[0].click();
  assert.deepEqual([shown(), expanded()], [['one'], ['true', 'false']]);
  buttons[1].click();
  assert.deepEqual([shown(), expanded()], [['two'], ['false', 'true']]);
  buttons[1].click();
  assert.deepEqual([shown(), expanded()], [[], ['false', 'false']]);
});

test('a panel that comes after its button was pressed is shown, and one of a button that was left is not', async () => {
  const {document, buttons, shown} = page(), bench = document.getElementById('two').parentElement;
  const panels = ['one', 'two'].map(id => document.getElementById(id));
  panels.forEach(panel => panel.remove());
  buttons[0].click();
  buttons[1].click();
  bench.append(...panels);
  await settled();
  assert.deepEqual(shown(), ['two']);
});

test('what is in a panel is made once, and stays when it is hidden', () => {
  const {buttons, made} = page();
  for (const i of [0, 1, 0, 0, 0]) buttons[i].click();
  assert.deepEqual(made, ['one', 'two']);
});

test('a run in a hidden panel is marked at its button until its end has been seen', async () => {
  const {buttons, run} = page();
  buttons[0].click();
  assert.deepEqual(await run('one', 'running'), ['The one', 'The other']);
  buttons[1].click();
  assert.equal(buttons[0].textContent, 'The one (under way)');
  assert.deepEqual(await run('one', 'ended'), ['The one (finished)', 'The other']);
  buttons[0].click();
  assert.equal(buttons[0].textContent, 'The one');
  buttons[0].click();
  assert.equal(buttons[0].textContent, 'The one');
});

test('arrows go from button to button and round', () => {
  const {document, buttons} = page();
  buttons[0].focus();
  const press = key => document.activeElement.dispatchEvent(new document.defaultView.KeyboardEvent('keydown', {key, bubbles: true}));
  press('ArrowLeft');
  assert.equal(document.activeElement, buttons[1]);
  press('ArrowRight');
  assert.equal(document.activeElement, buttons[0]);
});

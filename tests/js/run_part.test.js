import assert from 'node:assert/strict';
import {test} from 'node:test';
import {mount} from './snippets.js';

const FIRST = {state: 'idle', run: '', fraction: 0, message: '', parts: [], tokens: 0, forming: 0};
const SHOWN = {...FIRST, state: 'running', run: 'r1', fraction: 0.5, message: 'Writing', tokens: 3};

function part() {
  const page = mount('progress_line', {value: FIRST, part: 'progress'});
  page.at('.line').scrollIntoView = () => {};
  page.element.dispatchEvent(new page.window.CustomEvent('frame', {detail: SHOWN}));
  return page;
}

test('a first value that gradio gives once more does not take the place of what a run shows', () => {
  const page = part();
  page.update(FIRST);
  assert.equal(page.props.value.message, 'Writing');
  assert.equal(page.at('.line').dataset.state, 'running');
});

// Gradio 6.31 answers a null with undefined, and so on without an end, while the page stands still.
test('gradio has the last word when it gives its first value a second time', () => {
  const page = part();
  page.update(FIRST);
  page.update(FIRST);
  assert.equal(page.props.value.state, 'idle');
  assert.equal(page.at('.line').dataset.state, 'idle');
});

// The first recorded run of a tab may come from the server after Run has been pressed.
test('what gradio gives while a run is under way does not take the place of its frames', () => {
  const page = part();
  const say = (name, id) => page.bench.dispatchEvent(new page.window.CustomEvent('run-state', {detail: {name, id, shown: true}}));
  say('running', 'r1');
  page.update({...FIRST, message: 'A recorded run.'});
  assert.equal(page.at('.line').dataset.state, 'running');
  assert.equal(page.props.value.message, 'A recorded run.');
  page.element.dispatchEvent(new page.window.CustomEvent('frame', {detail: {...SHOWN, state: 'done', message: 'Done'}}));
  say('ended', 'r1');
  assert.equal(page.props.value.message, 'Done');
  page.update({...FIRST, message: 'Another run was chosen.'});
  assert.equal(page.at('.line').dataset.state, 'idle');
});

test('a run that another one has taken the place of while it stopped does not keep gradio out for good', () => {
  const page = part();
  const say = (name, id) => page.bench.dispatchEvent(new page.window.CustomEvent('run-state', {detail: {name, id, shown: true}}));
  for (const [name, id] of [['starting', 'r1'], ['stopping', 'r1'], ['starting', 'r2'], ['running', 'r2'], ['ended', 'r2']]) say(name, id);
  page.element.dispatchEvent(new page.window.CustomEvent('frame', {detail: {...SHOWN, state: 'done', message: 'Done'}}));
  page.update({...FIRST, message: 'Another run was chosen.'});
  assert.equal(page.at('.line').dataset.state, 'idle');
});

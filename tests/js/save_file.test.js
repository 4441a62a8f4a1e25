import assert from 'node:assert/strict';
import {test} from 'node:test';
import {Window} from 'happy-dom';
import {defined} from './snippets.js';

function buttons(make) {
  const {document} = new Window();
  const {connectSaving} = defined(['components/save_file.js'], ['connectSaving'], {document});
  document.body.innerHTML = '<div><span class="files"><button class="save" data-format="png"></button></span></div>';
  connectSaving(document.body.firstChild, make);
  return {press: () => document.querySelector('.save').click(), said: () => document.querySelector('[role=status]').textContent};
}

test('a picture that cannot be made is said beside its buttons, until the next one', async () => {
  const formats = [];
  const page = buttons(async format => {
    formats.push(format);
    if (formats.length === 1) throw new Error('the picture could not be drawn');
  });
  page.press();
  await new Promise(setImmediate);
  assert.equal(page.said(), 'Not saved: the picture could not be drawn.');
  page.press();
  await new Promise(setImmediate);
  assert.equal(page.said(), '');
  assert.deepEqual(formats, ['png', 'png']);
});

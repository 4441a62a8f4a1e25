import assert from 'node:assert/strict';
import {test} from 'node:test';
import {Window} from 'happy-dom';
import {defined} from './snippets.js';

function page() {
  const window = new Window(), saved = [];
  const {document, XMLSerializer} = window;
  window.HTMLAnchorElement.prototype.click = function () { saved.push([this.download, this.getAttribute('href')]); };
  const given = {window, document, XMLSerializer, Image: class { set src(_) { this.onerror(); } }};
  const svg = Object.assign(document.createElement('div'), {innerHTML: '<svg width="10" height="10"><text>é &amp; ü</text></svg>'}).firstChild;
  return {...defined(['components/save_file.js', 'components/picture_file.js'], ['savePicture'], given), svg, saved};
}

test('a picture saved as SVG is the element as it stands, in UTF-8', async () => {
  const {savePicture, svg, saved} = page();
  await savePicture(svg, 'map', 'svg');
  const [[name, url]] = saved;
  assert.equal(name, 'map.svg');
  assert.match(url, /^data:image\/svg\+xml;charset=utf-8,/);
  assert.match(decodeURIComponent(url), /<text>é &amp; ü<\/text>/);
});

test('a picture that cannot be drawn is an error and no file', async () => {
  const {savePicture, svg, saved} = page();
  await assert.rejects(savePicture(svg, 'map', 'png'), /the picture could not be drawn/);
  assert.deepEqual(saved, []);
});

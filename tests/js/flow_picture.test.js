import assert from 'node:assert/strict';
import {test} from 'node:test';
import {defined, pack} from './snippets.js';

const document = {createElement: () => ({getContext: () => null})}; // a browser without WebGL
const names = ['FlowData', 'FlowPicture', 'plain', 'percent', 'decimals'];
const {FlowData, FlowPicture, plain, percent, decimals} = defined(['components/flow_map/flow_data.js', 'components/flow_map/flow_picture.js'], names, {document});

const COLOURS = {runs: ['black', 'red'], pale: 'grey'};
const VIEW = {chart: 'pca', dims: 2, clean: false, words: true, trails: false, blocks: false, chosen: null};

function picture() {
  const data = new FlowData();
  const at = step => ({pca: pack([step, 0, 0, -step, 0, 0])});
  data.read([
    {is: 'run', run: 'r', label: '<seed>', places: 2},
    {is: 'state', run: 'r', block: 0, step: 0, of: 1, noise: [100, 100], ids: [[1], [2]], words: ['<b>', 'x'], sure: [0.25, 0.75], at: at(10)},
    {is: 'state', run: 'r', block: 0, step: 1, of: 1, noise: [0, 0], ids: [[3], [2]], words: ['end', 'x'], sure: [1, 1], at: at(20), last: true},
  ].map(record => JSON.stringify(record) + '\n').join(''));
  const made = new FlowPicture(null, null, data, () => COLOURS, () => {});
  made.setCloud(JSON.stringify({words: ['cat', 'x1'], at: {pca: pack([100, 0, 0, 0, 100, 0])}, units: {pca: 0.5}, explained: [0.5, 0.25, 0.1]}));
  return {made, data, run: data.runs.get('r')};
}

test('text of the model reaches Plotly without markup, but in three dimensions, where Plotly reads none', () => {
  assert.equal(plain('<b>&'), '&lt;b&gt;&amp;');
  assert.equal(plain('<b>&', {dims: 3}), '<b>&');
});

test('numbers are rounded as they are read', () => {
  assert.deepEqual([percent(0.125), decimals(9.96), decimals(10.4)], ['13 %', '10.0', '10']);
});

test('without WebGL there are maps in two dimensions alone', () => {
  const {made} = picture();
  assert.deepEqual([made.has('pca', 2), made.has('pca', 3), made.has('umap', 2)], [true, false, false]);
});

test('a point is where its whole numbers say, in the unit of the map', () => {
  const {made, run} = picture();
  assert.deepEqual(made.where(run, 0, 0, 1, VIEW), [-5, 0]);
  assert.deepEqual(made.where(run, 0, 0, null, VIEW), [0, 0]);
});

test('the extent holds the cloud and the paths', () => {
  assert.deepEqual(picture().made.extent(VIEW), {low: [-10, 0], high: [50, 50]});
});

test('of several words in one cell, the first has room', () => {
  const {made} = picture();
  const room = made.room(VIEW);
  assert.deepEqual([room({x: [0], y: [0]}), room({x: [0.1], y: [0]}), room({x: [50], y: [0]})], [true, false, true]);
});

test('what is told of a point names its word, its certainty, its noise and its place', () => {
  const {made, run} = picture();
  assert.equal(made.hoverText(run, 0, 0, 0), '<b>&lt;b&gt;</b><br>25 % sure<br>noise 100 %, t = 1000<br>block 1, place 1');
});

test('a trail is pale until its place has settled, and dark from there', () => {
  const {made} = picture();
  const [{pale, dark, heads}] = made.arrays({block: 0, share: 1}, VIEW);
  assert.deepEqual(pale.x, [5, 10, null]);
  assert.deepEqual(dark.x, [-5, -10, null]);
  assert.deepEqual(heads.x, [10, -10]);
  assert.deepEqual(heads.edge, ['black', 'black']);
});

test('of a path that is picked out, a word stands where it changes', () => {
  const {made} = picture();
  const chosen = made.chosen({...VIEW, chosen: {run: 'r', block: 0, place: 0}});
  assert.deepEqual(chosen.x, [10, 5]);
  assert.deepEqual(chosen.text, ['end', '&lt;b&gt;']);
});

test('a trace without a point gets one that lies nowhere', () => {
  const {made} = picture();
  assert.deepEqual(made.moved(made.empty(), VIEW), {x: [null], y: [null], hovertext: [], customdata: []});
});

test('signposts are plain words, each once', () => {
  assert.deepEqual(picture().made.signposts(VIEW).text, ['cat']);
});

import assert from 'node:assert/strict';
import {test} from 'node:test';
import {defined, pack} from './snippets.js';

const document = {createElement: () => ({getContext: () => null})}; // a browser without WebGL
const names = ['FlowData', 'FlowPicture', 'LabelRoom', 'plain', 'percent', 'decimals'];
const {FlowData, FlowPicture, LabelRoom, plain, percent, decimals} = defined(
  ['components/label_room.js', 'components/readings.js', 'components/flow_map/flow_data.js', 'components/flow_map/flow_picture.js'], names, {document},
);

const COLOURS = {runs: ['black', 'red'], pale: 'grey', time: ['noise', 'early', 'late', 'word'], font: 'serif'};
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
  made.setCloud(JSON.stringify({words: ['x1', 'cat'], at: {pca: pack([100, 0, 0, 0, 100, 0])}, units: {pca: 0.5}, explained: [0.5, 0.25, 0.1]}));
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

test('a label covers no other: it moves around its dot, and is left out where there is no room', () => {
  const {made} = picture();
  const room = made.room(VIEW), at = (x, y) => room.at({x: [x], y: [y]}, 'surprised', 14, 4.5);
  const places = [[20, 20], [20, 20], [20, 20], [24, 20]].map(point => at(...point));
  assert.deepEqual(places, ['top center', 'bottom center', '', 'middle right']);
  assert.equal(at(45, 40), 'top center');
  for (const [i, box] of room.taken.entries()) for (const other of room.taken.slice(0, i)) {
    assert.ok(Math.abs(box.x - other.x) >= box.half + other.half || Math.abs(box.y - other.y) >= box.high + other.high);
  }
});

test('a point of a scene is where its camera sees it', () => {
  const {made} = picture(), same = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];
  const moved = [...same.slice(0, 12), 0, 0.5, 0, 1], deep = [...same.slice(0, 11), 1, 0, 0, 0, 1];
  const {spot, width, height} = made.seen({model: same, view: moved, projection: deep}, [2, 1, 1], {w: 100, h: 40});
  assert.deepEqual([spot(0, 0, 0), spot(0.25, -0.5, 0), spot(0.5, 0.5, 1)], [[50, 10], [75, 20], [75, 10]]);
  assert.deepEqual([width, height], [100, 40]);
});

test('a label stays on the picture', () => {
  const room = new LabelRoom('serif', 100, 100);
  assert.equal(room.take([{x: 5, y: 50, half: 10, high: 5}, {x: 15, y: 50, half: 10, high: 5}]), 1);
  assert.equal(room.take([{x: 50, y: 98, half: 10, high: 5}]), -1);
  assert.equal(room.take([{x: 15, y: 52, half: 10, high: 5}, {x: 15, y: 54, half: 10, high: 5}], true), 1, 'one that is needed covers the least');
});

test('what is told of a point names its word, its certainty, its noise and its place', () => {
  const {made, run} = picture();
  assert.equal(made.hoverText(run, 0, 0, 0), '<b>&lt;b&gt;</b><br>25 % sure<br>noise 100 %, t = 1000<br>block 1, place 1');
});

test('the path of a single run has the colours of its time, each a line of its own', () => {
  const {made, run} = picture();
  const [first, last] = run.blocks[0].states;
  run.blocks[0].states = [first, {...first, step: 0.5, noise: [80, 30]}, {...last, at: {pca: Int16Array.from([40, 0, 0, -40, 0, 0])}}];
  const [{trails, heads}] = made.arrays({block: 0, share: 1}, VIEW);
  assert.deepEqual(trails.map(trail => trail.x), [[5, 5, null], [], [-5, -5, null], [5, 20, null, -5, -20, null]]);
  assert.deepEqual(heads.edge, ['word', 'word']);
  const lines = made.traces({block: 0, share: 1}, VIEW).filter(trace => trace.mode === 'lines');
  assert.deepEqual(lines.map(trace => trace.line.color), COLOURS.time);
});

test('of runs that are compared, a trail is pale until its place has settled, and dark from there, in the colour of its run', () => {
  const {made, data} = picture();
  data.add({is: 'run', run: 'other', label: 'other', places: 2});
  const [{trails: [pale, dark], heads}] = made.arrays({block: 0, share: 1}, VIEW);
  assert.deepEqual(pale.x, [5, 10, null]);
  assert.deepEqual(dark.x, [-5, -10, null]);
  assert.deepEqual(heads.x, [10, -10]);
  assert.deepEqual(heads.edge, ['black', 'black']);
  const lines = made.traces({block: 0, share: 1}, VIEW).filter(trace => trace.mode === 'lines');
  assert.deepEqual(lines.map(trace => trace.line.color), ['black77', 'black', 'red77', 'red']);
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

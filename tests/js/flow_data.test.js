import assert from 'node:assert/strict';
import {test} from 'node:test';
import {defined, pack} from './snippets.js';

const {FlowData, label, unpack} = defined(['components/readings.js', 'components/flow_map/flow_data.js'], ['FlowData', 'label', 'unpack']);

const LINES = [
  {is: 'run', run: 'r', label: 'seed 1', places: 2},
  ...[0, 1, 2, 3].map(step => ({is: 'state', run: 'r', block: 0, step, of: 4, noise: [100 - 25 * step, 0], ids: [[step < 2 ? 5 : 7], [9]],
    words: [step < 2 ? 'five' : 'seven', ' nine'], at: {pca: pack([step, 1, 2, 3, 4, 5])}})),
  {is: 'state', run: 'r', block: 0, step: 4, of: 4, noise: [0, 0], last: true, text: 1, ids: [[7], [9]], words: ['seven', ' nine'],
    at: {pca: pack([4, 1, 2, 3, 4, 5])}},
  {is: 'state', run: 'r', block: 1, step: 0, of: 4, noise: [100, 100], ids: [[1], [2]], words: ['a', 'b'], at: {pca: pack([0, 0, 0, 0, 0, 0])}},
].map(record => JSON.stringify(record) + '\n');

function read(count = LINES.length) {
  const data = new FlowData();
  data.read(LINES.slice(0, count).join(''));
  return {data, run: data.runs.get('r')};
}

test('packed coordinates come back, negative ones too', () => {
  assert.deepEqual([...unpack(pack([-32768, -1, 0, 32767]))], [-32768, -1, 0, 32767]);
});

test('a word is labelled by what can be seen of it', () => {
  assert.deepEqual([' cat', '\n', '  ', ''].map(label), ['cat', '⏎', '␣', '∅']);
});

test('a text that has grown is read on from where it was', () => {
  const {data, run} = read(2);
  assert.equal(run.blocks[0].states.length, 1);
  assert.equal(data.read(LINES.join('')), true);
  assert.equal(data.runs.get('r').blocks[0].states.length, 5);
});

test('another text is refused, and what was read stays', () => {
  const {data} = read();
  assert.equal(data.read('{}'), false);
  assert.equal(data.runs.size, 1);
});

test('what two texts were read into has two serial numbers', () => {
  assert.notEqual(new FlowData().serial, new FlowData().serial);
});

test('a clean estimate that was not sent is the state itself', () => {
  const [state] = read().run.blocks[0].states;
  assert.deepEqual([...state.clean.pca], [...state.at.pca]);
});

test('a place has settled at the first state from which its word stays', () => {
  assert.deepEqual(read().run.blocks[0].settled, [2, 0]);
});

test('what was written after the end of the text is counted for itself', () => {
  const lines = LINES.map(line => JSON.parse(line)).map(record => JSON.stringify(record.noise ? {...record, noise: record.noise.map(n => n || 50)} : record) + '\n');
  const data = new FlowData();
  data.read(lines.join(''));
  assert.deepEqual(data.count(data.runs.get('r'), {block: 0, share: 1}), {settled: 2, begun: 2, after: 1});
});

test('a strip has a column for every moment, in which what comes after the text never settles', () => {
  const lines = LINES.map(line => JSON.parse(line)).map(record => JSON.stringify(record.noise ? {...record, noise: record.noise.map(n => n || 50)} : record) + '\n');
  const data = new FlowData();
  data.read(lines.join(''));
  const frames = data.frames(false);
  assert.deepEqual(data.columns(frames), [
    ...[false, false, true, true, true].map(settled => [[settled, 0], [false, 0]]),
    [[false, 0], [false, 0]],
  ]);
  assert.deepEqual(data.starts(frames), [0, 5]);
});

test('a strip leaves out what is pinned, and has all blocks at once one below another', () => {
  const {data} = read();
  const columns = data.columns(data.frames(true));
  assert.deepEqual(columns.map(column => column.length), [4, 4, 4, 4, 4]);
  assert.deepEqual(columns[4], [[true, 0], null, [false, 0], [false, 0]]);
});

test('nothing has settled in a block that is not finished', () => {
  const {data, run} = read();
  assert.equal(data.isSettled(run, 1, 0, 0), false);
});

test('frames go through the blocks one after the other, as far as a run has come', () => {
  const frames = read().data.frames(false);
  assert.deepEqual(frames.map(f => [f.block, f.share]), [[0, 0], [0, 0.25], [0, 0.5], [0, 0.75], [0, 1], [1, 0]]);
});

test('frames of all blocks at once go from noise to word', () => {
  const frames = read().data.frames(true);
  assert.deepEqual(frames.map(f => [f.block, f.share]), [0, 0.25, 0.5, 0.75, 1].map(share => [null, share]));
});

test('a frame shows the last state that it has reached, of earlier blocks the end, of later ones nothing', () => {
  const {data, run} = read();
  assert.equal(data.stateIndex(run, 0, {block: 0, share: 0.6}), 2);
  assert.equal(data.stateIndex(run, 0, {block: 1, share: 0}), 4);
  assert.equal(data.stateIndex(run, 1, {block: 0, share: 1}), -1);
  assert.equal(data.stateIndex(run, 7, {block: null, share: 1}), -1);
});

test('the frame of a step is found, and that of a step that there is not is -1', () => {
  const {data, run} = read();
  const frames = data.frames(false);
  assert.equal(data.frameOf(frames, run, 0, 3), 3);
  assert.equal(data.frameOf(frames, run, 1, 0), 5);
  assert.equal(data.frameOf(frames, run, 0, 9), -1);
});

test('pinned places have no noise at first and count neither as begun nor in the noise of a state', () => {
  const {data, run} = read();
  assert.deepEqual([0, 1].map(place => data.pinned(run, 0, place)), [false, true]);
  assert.equal(data.noise(run, 0, run.blocks[0].states[1]), 75);
  assert.deepEqual(data.count(run, {block: 0, share: 0.25}), {settled: 0, begun: 1, after: 0});
  assert.deepEqual(data.count(run, {block: 0, share: 0.5}), {settled: 1, begun: 1, after: 0});
  assert.deepEqual(data.count(run, {block: 1, share: 0}), {settled: 1, begun: 3, after: 0});
});

test('places after the end of a text do not belong to it', () => {
  const {data, run} = read();
  assert.deepEqual([0, 1].map(place => data.isText(run, 0, place)), [true, false]);
  assert.equal(data.isText(run, 1, 1), true);
});

test('without a run there are no frames beyond a block that is not there', () => {
  const data = new FlowData();
  assert.deepEqual([data.steps, data.blocks, data.frames(false), data.frames(true)], [1, 0, [], []]);
});

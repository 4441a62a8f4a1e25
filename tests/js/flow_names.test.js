import assert from 'node:assert/strict';
import {test} from 'node:test';
import {defined} from './snippets.js';

const document = {createElement: () => ({getContext: () => null})};
const {LabelRoom, placedNames} = defined(['components/label_room.js', 'components/flow_view/flow_names.js'], ['LabelRoom', 'placedNames'], {document});

const CLOUD = [['snack', 60, 60], ['fox', 300, 200]];

function head(word, x, y, bold = true) { return {word, x, y, bold, key: word}; }

function placed(heads, width, last) {
  const room = new LabelRoom('serif', width, 240), {heads: named, cloud} = placedNames(room, heads, CLOUD, last);
  return {room, words: named.map(([one]) => one.word), at: named.map(([, x, y]) => [x, y]), cloud: cloud.map(([word]) => word)};
}

for (const width of [340, 1200]) {
  test(`no name covers another on a map of ${width} px, where all heads lie in one place`, () => {
    const heads = ['strong', 'day', 'One', 'we', 'for', 'and', 'in', 'The'].map((word, i) => head(word, 62 + 3 * i, 70 + (i % 2), i < 4));
    const {room, words, cloud} = placed(heads, width);
    assert.equal(room.taken.length, words.length + cloud.length);
    for (const [i, box] of room.taken.entries()) for (const other of room.taken.slice(0, i)) {
      assert.ok(Math.abs(box.x - other.x) >= box.half + other.half || Math.abs(box.y - other.y) >= box.high + other.high);
    }
    assert.deepEqual([words.slice(0, 4), cloud], [['strong', 'day', 'One', 'we'], ['fox']]);
  });
}

test('words on their way come before those of the block before, and these before the cloud', () => {
  const many = [head('before', 62, 60, false), ...Array.from({length: 30}, (_, i) => head('way' + i, 60, 60))];
  const {words, cloud} = placed(many, 340);
  assert.ok(words.length >= 4 && !words.includes('before'));
  assert.deepEqual(cloud, ['fox']);
});

test('a name stays on its side of the dot while it can', () => {
  const last = new Map(), one = head('one', 100, 100), two = head('two', 104, 101);
  placed([one, two], 340, last);
  const side = last.get('two');
  assert.notEqual(side, 0);
  assert.deepEqual(placed([two], 340, last).at, [placed([one, two], 340, new Map()).at[1]]);
  assert.equal(last.get('two'), side);
});

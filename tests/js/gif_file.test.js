import assert from 'node:assert/strict';
import {test} from 'node:test';
import {defined} from './snippets.js';

const {GifFile} = defined(['components/share_card/gif_file.js'], ['GifFile']);
const rgba = ([r, g, b]) => (255 << 24 | b << 16 | g << 8 | r) >>> 0;
const COLOURS = [[255, 255, 255], [0, 0, 0], [255, 0, 0]], [WHITE, BLACK, RED] = COLOURS.map(rgba);

// LZW as a reader of GIFs undoes it, written without a look at how it was done.
function unpacked(data, least) {
  const clear = 1 << least, out = [];
  let width = least + 1, table = [], last = null, at = 0;
  const reset = () => {
    table = Array.from({length: clear + 2}, (_, i) => [i]);
    [width, last] = [least + 1, null];
  };
  reset();
  for (;;) {
    let code = 0;
    for (let bit = 0; bit < width; bit += 1, at += 1) code |= (data[at >> 3] >> (at & 7) & 1) << bit;
    if (code === clear) { reset(); continue; }
    if (code === clear + 1) return {out, used: Math.ceil(at / 8)};
    assert.ok(code < table.length || (code === table.length && last), `code ${code} of ${table.length}`);
    const entry = table[code] ?? [...last, last[0]];
    for (const value of entry) out.push(value);
    if (last && table.length < 4096) table.push([...last, entry[0]]);
    if (table.length === 1 << width && width < 12) width += 1;
    last = entry;
  }
}

// Pictures of a file as a viewer shows them: {delay, pixels}.
function decoded(file) {
  const short = at => file[at] | file[at + 1] << 8;
  assert.equal(String.fromCharCode(...file.slice(0, 6)), 'GIF89a');
  const [width, height] = [short(6), short(8)], table = file.slice(13, 13 + 768), frames = [];
  let at = 13 + 768, delay = 0, transparent = -1, screen = new Array(width * height).fill(null), loops = false;
  while (file[at] !== 0x3b) {
    if (file[at] === 0x21 && file[at + 1] === 0xf9) {
      [delay, transparent] = [short(at + 4), file[at + 3] & 1 ? file[at + 6] : -1];
      at += 8;
    } else if (file[at] === 0x21) {
      loops = String.fromCharCode(...file.slice(at + 3, at + 14)) === 'NETSCAPE2.0';
      for (at += 2; file[at]; at += file[at] + 1);
      at += 1;
    } else {
      assert.equal(file[at], 0x2c);
      const [left, top, w, h] = [1, 3, 5, 7].map(offset => short(at + offset)), least = file[at + 10], data = [];
      for (at += 11; file[at]; at += file[at] + 1) data.push(...file.slice(at + 1, at + 1 + file[at]));
      at += 1;
      const {out, used} = unpacked(data, least);
      assert.equal(out.length, w * h);
      assert.equal(used, data.length);
      screen = [...screen];
      out.forEach((index, i) => {
        if (index !== transparent) screen[(top + Math.floor(i / w)) * width + left + i % w] = rgba(table.slice(3 * index, 3 * index + 3));
      });
      frames.push({delay, pixels: screen, size: [w, h]});
    }
  }
  return {frames, loops, width, height};
}

function made(width, height, pictures, hold) {
  const gif = new GifFile(width, height, COLOURS, 5);
  for (const picture of pictures) gif.add(Uint32Array.from(picture));
  return decoded(gif.finish(hold));
}

test('pictures come back as they were, one after the other, for ever', () => {
  const pictures = [Array(6).fill(WHITE), [WHITE, WHITE, BLACK, WHITE, RED, WHITE]];
  const {frames, loops, width, height} = made(3, 2, pictures, 200);
  assert.deepEqual([width, height, loops], [3, 2, true]);
  assert.deepEqual(frames.map(frame => frame.pixels), pictures);
  assert.deepEqual(frames.map(frame => frame.delay), [5, 200]);
});

test('of a picture only what has changed is written', () => {
  const first = Array(100).fill(WHITE), second = first.with(33, BLACK).with(44, RED);
  const {frames: [, {size, pixels}]} = made(10, 10, [first, second]);
  assert.deepEqual(size, [2, 2]);
  assert.deepEqual(pixels, second);
});

test('a picture that is like the one before makes that one stand longer', () => {
  const {frames} = made(2, 1, [[WHITE, BLACK], [WHITE, BLACK], [BLACK, BLACK]]);
  assert.deepEqual(frames.map(frame => frame.delay), [10, 5]);
});

for (const [name, size, next] of [['of one colour', 200, () => 0], ['of noise, so that the table fills up many times', 200, seed => (seed * 1103515245 + 12345) & 0x7fffffff], ['of one pixel', 1, () => 0]]) {
  test(`a picture ${name} comes back`, () => {
    let seed = 7;
    const picture = Array.from({length: size * size}, () => [WHITE, BLACK, RED][(seed = next(seed)) >> 16 & 3] ?? WHITE);
    assert.deepEqual(made(size, size, [picture]).frames[0].pixels, picture);
  });
}

test('every length of data ends as its reader expects', () => {
  for (let length = 1; length < 1200; length += 1) {
    const bytes = Uint8Array.from({length}, (_, i) => (i * i * 31 + i) % 251), packed = GifFile.compressed(bytes), data = [];
    let at = 0;
    for (; packed[at]; at += packed[at] + 1) data.push(...packed.slice(at + 1, at + 1 + packed[at]));
    assert.equal(at + 1, packed.length);
    assert.deepEqual(unpacked(data, 8).out, [...bytes], `${length} bytes`);
  }
});

test('a palette has room for what leaves a pixel as it is, and the colours that were asked for', () => {
  const given = [[27, 28, 33], [180, 105, 14]], palette = GifFile.palette([246, 246, 244], given);
  assert.ok(palette.length <= GifFile.CLEAR);
  assert.ok(given.every(colour => palette.some(one => one.join() === colour.join())));
});

test('a colour that is not in the palette becomes the nearest', () => {
  const [{pixels}] = made(1, 1, [[rgba([250, 20, 30])]]).frames;
  assert.deepEqual(pixels, [RED]);
});

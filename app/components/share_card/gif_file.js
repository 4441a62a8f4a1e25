// GIF89a out of pictures of RGBA pixels: one palette for all, of each picture what differs from the one before.
// Sources: the GIF89a specification (CompuServe, 1990), its LZW with codes of variable length.

class GifFile {
  static CLEAR = 255;    // the colour that leaves what stands there

  // colours: at most 255 of [r, g, b]. delay: of a picture, in hundredths of a second.
  constructor(width, height, colours, delay) {
    Object.assign(this, {width, height, colours, delay});
    this.nearest = new Int16Array(1 << 15).fill(-1);   // colour of 5 bits a channel -> number in the palette
    this.before = null;
    this.parts = [];
    this.waiting = null;   // the picture that was added last: how long it stands is not known yet
  }

  // 255 colours: ramps from the paper to each of the given colours, and a coarse cube for the rest, such as emoji.
  static palette(paper, given) {
    const out = new Map(), add = colour => out.set(colour.join(), colour), steps = [0, 85, 170, 255];
    add(paper);
    const most = Math.floor((254 - steps.length ** 3) / given.length);
    for (const colour of given) for (let i = 1; i <= most; i += 1) add(paper.map((value, c) => Math.round(value + (colour[c] - value) * i / most)));
    for (const r of steps) for (const g of steps) for (const b of steps) add([r, g, b]);
    return [...out.values()].slice(0, 255);
  }

  index(pixel) {
    const key = (pixel & 0xf8) << 7 | (pixel >> 6) & 0x3e0 | (pixel >> 19) & 0x1f;
    if (this.nearest[key] < 0) {
      const [r, g, b] = [pixel & 255, (pixel >> 8) & 255, (pixel >> 16) & 255];
      let best = 0, least = Infinity;
      this.colours.forEach(([cr, cg, cb], i) => {
        const far = 2 * (cr - r) ** 2 + 4 * (cg - g) ** 2 + 3 * (cb - b) ** 2;
        if (far < least) [best, least] = [i, far];
      });
      this.nearest[key] = best;
    }
    return this.nearest[key];
  }

  // Adds a picture: Uint32Array of RGBA pixels, little-endian. One that shows nothing new makes the last stand longer.
  add(pixels, delay = this.delay) {
    const {width, height, before} = this;
    let [left, top, right, bottom] = before ? [width, height, -1, -1] : [0, 0, width - 1, height - 1];
    if (before) {
      for (let y = 0, i = 0; y < height; y += 1) for (let x = 0; x < width; x += 1, i += 1) {
        if (pixels[i] === before[i]) continue;
        if (x < left) left = x;
        if (x > right) right = x;
        if (y < top) top = y;
        bottom = y;
      }
      if (right < 0) {
        this.waiting.delay += delay;
        return;
      }
    }
    const size = [right - left + 1, bottom - top + 1], indices = new Uint8Array(size[0] * size[1]);
    for (let y = 0, to = 0; y < size[1]; y += 1) for (let x = 0, i = (top + y) * width + left; x < size[0]; x += 1, i += 1, to += 1) {
      indices[to] = before && pixels[i] === before[i] ? GifFile.CLEAR : this.index(pixels[i]);
    }
    this.flush();
    this.waiting = {left, top, size, data: GifFile.compressed(indices), delay};
    this.before = pixels;
  }

  flush() {
    if (!this.waiting) return;
    const {left, top, size, data, delay} = this.waiting, short = value => [value & 255, value >> 8];
    this.parts.push(Uint8Array.from([0x21, 0xf9, 4, 0x05, ...short(Math.min(delay, 65535)), GifFile.CLEAR, 0,
      0x2c, ...short(left), ...short(top), ...short(size[0]), ...short(size[1]), 0, 8]), data);
    this.waiting = null;
  }

  // The file. delay: how long the last picture stands.
  finish(delay = this.delay) {
    if (this.waiting) this.waiting.delay = Math.max(this.waiting.delay, delay);
    this.flush();
    const short = value => [value & 255, value >> 8], table = this.colours.flat();
    while (table.length < 768) table.push(0);
    const letters = text => Array.from(text, letter => letter.charCodeAt(0));
    const head = Uint8Array.from([...letters('GIF89a'), ...short(this.width), ...short(this.height), 0xf7, 0, 0, ...table,
      0x21, 0xff, 11, ...letters('NETSCAPE2.0'), 3, 1, 0, 0, 0]);
    const all = [head, ...this.parts, Uint8Array.of(0x3b)], file = new Uint8Array(all.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of all) {
      file.set(part, at);
      at += part.length;
    }
    return file;
  }

  // LZW of bytes, in blocks of at most 255 bytes with their length before them, and an empty one at the end.
  static compressed(bytes) {
    const [clear, end, size] = [256, 257, 5003];
    const keys = new Int32Array(size), codes = new Uint16Array(size);
    const out = new Uint8Array(Math.ceil(bytes.length * 1.6) + 64);
    let length = 9, next = 258, bits = 0, held = 0, at = 1, start = 0;
    const byte = value => {
      if (at - start === 256) {
        out[start] = 255;
        start = at;
        at += 1;
      }
      out[at] = value;
      at += 1;
    };
    const write = code => {
      held |= code << bits;
      for (bits += length; bits >= 8; bits -= 8) {
        byte(held & 255);
        held >>>= 8;
      }
    };
    keys.fill(-1);
    write(clear);
    let code = bytes[0];
    for (let i = 1; i < bytes.length; i += 1) {
      const key = code << 8 | bytes[i];
      let slot = (bytes[i] << 4 ^ code) % size;
      while (keys[slot] >= 0 && keys[slot] !== key) slot = slot + 1 === size ? 0 : slot + 1;
      if (keys[slot] === key) {
        code = codes[slot];
        continue;
      }
      write(code);
      code = bytes[i];
      if (next < 4096) {
        if (next === 1 << length && length < 12) length += 1;
        [keys[slot], codes[slot]] = [key, next];
        next += 1;
      } else {
        write(clear);
        keys.fill(-1);
        [length, next] = [9, 258];
      }
    }
    write(code);
    // what the decoder has read by now may need a bit more
    if (next === 1 << length && length < 12) length += 1;
    write(end);
    if (bits) byte(held & 255);
    out[start] = at - start - 1;
    out[at] = 0;
    return out.slice(0, at + 1);
  }
}

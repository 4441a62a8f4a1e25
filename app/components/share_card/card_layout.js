// Where the words, the paths and the lines at the foot of a card lie: data in, numbers out, by a function that measures
// text. It writes itself into the HTML that a card is saved as, so it refers to nothing outside of it.

class CardLayout {
  static WIDTH = 1200;
  static HEIGHT = 630;
  static MARGIN = 84;
  static TOP = 48;
  static BOTTOM = 520;                                                // where the text ends
  static SIZES = [46, 42, 38, 34, 31, 28, 26, 24, 22, 20, 18];        // of its letters
  static LEAST_PROMPT = 8;                                            // words of a long prompt that stay

  // measure(text, bold): width of a text in letters of one pixel.
  constructor(run, measure) {
    this.run = run;
    this.measure = measure;
    this.widths = new Map();
    const pieces = CardLayout.pieces(run);
    for (const size of CardLayout.SIZES) {
      this.size = size;
      if (this.fits(pieces)) break;
    }
    this.place(this.shortened(pieces));
    this.placePaths();
    this.foot = this.footer(run.facts);
  }

  width(text) {
    if (!this.widths.has(text)) this.widths.set(text, this.measure(text, false));
    return this.widths.get(text) * this.size;
  }

  get lineHeight() { return this.size * (this.size > 30 ? 1.55 : 1.45); }

  // The text as pieces between which a line may break: {text, tokens: [{word, from, to}], prompt, space, lines, glued}.
  // space: after a space. lines: line ends before it. glued: no break before it. word: number of the run's word, -1 the prompt's.
  static pieces(run) {
    const parts = [run.prompt, ...run.words.map(word => word.text)];
    const owners = parts.flatMap((text, i) => Array(text.length).fill(i - 1));
    let at = 0;
    const letters = CardLayout.letters(parts.join('')).map(letter => {
      at += letter.length;
      return [letter, owners[at - letter.length]];
    });
    const out = [];
    let piece = null, space = false, lines = 0;
    letters.forEach(([letter, word], i) => {
      if (/^\s+$/u.test(letter)) {
        [piece, space] = [null, true];
        lines += letter.includes('\n');
        return;
      }
      const before = i ? letters[i - 1] : null, own = word < 0;
      const anew = !piece || CardLayout.breaks(piece.text, letter) || (piece.prompt !== own && !CardLayout.joins(before[0], letter));
      if (anew) {
        const glued = Boolean(piece) && !CardLayout.breaks(piece.text, letter);
        piece = {text: '', tokens: [], prompt: own, space: space && out.length > 0, lines: out.length ? lines : 0, glued};
        [space, lines] = [false, 0];
        out.push(piece);
      }
      piece.prompt &&= own;
      const last = piece.tokens.at(-1), from = piece.text.length;
      piece.text += letter;
      if (last?.word === word) last.to = piece.text.length;
      else piece.tokens.push({word, from, to: piece.text.length});
    });
    return CardLayout.direct(out);
  }

  // [word, the word whose letter it is a part of], of the words that begin no letter.
  static shared({prompt, words}) {
    const out = [], texts = words.map(word => word.text), begins = new Set();
    let at = 0;
    for (const letter of CardLayout.letters(prompt + texts.join(''))) {
      begins.add(at);
      at += letter.length;
    }
    let from = prompt.length, owner = -1;
    texts.forEach((text, i) => {
      const own = Array.from({length: text.length}, (_, n) => from + n).some(place => begins.has(place));
      if (own) owner = i;
      else if (text) out.push([i, owner]);
      else out.push([i, texts.findIndex((other, n) => n > i && other)]);
      from += text.length;
    });
    return out;
  }

  // What a reader takes for single letters: an emoji of several characters is one.
  static letters(text) {
    if (typeof Intl.Segmenter !== 'function') return Array.from(text);
    return Array.from(new Intl.Segmenter(undefined, {granularity: 'grapheme'}).segment(text), ({segment}) => segment);
  }

  // May a line break between these without a space? In scripts that know none.
  static breaks(before, after) {
    const alone = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}]/u;
    return (alone.test(before) || alone.test(after)) && !/^[\p{P}\p{M}]/u.test(after);
  }

  // Do two letters change their shape beside each other? Then they are drawn as one.
  static joins(before, after) {
    const cursive = /[\p{Script=Arabic}\p{Script=Syriac}\p{Script=Mongolian}\p{Script=Devanagari}\p{Script=Bengali}\p{Script=Tamil}\p{Script=Nko}]/u;
    return cursive.test(before) && cursive.test(after);
  }

  // 1 from left to right, -1 from right to left, 0 as its neighbours do.
  static direction(text) {
    for (const letter of text) {
      if (/[\p{Script=Arabic}\p{Script=Hebrew}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}]/u.test(letter) && /\p{L}/u.test(letter)) return -1;
      if (/\p{L}/u.test(letter)) return 1;
    }
    return 0;
  }

  // Gives each piece its direction, and `base`, that of its paragraph: what has none goes as both its neighbours do, else
  // as the paragraph does.
  static direct(pieces) {
    for (let from = 0, until; from < pieces.length; from = until) {
      until = from + 1;
      while (until < pieces.length && !pieces[until].lines) until += 1;
      const own = pieces.slice(from, until), found = own.map(piece => CardLayout.direction(piece.text)), base = found.find(Boolean) ?? 1;
      own.forEach((piece, i) => {
        const before = found.slice(0, i).findLast(Boolean) ?? base, after = found.slice(i + 1).find(Boolean) ?? base;
        Object.assign(piece, {base, direction: found[i] || (before === after ? before : base)});
      });
    }
    return pieces;
  }

  // The order from left to right in which pieces with these directions stand in a line whose own direction is `base`.
  static order(directions, base) {
    const order = [];
    for (let i = 0; i < directions.length;) {
      let until = i;
      while (until < directions.length && directions[until] === directions[i]) until += 1;
      const part = Array.from({length: until - i}, (_, n) => i + n);
      order.push(...(directions[i] === base ? part : part.reverse()));
      i = until;
    }
    return base < 0 ? order.reverse() : order;
  }

  // Lines of pieces.
  lines(pieces) {
    const most = CardLayout.WIDTH - 2 * CardLayout.MARGIN, lines = [];
    let used = 0;
    for (let i = 0; i < pieces.length;) {
      let until = i + 1;
      while (until < pieces.length && pieces[until].glued) until += 1;
      const group = pieces.slice(i, until), wide = group.reduce((sum, piece) => sum + this.width(piece.text), 0);
      const gap = pieces[i].space ? this.width(' ') : 0;
      if (!lines.length || pieces[i].lines || used + gap + wide > most) {
        lines.push([]);
        used = -gap;
      }
      used += gap + wide;
      lines.at(-1).push(...group);
      i = until;
    }
    return lines;
  }

  fits(pieces) {
    const room = CardLayout.BOTTOM - CardLayout.TOP;
    return this.lines(pieces).length * this.lineHeight <= room && pieces.every(piece => this.width(piece.text) <= CardLayout.WIDTH - 2 * CardLayout.MARGIN);
  }

  // The pieces that have room: of a long prompt its end, and of a text that is too long even then its beginning.
  shortened(all) {
    const most = CardLayout.WIDTH - 2 * CardLayout.MARGIN;
    const pieces = all.flatMap(piece => this.width(piece.text) <= most ? [piece] : this.split(piece, most));
    if (this.fits(pieces)) return pieces;
    const dots = {...pieces[0], text: '…', tokens: [], prompt: true, space: false, lines: 0, glued: false};
    const given = pieces.findIndex(piece => !piece.prompt), prompt = given < 0 ? pieces.length : given;
    const without = n => n ? [{...dots, base: pieces[n].base, direction: pieces[n].base}, ...pieces.slice(n).map((piece, i) => i ? piece : {...piece, space: true, lines: 0, glued: false})] : pieces;
    const mostCut = Math.max(0, prompt - CardLayout.LEAST_PROMPT);
    const cut = CardLayout.least(0, mostCut, n => this.fits(without(n)));
    const rest = without(cut);
    if (this.fits(rest)) return rest;
    const kept = n => [...rest.slice(0, rest.length - n), {...rest[Math.max(0, rest.length - n - 1)], text: '…', tokens: [], space: false, lines: 0, glued: true}];
    return kept(CardLayout.least(1, rest.length, n => this.fits(kept(n))));
  }

  // The least number from `low` on for which `holds` does, or `high`.
  static least(low, high, holds) {
    while (low < high) {
      const middle = (low + high) >> 1;
      if (holds(middle)) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  // A piece longer than a line, cut where it fills one.
  split(piece, most) {
    const out = [], letters = CardLayout.letters(piece.text);
    let start = 0, text = '';
    const close = () => {
      const end = start + text.length;
      const tokens = piece.tokens.filter(token => token.from < end && token.to > start)
        .map(({word, from, to}) => ({word, from: Math.max(from, start) - start, to: Math.min(to, end) - start}));
      out.push(out.length ? {...piece, text, tokens, space: false, lines: 0, glued: false} : {...piece, text, tokens});
      [start, text] = [end, ''];
    };
    for (const letter of letters) {
      if (text && this.width(text + letter) > most) close();
      text += letter;
    }
    close();
    return out;
  }

  // Was a run stopped before this word stood?
  unfinished(word) { return word >= 0 && (this.run.words[word].path.at(-1)?.t ?? 0) > 0; }

  // items: [{text, x of the middle, y of the baseline, width, pale, rtl, tokens: [{word, text, x, width}]}]
  place(pieces) {
    const lines = this.lines(pieces), tall = lines.length * this.lineHeight;
    const top = CardLayout.TOP + Math.max(0, (CardLayout.BOTTOM - CardLayout.TOP - tall) / 2);
    this.cut = pieces.some(piece => piece.text === '…' && !piece.tokens.length);
    this.items = lines.flatMap((own, number) => {
      const {base} = own[0];
      const y = top + (number + 0.5) * this.lineHeight + this.size * 0.33;
      const total = own.reduce((sum, piece, i) => sum + this.width(piece.text) + (i && piece.space ? this.width(' ') : 0), 0);
      let x = base < 0 ? CardLayout.WIDTH - CardLayout.MARGIN - total : CardLayout.MARGIN;
      const order = CardLayout.order(own.map(piece => piece.direction), base), items = [];
      order.forEach((index, place) => {
        // the space lies where the two pieces that it separates meet
        const next = order[place - 1];
        if (place && own[Math.max(index, next)].space) x += this.width(' ');
        const piece = own[index], wide = this.width(piece.text), rtl = piece.direction < 0;
        const pale = piece.prompt || piece.tokens.some(({word}) => this.unfinished(word));
        items[index] = {text: piece.text, x: x + wide / 2, y, width: wide, pale, rtl, tokens: this.tokens(piece, x, wide, rtl)};
        x += wide;
      });
      return items;
    });
  }

  tokens(piece, left, wide, rtl) {
    return piece.tokens.filter(token => token.word >= 0).map(({word, from, to}) => {
      const [start, end] = [from, to].map(until => this.width(piece.text.slice(0, until)));
      const middle = (start + end) / 2;
      return {word, text: piece.text.slice(from, to), x: left + (rtl ? wide - middle : middle), width: Math.max(0, end - start)};
    });
  }

  // paths: [{word, block, points: [{x, y, t}]}] of the words that stand on the card; all of a word go to its middle.
  placePaths() {
    const {run: {words}, size} = this, ends = new Map();
    for (const item of this.items) for (const token of item.tokens) if (!ends.has(token.word)) ends.set(token.word, {x: token.x, y: item.y - size * 0.3});
    // what is no letter of its own, such as a part of an emoji, ends where the letter does that it is of
    for (const [word, other] of CardLayout.shared(this.run)) if (!ends.has(word) && ends.has(other)) ends.set(word, ends.get(other));
    this.paths = [...ends].filter(([i]) => words[i].path.length > 1).sort(([a], [b]) => a - b).map(([word, end]) => ({
      word, block: words[word].block, end,
      points: words[word].path.map(({x, y, t}) => ({
        x: CardLayout.within(end.x + x * size * 2, CardLayout.WIDTH - 8), y: CardLayout.within(end.y - y * size * 1.4, CardLayout.BOTTOM + 26), t})),
    }));
  }

  // A place between 8 and `high`: what would lie beyond either comes near to it.
  static within(value, high) {
    const low = 8, soft = 48, near = past => soft * (1 - Math.exp(-past / soft));
    if (value > high - soft) return high - soft + near(value - high + soft);
    return value < low + soft ? low + soft - near(low + soft - value) : value;
  }

  // The lines at the foot: {text, x, y, size, width, bold, end: does it end at x, link}.
  footer({title = 'Cola-DLM Explorer', caption = '', model = '', line = '', link = ''}) {
    const left = CardLayout.MARGIN, right = CardLayout.WIDTH - left, rows = [577, 603], wide = link ? 300 : 0;
    const after = left + this.measure(title, true) * 18 + 16;
    const out = [{text: title, x: left, y: rows[0], size: 18, bold: true}];
    out.push({text: this.elided(caption, 18, right - after), x: after, y: rows[0], size: 18});
    const settings = [model, line].filter(Boolean).join(', ');
    const shown = this.elided(settings, 16, right - left - wide - (wide && 24));
    out.push({text: shown, x: left, y: rows[1], size: 16});
    if (link) out.push({text: this.elided(link.replace(/^https?:\/\//, ''), 16, wide), x: right, y: rows[1], size: 16, end: true, link});
    return out.filter(row => row.text).map(row => ({...row, width: this.measure(row.text, Boolean(row.bold)) * row.size}));
  }

  elided(text, size, most) {
    const letters = CardLayout.letters(text), wide = n => this.measure(letters.slice(0, n).join('') + (n < letters.length ? '…' : ''), false) * size;
    if (wide(letters.length) <= most) return text;
    const n = letters.length - CardLayout.least(0, letters.length, less => wide(letters.length - less) <= most);
    return n ? letters.slice(0, n).join('').trimEnd() + '…' : '';
  }
}

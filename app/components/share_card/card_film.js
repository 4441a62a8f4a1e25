/* global CardLayout, CardPicture */
// A card that is written: words rise out of noise while their paths run. It writes itself into the HTML that a card is
// saved as, so it refers to nothing outside of it but CardLayout and CardPicture.

class CardFilm {
  static MOMENTS = 112;         // of the whole run, or as many as it has states
  static A_BLOCK = [2, 12];     // the least and the most of a block

  constructor(card, theme) {
    this.card = card;
    this.theme = theme;
    this.words = card.run.words;
    const blocks = [...new Set(card.paths.map(path => path.block))].sort((a, b) => a - b);
    const [least, most] = CardFilm.A_BLOCK, each = Math.max(least, Math.min(most, Math.round(CardFilm.MOMENTS / Math.max(1, blocks.length))));
    this.states = new Map(blocks.map(block => [block, Math.max(...this.words.filter(word => word.block === block).map(word => word.path.length))]));
    // [block, share of its way]
    this.moments = blocks.flatMap(block => Array.from({length: each}, (_, i) => [block, (i + 1) / each]));
    this.drawn = null;   // the block whose words before it stand on `still`
  }

  get length() { return this.moments.length; }

  // Makes a canvas of a width for the words and paths that do not move any more.
  on(canvas, still, width) {
    const scale = width / CardLayout.WIDTH;
    this.pens = [canvas, still].map(one => {
      Object.assign(one, {width, height: Math.round(CardLayout.HEIGHT * scale)});
      const pen = one.getContext('2d', {willReadFrequently: true});
      pen.setTransform(scale, 0, 0, scale, 0, 0);
      return pen;
    });
    [this.canvas, this.still, this.drawn] = [canvas, still, null];
    return this;
  }

  // Where a word is, at a share of the way of its block: its state, and how far it is on to the next.
  static state(path, states, share) {
    const at = share * (states - 1), index = Math.min(path.length - 1, Math.floor(at)), next = path[Math.min(path.length - 1, index + 1)], part = at - Math.floor(at);
    const now = path[index];
    return {index, part, t: now.t + (next.t - now.t) * part, sure: now.sure + (next.sure - now.sure) * part, word: part > 0.5 ? next.word : now.word};
  }

  // The words and paths of the blocks before one.
  before(block) {
    const [, pen] = this.pens, picture = new CardPicture(pen, this.theme), {card} = this, strength = CardPicture.strength(card);
    picture.background(card);
    for (const path of card.paths) if (path.block < block) picture.path(path, card, strength);
    for (const item of card.items) this.item(picture, item, word => this.words[word].block < block || !this.words[word].path.length);
    this.drawn = block;
  }

  // A piece of the text, those of its words that stand.
  item(picture, item, stands) {
    if (item.tokens.every(token => stands(token.word))) return picture.item(item, this.card);
    for (const {word, text, x} of item.tokens) {
      if (stands(word)) picture.text(text, x, item.y, {size: this.card.size, colour: this.theme.ink, align: 'center', rtl: item.rtl});
    }
  }

  show(moment) {
    const [block, share] = this.moments[moment], [pen] = this.pens, {card} = this;
    if (this.drawn !== block) this.before(block);
    pen.save();
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.drawImage(this.still, 0, 0);
    pen.restore();
    const picture = new CardPicture(pen, this.theme), states = this.states.get(block), strength = CardPicture.strength(card);
    pen.lineCap = 'round';
    const heads = card.paths.filter(path => path.block === block).map(path => {
      const now = CardFilm.state(this.words[path.word].path, states, share);
      let head = path.points[Math.min(now.index, path.points.length - 1)];
      for (const curve of CardPicture.curves(path.points)) {
        if (curve.index > now.index + 1) break;
        const drawn = curve.index <= now.index ? curve : CardPicture.until(curve, now.part);
        picture.curve(drawn, card, Math.min(1.3, strength * 1.6));
        head = drawn.to;
      }
      picture.dot(path.points[0], 2, this.theme.noise, 0.7 * strength);
      return {...now, head, word: path.word, read: now.word};
    });
    const moving = new Map(heads.map(head => [head.word, head]));
    for (const item of card.items) {
      if (!item.tokens.some(token => moving.has(token.word))) continue;
      const stands = word => this.words[word].block < block || !this.words[word].path.length || moving.get(word)?.t === 0;
      this.item(picture, item, stands);
      for (const {word, x, width} of item.tokens) {
        const now = moving.get(word);
        if (now && !stands(word)) picture.forming(now.read, x, item.y, card.size, now, width + 0.5 * card.size);
      }
    }
    for (const {head, t} of heads) if (t > 0) picture.dot(head, 3.2 + 1.6 * t, CardPicture.colour(this.theme, t));
  }

  // The end: the card itself.
  last() {
    new CardPicture(this.pens[0], this.theme).whole(this.card);
  }
}

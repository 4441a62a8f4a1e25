/* global CardLayout */
// A card as it is drawn: on a canvas, whole or at a moment of the run, and as SVG. It writes itself into the HTML that a
// card is saved as, so it refers to nothing outside of it.

class CardPicture {
  static FONT = '"Source Sans Pro", "Source Sans 3", ui-sans-serif, system-ui, "Segoe UI", "Noto Sans", Arial, sans-serif, "Apple Color Emoji", "Segoe UI Emoji", "Noto Color Emoji"';
  // as app/theme/page.css has them
  static THEMES = {
    light: {page: '#f6f6f4', ink: '#1b1c21', muted: '#5b5c65', noise: '#9aa3b5', flow: '#2b529f', word: '#b4690e'},
    dark: {page: '#131418', ink: '#f3f2ec', muted: '#a7a8b0', noise: '#7b849b', flow: '#86a8f0', word: '#f0b25a'},
  };
  static LEVELS = 12;  // of colour along a path

  static rgb(hex) { return [1, 3, 5].map(at => parseInt(hex.slice(at, at + 2), 16)); }

  static mix(a, b, share) {
    const [from, to] = [CardPicture.rgb(a), CardPicture.rgb(b)];
    return '#' + from.map((value, i) => Math.round(value + (to[i] - value) * share).toString(16).padStart(2, '0')).join('');
  }

  // Grey noise, blue flow, amber word. share: of noise.
  static colour(theme, share) {
    return share > 0.5 ? CardPicture.mix(theme.flow, theme.noise, (share - 0.5) * 2) : CardPicture.mix(theme.word, theme.flow, share * 2);
  }

  // A path as smooth curves from point to point: {from, a, b, to, t}, a and b the handles of a cubic curve, t its noise.
  static curves(points) {
    const curves = [];
    for (let i = 1; i < points.length; i += 1) {
      const [from, to] = [points[i - 1], points[i]];
      if (from.x === to.x && from.y === to.y) continue;
      const [before, after] = [points[i - 2] ?? from, points[i + 1] ?? to];
      curves.push({index: i, from, to, t: to.t, a: {x: from.x + (to.x - before.x) / 6, y: from.y + (to.y - before.y) / 6},
        b: {x: to.x - (after.x - from.x) / 6, y: to.y - (after.y - from.y) / 6}});
    }
    return curves;
  }

  // The part of a curve up to a share of it.
  static until({from, a, b, to, ...rest}, share) {
    const between = (p, q) => ({x: p.x + (q.x - p.x) * share, y: p.y + (q.y - p.y) * share});
    const [p, q, r] = [between(from, a), between(a, b), between(b, to)], [s, u] = [between(p, q), between(q, r)];
    return {...rest, from, a: p, b: s, to: between(s, u)};
  }

  // How strongly paths are drawn: fainter where there are many.
  static strength(card) { return Math.max(0.4, Math.min(1, 40 / Math.max(1, card.paths.length)) ** 0.5); }

  static alpha(t, strength) { return (0.32 + 0.48 * (1 - t)) * strength; }

  static wide(t, card) { return (1 + 1.4 * (1 - t)) * (0.6 + 0.4 * card.size / 46); }

  constructor(pen, theme) {
    this.pen = pen;
    this.theme = theme;
  }

  font(size, bold = false) { this.pen.font = (bold ? 'bold ' : '') + size + 'px ' + CardPicture.FONT; }

  curve({from, a, b, to, t}, card, strength) {
    const {pen} = this;
    pen.strokeStyle = CardPicture.colour(this.theme, t);
    pen.globalAlpha = CardPicture.alpha(t, strength);
    pen.lineWidth = CardPicture.wide(t, card);
    pen.beginPath();
    pen.moveTo(from.x, from.y);
    pen.bezierCurveTo(a.x, a.y, b.x, b.y, to.x, to.y);
    pen.stroke();
    pen.globalAlpha = 1;
  }

  dot({x, y}, radius, colour, alpha = 1) {
    const {pen} = this;
    pen.fillStyle = colour;
    pen.globalAlpha = alpha;
    pen.beginPath();
    pen.arc(x, y, radius, 0, 7);
    pen.fill();
    pen.globalAlpha = 1;
  }

  path(path, card, strength) {
    this.pen.lineCap = 'round';
    for (const curve of CardPicture.curves(path.points)) this.curve(curve, card, strength);
    this.dot(path.points[0], 2, this.theme.noise, 0.7 * strength);
  }

  // Words have a thin rim of the paper, so that they can be read where paths cross.
  text(text, x, y, {size, bold, colour, align = 'left', rtl = false, alpha = 1, most}) {
    const {pen} = this;
    this.font(size, bold);
    pen.textAlign = align;
    pen.textBaseline = 'alphabetic';
    pen.direction = rtl ? 'rtl' : 'ltr';
    pen.globalAlpha = alpha;
    pen.lineJoin = 'round';
    pen.lineWidth = Math.max(2, size / 9);
    pen.strokeStyle = this.theme.page;
    pen.strokeText(text, x, y, most);
    pen.fillStyle = colour;
    pen.fillText(text, x, y, most);
    pen.globalAlpha = 1;
  }

  item({text, x, y, pale, rtl}, card) {
    this.text(text, x, y, {size: card.size, colour: pale ? this.theme.muted : this.theme.ink, align: 'center', rtl});
  }

  background(card) {
    const {pen, theme} = this;
    pen.fillStyle = theme.page;
    pen.fillRect(0, 0, CardLayout.WIDTH, CardLayout.HEIGHT);
    for (const {text, x, y, size, bold, end} of card.foot) this.text(text, x, y, {size, bold, colour: bold ? theme.ink : theme.muted, align: end ? 'right' : 'left'});
  }

  whole(card) {
    this.background(card);
    const strength = CardPicture.strength(card);
    for (const path of card.paths) this.path(path, card, strength);
    for (const item of card.items) this.item(item, card);
  }

  // A word on its way to its place: blurred by its noise, pale by its doubt.
  forming(word, x, y, size, {t, sure}, most) {
    const {pen, theme} = this, away = 4000, alpha = (1 - t) * (0.2 + 0.8 * sure);
    if (alpha < 0.03 || !word.trim()) return;
    pen.save();
    this.font(size);
    pen.textAlign = 'center';
    pen.textBaseline = 'alphabetic';
    pen.globalAlpha = alpha;
    pen.fillStyle = CardPicture.mix(theme.muted, theme.ink, sure);
    const blur = t * size * 0.22, scale = pen.getTransform().a;
    if (blur > 0.4) {   // the shadow alone: the word itself lies outside
      Object.assign(pen, {shadowColor: pen.fillStyle, shadowBlur: 2 * blur * scale, shadowOffsetX: away * scale});
      pen.fillText(word.trim(), x - away, y, most);
    } else pen.fillText(word.trim(), x, y, most);
    pen.restore();
  }

  // The SVG of a whole card. document: to make its elements.
  static svg(card, theme, document, label) {
    const space = 'http://www.w3.org/2000/svg', n = value => String(Math.round(value * 10) / 10);
    const node = (name, attributes, ...children) => {
      const made = document.createElementNS(space, name);
      for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
      made.append(...children);
      return made;
    };
    const {WIDTH, HEIGHT} = CardLayout, strength = CardPicture.strength(card);
    const svg = node('svg', {xmlns: space, width: WIDTH, height: HEIGHT, viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', 'font-family': CardPicture.FONT});
    svg.append(node('title', {}, label), node('rect', {width: WIDTH, height: HEIGHT, fill: theme.page}));
    const levels = Array.from({length: CardPicture.LEVELS}, () => '');
    for (const path of card.paths) for (const {from, a, b, to, t} of CardPicture.curves(path.points)) {
      levels[Math.round(t * (CardPicture.LEVELS - 1))] += `M${n(from.x)} ${n(from.y)}C${[a, b, to].map(p => n(p.x) + ' ' + n(p.y)).join(' ')}`;
    }
    const paths = node('g', {fill: 'none', 'stroke-linecap': 'round'});
    levels.forEach((d, level) => {
      const t = level / (CardPicture.LEVELS - 1);
      if (d) paths.prepend(node('path', {d, stroke: CardPicture.colour(theme, t), 'stroke-opacity': CardPicture.alpha(t, strength).toFixed(2), 'stroke-width': CardPicture.wide(t, card).toFixed(2)}));
    });
    const starts = node('g', {fill: theme.noise, 'fill-opacity': (0.7 * strength).toFixed(2)});
    for (const {points: [start]} of card.paths) starts.append(node('circle', {cx: n(start.x), cy: n(start.y), r: 2}));
    // each word keeps its width, whatever font draws it
    const words = node('g', {'font-size': card.size, 'text-anchor': 'middle', stroke: theme.page, 'stroke-width': n(Math.max(2, card.size / 9)), 'stroke-linejoin': 'round', 'paint-order': 'stroke'});
    for (const {text, x, y, width, pale, rtl} of card.items) {
      words.append(node('text', {x: n(x), y: n(y), fill: pale ? theme.muted : theme.ink, ...(width > 1 ? {textLength: n(width), lengthAdjust: 'spacingAndGlyphs'} : {}),
        ...(rtl ? {direction: 'rtl'} : {})}, text));
    }
    svg.append(paths, starts, words);
    for (const {text, x, y, size, width, bold, end, link} of card.foot) {
      const line = node('text', {x: n(x), y, textLength: n(width), lengthAdjust: 'spacingAndGlyphs', 'font-size': size, fill: bold ? theme.ink : theme.muted, ...(bold ? {'font-weight': 700} : {}), ...(end ? {'text-anchor': 'end'} : {})}, text);
      svg.append(link ? node('a', {href: link}, line) : line);
    }
    return svg;
  }
}

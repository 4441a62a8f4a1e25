// The text of a run that is over, at any of its steps: before strips and rows of texts that show one.
//
// It is laid out as it stands at the end: what is there before a block, and unseen, that block and those after it. The
// words of the block lie over their places, each on the line on which it ends up, so that no word changes its line.

// A settled token: the space before its word is beside it, so that a ring around the word is one.
function settledToken(node) {
  const space = node.textContent.match(/^\s+(?=\S)/)?.[0];
  if (!space) return [node];
  node.textContent = node.textContent.slice(space.length);
  return [space, node];
}

// Reuses the spans that stand there, so that a token changes its words and its colour in place.
function redrawTokens(parent, nodes) {
  nodes.forEach((node, i) => {
    const old = parent.children[i];
    if (!old) return void parent.append(node);
    if (old.textContent !== node.textContent) old.textContent = node.textContent;
    old.className = node.className;
    old.title = node.title;
    old.style.cssText = node.style.cssText;
  });
  while (parent.children.length > nodes.length) parent.lastChild.remove();
}

class StepText {
  // paragraph: what the text is in; within it answer, ahead and live, for what has settled, what is unseen and what is under
  // way. span(token): the element of a token, [text, confidence, is special, noise, is given].
  constructor(paragraph, {answer, ahead, live}, span) {
    Object.assign(this, {paragraph, answer, ahead, live, span, state: null});
    this.open([], []);
    // where the lines break is another matter once the page is wider or narrower
    new ResizeObserver(() => { if (this.state) this.redrawLines(); }).observe(paragraph);
  }

  // blocks: as `look_value` makes them. lines: the finished tokens of each block. flush: does nothing stand before the text.
  open(blocks, lines, flush = false) {
    Object.assign(this, {blocks, lines, flush, parts: null});
    this.states = blocks.flatMap((block, b) => block.steps.map((_, s) => [b, s]));  // the finished text comes after them
  }

  get length() {
    return this.states.length;
  }

  // Shows a state. True where what has settled was laid out anew for it.
  show(at) {
    const [b, s] = this.states[at], anew = this.state?.[0] !== b;
    if (anew) this.layOut(b);
    this.state = [b, s];
    this.redrawLines();
    return anew;
  }

  // Makes room for the finished text, which others draw. True where it was at one of its steps.
  leave() {
    if (!this.state) return false;
    this.state = this.parts = null;
    this.ahead.replaceChildren();
    this.live.replaceChildren();
    return true;
  }

  // What a block reads at one of its states, as tokens.
  read(b, s) {
    const block = this.blocks[b], from = s * block.count;
    return block.ids.slice(from, from + block.count).map((id, i) => [
      block.words[id][0], block.sure[from + i] / 100, block.words[id][1], (block.t?.[from + i] ?? 0) / 100, block.given?.[i],
    ]);
  }

  layOut(b) {
    const {answer, ahead, live} = this;
    if (!this.parts) {
      const end = this.blocks.map((block, i) => this.lines[i] ?? this.read(i, block.steps.length - 1));
      this.parts = end.map(tokens => tokens.flatMap(token => settledToken(this.span(token))));  // the nodes of each block
      if (this.flush && typeof this.parts[0]?.[0] === 'string') this.parts[0].shift();
      this.parts = this.parts.map(nodes => nodes.map(node => typeof node === 'string' ? document.createTextNode(node) : node));
      answer.replaceChildren();
      ahead.replaceChildren(...this.parts.flat());
      this.settled = 0;  // blocks whose nodes are in the answer
    }
    for (; this.settled < b; this.settled++) answer.append(...this.parts[this.settled]);
    for (; this.settled > b; this.settled--) ahead.prepend(...this.parts[this.settled - 1]);
    live.replaceChildren();
  }

  redrawLines() {
    const {paragraph, ahead, live} = this, tokens = this.read(...this.state);
    const within = paragraph.getBoundingClientRect(), style = getComputedStyle(paragraph), tall = parseFloat(style.lineHeight) || 0;
    const rows = [];  // {from: its first token, box: of that one's end, at: the middle of the line, apart: no space before it}
    tokens.forEach((_, i) => {
      const node = ahead.children[i], box = node?.getClientRects()[0] ?? rows.at(-1)?.box ?? within;
      const at = (box.top + box.bottom) / 2;
      const apart = node?.previousSibling?.nodeName !== '#text' && !(this.flush && i + this.state[0] === 0);
      if (!rows.length || at - rows.at(-1).at > tall / 2) rows.push({from: i, box, at, apart});
    });
    const leftwards = style.direction === 'rtl';
    rows.forEach(({from, box, at, apart}, r) => {
      const line = live.children[r] ?? live.appendChild(Object.assign(document.createElement('span'), {className: 'line'}));
      redrawTokens(line, tokens.slice(from, rows[r + 1]?.from).map(this.span));
      line.classList.toggle('apart', apart && /^\s/.test(tokens[from][0]));
      line.style.top = at - within.top - tall / 2 + 'px';
      line.style[leftwards ? 'right' : 'left'] = (leftwards ? within.right - box.right : box.left - within.left) + 'px';
      const room = leftwards ? box.right - within.left : within.right - box.left, wide = line.offsetWidth;
      line.style.transform = wide > room && room > 0 ? `scaleX(${room / wide})` : '';
    });
    while (live.children.length > rows.length) live.lastChild.remove();
  }
}

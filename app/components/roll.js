// The steps of a run as a strip: a column for each state, a row for each place of a block. Grey while a place does not
// read what it will read in the end, gold from the state on at which that stays, the brighter the surer.

class Roll {
  constructor(canvas) {
    this.canvas = canvas;
    this.columns = [];  // of each state: [place, is it settled, its confidence] of every place
    this.starts = [];   // columns with which a block begins
    this.rows = 1;
    this.changes = 0;   // how often a word on its way became another one
    this.at = 0;
    this.cells = null;  // the strip as it was painted last
    this.size = [0, 0];
    this.colours = {};  // of the theme, by their names
    // Both are read when they change: to read them at each step would have the browser lay out the page once more for it.
    new ResizeObserver(() => {
      this.size = [canvas.clientWidth, canvas.clientHeight];
      this.draw();
    }).observe(canvas);
    const themes = new MutationObserver(() => {
      this.colours = {};
      this.draw();
    });
    themes.observe(document.body, {attributes: true, attributeFilter: ['class']});
  }

  // blocks: as `look_value` makes them. lines: the finished tokens of each block.
  open(blocks, lines) {
    this.columns = [];
    this.starts = [];
    this.changes = 0;
    this.rows = Math.max(1, ...blocks.map(block => block.count));
    blocks.forEach((block, b) => {
      this.starts.push(this.columns.length);
      const word = (s, i) => block.words[block.ids[s * block.count + i]][0];
      const last = block.steps.length - 1;
      const from = Array.from({length: block.count}, (_, i) => {
        const end = lines[b]?.[i]?.[0] ?? word(last, i);
        let step = last + 1;
        while (step > 0 && word(step - 1, i) === end) step -= 1;
        for (let s = 1; s <= last; s++) this.changes += word(s, i) !== word(s - 1, i);
        return step;
      });
      block.steps.forEach((_, s) => this.columns.push(from.map((step, i) => [s >= step, block.sure[s * block.count + i] / 100])));
    });
    this.at = this.columns.length;
    this.cells = null;
    this.draw();
  }

  // columns, starts: as above; of a column a place may be null, where there is none.
  show(columns, starts) {
    Object.assign(this, {columns, starts, rows: Math.max(1, ...columns.map(column => column.length)), cells: null});
    this.draw();
  }

  move(at) {
    this.at = at;
    this.draw();
  }

  colour(name) { return this.colours[name] ??= getComputedStyle(this.canvas).getPropertyValue(name).trim(); }

  // The strip without its playhead, which is drawn once for a run: of more columns than there are pixels, those that show.
  paint(width, height, scale) {
    const {columns} = this, cells = new OffscreenCanvas(Math.round(width * scale), Math.round(height * scale));
    const pen = cells.getContext('2d'), [low, high, sheet] = ['--roll-low', '--roll-high', '--sheet'].map(name => this.colour(name));
    const wide = width / Math.max(1, columns.length), tall = height / this.rows, gap = tall < 3 ? 0 : Math.min(1.5, tall / 4);
    const stride = Math.max(1, Math.floor(0.5 / wide));
    pen.scale(scale, scale);
    for (let x = 0; x < columns.length; x += stride) {
      columns[x].forEach((place, y) => {
        if (!place) return;
        const [settled, sure] = place;
        const box = [x * wide, y * tall, stride * wide + 0.5, tall - gap];
        pen.fillStyle = low;
        pen.fillRect(...box);
        pen.globalAlpha = settled ? 0.3 + 0.7 * sure : 0.22 * sure;
        pen.fillStyle = high;
        pen.fillRect(...box);
        pen.globalAlpha = 1;
      });
    }
    pen.fillStyle = sheet;
    const line = Math.min(2, 8 * wide);
    for (const start of this.starts.slice(1)) pen.fillRect(start * wide - line / 2, 0, line, height);
    return cells;
  }

  draw() {
    const {canvas, columns} = this, [width, height] = this.size;
    if (!width || !height) return;
    const scale = window.devicePixelRatio || 1, pen = canvas.getContext('2d');
    const key = [width, height, scale, this.colour('--sheet')].join();
    if (!this.cells || this.key !== key) {
      [this.cells, this.key] = [this.paint(width, height, scale), key];
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(this.cells, 0, 0);
    if (!columns.length) return;
    pen.scale(scale, scale);
    const x = Math.min(width - 2, this.at * width / columns.length);
    pen.fillStyle = this.colour('--sheet');
    pen.globalAlpha = 0.55;
    pen.fillRect(x, 0, width - x, height);
    pen.globalAlpha = 1;
    pen.fillStyle = this.colour('--ink');
    pen.fillRect(x - 1, 0, 2, height);
  }
}

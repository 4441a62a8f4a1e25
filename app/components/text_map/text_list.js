// The list of a text map: a row for each text, which keys and clicks pick. Knows nothing of the map beside it.

const ROWS = 100;      // that the list grows by: thousands of rows would take their time

class TextList {
  // rows: where to write. told(i): what stands in the row of a text, {text, colour, set, selected}. picked(i), near(i): of
  // a row that is chosen, and of one whose neighbours are asked for.
  constructor(rows, told, picked, near) {
    Object.assign(this, {rows, told, listed: []});
    rows.addEventListener('click', event => { const row = event.target.closest('.row'); if (row) picked(row.index); });
    rows.addEventListener('scroll', () => { if (rows.scrollTop + 2 * rows.clientHeight > rows.scrollHeight) this.grow(); });
    rows.addEventListener('keydown', event => {
      const row = event.target.closest('.row');
      if (!row) return;
      if (event.key === 'End') this.grow(this.listed.length);
      const next = {ArrowDown: row.nextElementSibling, ArrowUp: row.previousElementSibling, Home: rows.firstElementChild, End: rows.lastElementChild}[event.key];
      if (next) { row.tabIndex = -1; next.tabIndex = 0; next.focus(); }
      else if (event.key === ' ' || event.key === 'Enter') picked(row.index);
      else if (event.key === 'n') near(row.index);
      else return;
      event.preventDefault();
    });
  }

  // pairs: [index, distance or null] of each text, in their order.
  show(pairs) {
    this.listed = pairs;
    this.rows.replaceChildren();
    this.rows.scrollTop = 0;
    this.grow();
  }

  grow(least = 0) {
    const there = this.rows.childElementCount;
    this.rows.append(...this.listed.slice(there, Math.max(there + ROWS, least)).map((pair, n) => this.row(pair, there + n)));
  }

  row([i, far], n) {
    const row = document.createElement('div'), {text, colour, set, selected} = this.told(i);
    row.className = 'row';
    row.setAttribute('role', 'option');
    row.tabIndex = n ? -1 : 0;
    row.index = i;
    const [dot, words, away] = ['dot', 'text', 'far'].map(name => row.appendChild(Object.assign(document.createElement('span'), {className: name})));
    dot.style.background = colour;
    words.textContent = text;
    away.textContent = far === null ? set : far.toFixed(2);
    row.setAttribute('aria-selected', selected);
    return row;
  }

  // Writes anew what may have changed in the rows that are there.
  refresh() {
    for (const row of this.rows.querySelectorAll('.row')) {
      const {colour, selected} = this.told(row.index);
      row.setAttribute('aria-selected', selected);
      row.firstElementChild.style.background = colour;
    }
  }

  has(i) { return this.listed.some(([j]) => j === i); }

  // Brings the line of a text that is listed into the list's view; the page stays where it is.
  reveal(i) {
    const n = this.listed.findIndex(([j]) => j === i);
    this.grow(n + 1);
    const row = this.rows.children[n];
    this.rows.querySelector('[tabindex="0"]').tabIndex = -1;
    row.tabIndex = 0;
    this.rows.scrollTop = row.offsetTop - (this.rows.clientHeight - row.offsetHeight) / 2;
  }

  focus() { this.rows.firstElementChild.focus(); }
}

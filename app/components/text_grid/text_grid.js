/* global make */
const region = element.querySelector('.frame');
const index = element.querySelector('.index');
let listed = '';       // the grids that the line above them names

// axis: which of "sheets", "rows" and "columns" a label belongs to; prompts are not to be translated.
function label(tag, name, text, axis) {
  const node = make(tag, name, text);
  node.translate = props.value.prompts !== axis;
  return node;
}

function head(text, scope, axis) {
  const node = label('th', '', text, axis);
  node.scope = scope;
  return node;
}

function textCell([text, note, settings, prompt], column, labels) {
  const cell = make('td', 'cell');
  cell.dataset.column = column;
  const words = make('p', 'text', text.trimStart() || '…');
  words.dir = 'auto';
  words.translate = false;
  cell.append(words, make('p', 'tells', note));
  if (!note) return cell;
  const use = make('button', 'use', 'Use these settings');
  use.type = 'button';
  use.setAttribute('aria-label', 'Use these settings: ' + labels.filter(Boolean).join(', '));
  use.addEventListener('click', () => trigger('select', {settings, prompt}));
  cell.append(use);
  return cell;
}

function sheet(title, s) {
  const v = props.value, table = make('table', 'grid'), top = make('tr', '');
  if (title) table.append(label('caption', 'sheet', title, 'sheets'));
  top.append(make('td', 'corner'), ...v.columns.map(text => head(text, 'col', 'columns')));
  table.createTHead().append(top);
  table.createTBody().append(...v.rows.map((name, r) => {
    const row = make('tr', '');
    row.append(head(name, 'row', 'rows'));
    v.columns.forEach((column, c) => {
      const cell = v.cells[(s * v.rows.length + r) * v.columns.length + c];
      row.append(textCell(cell, column, [title, name, column]));
    });
    return row;
  }));
  return table;
}

// A line above several grids that names them and leads to each: the first may fill the whole place.
function list() {
  const v = props.value, several = Boolean(v) && v.sheets.length > 1;
  index.hidden = !several;
  const key = several ? JSON.stringify([v.sheets, v.prompts]) : '';
  if (key === listed) return;
  listed = key;
  index.querySelectorAll('.to').forEach(node => node.remove());
  if (!several) return;
  index.querySelector('.how-many').textContent = v.sheets.length + ' grids:';
  index.append(...v.sheets.map((title, s) => {
    const to = label('button', 'to', title, 'sheets');
    to.type = 'button';
    to.title = title;
    to.addEventListener('click', () => bringUp(region.querySelectorAll('.grid')[s]));
    return to;
  }));
}

// To the top of its place where that scrolls, else of the page.
function bringUp(table) {
  if (region.scrollHeight <= region.clientHeight + 1) table.scrollIntoView({block: 'start'});
  else region.scrollTop += table.getBoundingClientRect().top - region.getBoundingClientRect().top;
}

// Which grid is at the top, and whether more comes below.
function mark() {
  const top = region.getBoundingClientRect().top + 40, tables = [...region.querySelectorAll('.grid')];
  const now = Math.max(0, tables.findLastIndex(table => table.getBoundingClientRect().top < top));
  index.querySelectorAll('.to').forEach((to, s) => to.setAttribute('aria-current', s === now && region.scrollHeight > region.clientHeight + 1));
  region.classList.toggle('more', region.scrollTop + region.clientHeight < region.scrollHeight - 4);
}
region.addEventListener('scroll', mark);
new ResizeObserver(mark).observe(region);

function draw() {
  const v = props.value;
  region.hidden = !v;
  list();
  if (!v) return;
  region.querySelector('.lead').textContent = v.prompt;
  region.querySelector('.sheets').replaceChildren(...v.sheets.map(sheet));
  region.setAttribute('aria-busy', v.state === 'running');
  mark();
}

stopWithRun(draw);
watch('value', draw);
draw();

/* global make */
const region = element.querySelector('.frame');

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

function draw() {
  const v = props.value;
  region.hidden = !v;
  if (!v) return;
  region.querySelector('.lead').textContent = v.prompt;
  region.querySelector('.sheets').replaceChildren(...v.sheets.map(sheet));
  region.setAttribute('aria-busy', v.state === 'running');
}

stopWithRun(draw);
watch('value', draw);
draw();

/* global make, nameColumns */
const [region, table] = ['.region', 'table'].map(name => element.querySelector(name));
const RIGHT = 'Right would be';
const SAID = {right: '✓ right', wrong: '✗ wrong', forming: '…'};

function answer(cell, column) {
  const node = make('td', '', {role: 'cell', 'data-column': column});
  if (!cell) return node;
  const [text, verdict] = cell;
  const written = make('code', text || (verdict === 'forming' ? '' : '(nothing)'), {dir: 'ltr', translate: 'no'});
  node.append(written, make('span', SAID[verdict], {class: 'verdict ' + verdict}));
  return node;
}

function draw() {
  const v = props.value;
  region.hidden = !v;
  if (!v) return;
  table.querySelector('caption').textContent = v.note;
  nameColumns(table, make('th', 'Question', {scope: 'col'}), [RIGHT, ...v.who]);
  table.querySelector('tbody').replaceChildren(...v.rows.map(([asked, right, cells]) => {
    const row = make('tr', '', {role: 'row'}), head = make('th', '', {scope: 'row', role: 'rowheader'});
    const wanted = make('td', '', {role: 'cell', 'data-column': RIGHT});
    head.append(make('code', asked, {dir: 'ltr', translate: 'no'}));
    wanted.append(make('code', right, {dir: 'ltr', translate: 'no'}));
    row.append(head, wanted, ...cells.map((cell, i) => answer(cell, v.who[i])));
    return row;
  }));
}

watch('value', draw);
draw();

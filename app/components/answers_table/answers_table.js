/* global make, nameColumns */
const [region, table] = ['.region', 'table'].map(name => element.querySelector(name));
const SAID = {right: '✓ right', wrong: '✗ wrong', forming: '…'};

function answer(cell) {
  const node = make('td', '');
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
  nameColumns(table, make('th', 'Question', {scope: 'col'}), ['Right would be', ...v.who]);
  table.querySelector('tbody').replaceChildren(...v.rows.map(([asked, right, cells]) => {
    const row = make('tr', ''), head = make('th', '', {scope: 'row'}), wanted = make('td', '');
    head.append(make('code', asked, {dir: 'ltr', translate: 'no'}));
    wanted.append(make('code', right, {dir: 'ltr', translate: 'no'}));
    row.append(head, wanted, ...cells.map(answer));
    return row;
  }));
}

watch('value', draw);
draw();

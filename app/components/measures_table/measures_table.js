/* global make, nameColumns */
const [region, table] = ['.region', 'table'].map(name => element.querySelector(name));

function draw() {
  const v = props.value;
  region.hidden = !v;
  if (!v) return;
  table.querySelector('caption').textContent = v.note;
  nameColumns(table, make('td', ''), v.columns);
  table.querySelector('tbody').replaceChildren(...v.rows.map(([label, about, cells]) => {
    const row = make('tr', ''), head = make('th', label, {scope: 'row'});
    if (about) head.append(make('span', about, {class: 'about'}));
    row.append(head, ...cells.map(text => make('td', text)));
    return row;
  }));
}

watch('value', draw);
draw();

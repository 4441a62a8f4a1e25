const [region, table] = ['.region', 'table'].map(name => element.querySelector(name));

function make(tag, text, attributes = {}) {
  const node = document.createElement(tag);
  node.textContent = text;
  Object.entries(attributes).forEach(([name, value]) => node.setAttribute(name, value));
  return node;
}

function draw() {
  const v = props.value;
  region.hidden = !v;
  if (!v) return;
  table.querySelector('caption').textContent = v.note;
  const top = make('tr', '');
  top.append(make('td', ''), ...v.columns.map(name => make('th', name, {scope: 'col'})));
  table.querySelector('thead').replaceChildren(top);
  table.querySelector('tbody').replaceChildren(...v.rows.map(([label, about, cells]) => {
    const row = make('tr', ''), head = make('th', label, {scope: 'row'});
    if (about) head.append(make('span', about, {class: 'about'}));
    row.append(head, ...cells.map(text => make('td', text)));
    return row;
  }));
}

watch('value', draw);
draw();

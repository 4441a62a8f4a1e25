// An element with a text, such as a cell of a table, and the names of the columns above it.

function make(tag, text, attributes = {}) {
  const node = document.createElement(tag);
  node.textContent = text;
  Object.entries(attributes).forEach(([name, value]) => node.setAttribute(name, value));
  return node;
}

function nameColumns(table, corner, names) {
  const top = make('tr', '');
  top.append(corner, ...names.map(name => make('th', name, {scope: 'col'})));
  table.querySelector('thead').replaceChildren(top);
}

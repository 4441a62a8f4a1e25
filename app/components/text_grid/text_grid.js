const region = element.querySelector('.frame');

function make(tag, name, text) {
  const node = document.createElement(tag);
  node.className = name;
  if (text !== undefined) node.textContent = text;
  return node;
}

function head(text, scope) {
  const node = make('th', '', text);
  node.scope = scope;
  return node;
}

function draw() {
  const v = props.value;
  region.hidden = !v;
  if (!v) return;
  region.querySelector('.lead').textContent = v.prompt;
  const top = make('tr', '');
  top.append(make('td', 'corner'), ...v.columns.map(text => head(text, 'col')));
  region.querySelector('thead').replaceChildren(top);
  region.querySelector('tbody').replaceChildren(...v.rows.map((label, r) => {
    const row = make('tr', '');
    row.append(head(label, 'row'));
    v.columns.forEach((column, c) => {
      const [text, note, settings] = v.cells[r * v.columns.length + c];
      const cell = make('td', 'cell');
      cell.dataset.column = column;
      const words = make('p', 'text', text.trimStart() || '…');
      words.dir = 'auto';
      words.translate = false;
      cell.append(words, make('p', 'tells', note));
      if (note) {
        const use = make('button', 'use', 'Use these settings');
        use.type = 'button';
        use.setAttribute('aria-label', 'Use these settings: ' + label + ', ' + column);
        use.addEventListener('click', () => trigger('select', {settings}));
        cell.append(use);
      }
      row.append(cell);
    });
    return row;
  }));
  region.setAttribute('aria-busy', v.state === 'running');
}

stopWithRun(draw);
watch('value', draw);
draw();

const trip = element.querySelector('.trip');

function part(name, text) {
  const node = document.createElement('span');
  node.className = name;
  if (text !== undefined) node.textContent = text;
  return node;
}

function draw() {
  const v = props.value;
  trip.hidden = !v;
  if (!v) return;
  trip.querySelector('.note').textContent = v.note;
  trip.querySelector('.tokens').replaceChildren(...v.tokens.map(([text, word, right, read, p, spread]) => {
    const token = document.createElement('li');
    token.className = right ? '' : 'lost';
    token.title = (right ? 'comes back' : 'comes back as “' + read + '”') + ', ' + (100 * p).toFixed(1) + ' %, spread ' + (100 * spread).toFixed(1) + ' %';
    token.append(part('word', text.trim() ? text.trim() : word));
    if (!right) token.append(part('read', read));
    const bar = part('bar');
    const fill = part('fill');
    fill.style.width = (v.most ? 100 * spread / v.most : 0) + '%';
    bar.append(fill);
    token.append(bar);
    return token;
  }));
}

watch('value', draw);
draw();

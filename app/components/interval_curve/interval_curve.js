const [own, published] = element.querySelectorAll('.measured');
const LEFT = 64, RIGHT = 624, TOP = 46, BOTTOM = 212, COLOURS = 4;

function shape(name, attributes, text) {
  const node = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

function make(tag, text) {
  const node = document.createElement(tag);
  node.textContent = text;
  return node;
}

function number(value) { return Number(value.toPrecision(3)).toString(); }

function drawPicture(picture, v) {
  const all = v.lines.flatMap(([, points]) => points.filter(Boolean).flat());
  const least = Math.min(...all) / 1.1, most = Math.max(...all) * 1.1, at = share => least * (most / least) ** share;
  const x = (i, line) => LEFT + (RIGHT - LEFT) * (i + 0.5) / v.values.length + 6 * (line - (v.lines.length - 1) / 2);
  const y = value => BOTTOM - (BOTTOM - TOP) * Math.log(value / least) / Math.log(most / least);  // ratios, not differences
  const nodes = [0, 0.5, 1].flatMap(share => [
    shape('line', {class: 'rule', x1: LEFT, x2: RIGHT, y1: y(at(share)), y2: y(at(share))}),
    shape('text', {x: LEFT - 8, y: y(at(share)) + 4, 'text-anchor': 'end'}, number(at(share))),
  ]);
  nodes.push(...v.values.map((value, i) => shape('text', {x: x(i, (v.lines.length - 1) / 2), y: BOTTOM + 20, 'text-anchor': 'middle'}, value)));
  nodes.push(shape('text', {x: (LEFT + RIGHT) / 2, y: BOTTOM + 40, 'text-anchor': 'middle'}, v.setting), shape('text', {x: 0, y: 16}, v.measure + ', log scale'));
  v.lines.forEach(([, points], line) => {
    const colour = `var(--c${line % COLOURS})`, known = points.map((point, i) => [i, point]).filter(([, point]) => point);
    nodes.push(shape('polyline', {class: 'line', style: `stroke: ${colour}`, points: known.map(([i, [value]]) => `${x(i, line)},${y(value)}`).join(' ')}));
    for (const [i, [value, low, high]] of known) {
      if (low < high) nodes.push(shape('line', {class: 'whisker', style: `stroke: ${colour}`, x1: x(i, line), x2: x(i, line), y1: y(low), y2: y(high)}));
      nodes.push(shape('circle', {class: 'point', style: `fill: ${colour}`, cx: x(i, line), cy: y(value), r: 4}));
    }
  });
  picture.replaceChildren(...nodes);
  picture.setAttribute('aria-label', v.measure + ' over ' + v.setting + '; the numbers unfold below.');
}

// In the colour of its line, where there are several.
function coloured(node, v, line) {
  if (v.lines.length > 1) node.style.color = `var(--c${line % COLOURS})`;
  return node;
}

function drawTable(figure, v) {
  const top = document.createElement('tr');
  top.append(make('th', v.setting), ...v.lines.map(([label], line) => coloured(make('th', label || v.measure), v, line)));
  figure.querySelector('thead').replaceChildren(top);
  figure.querySelector('tbody').replaceChildren(...v.values.map((value, i) => {
    const row = document.createElement('tr');
    row.append(make('th', value), ...v.lines.map(([, points]) => {
      const point = points[i];
      if (!point) return make('td', '–');
      const [value, low, high] = point;
      return make('td', number(value) + (low < high ? ` (${number(low)} to ${number(high)})` : ''));
    }));
    return row;
  }));
}

function drawFigure(figure, v) {
  figure.hidden = !v;
  if (!v) return;
  figure.querySelector('.about').textContent = v.about;
  drawPicture(figure.querySelector('.picture'), v);
  const several = v.lines.length > 1 ? v.lines : [];
  figure.querySelector('.legend').replaceChildren(...several.map(([label], line) => coloured(make('span', label), v, line)));
  drawTable(figure, v);
}

function draw() {
  drawFigure(own, props.value);
  drawFigure(published, props.value?.published);
}

watch('value', draw);
draw();

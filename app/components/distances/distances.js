/* global connectSaving, plainColour, savePicture */
const section = element.querySelector('.distances');
const pictures = section.querySelector('.pictures');
const table = section.querySelector('table');
const SVG = 'http://www.w3.org/2000/svg';
const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [300, 118, 30, 8, 10, 20];

function node(tag, attributes, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function html(tag, text, ...children) {
  const made = document.createElement(tag);
  if (text !== null) made.textContent = text;
  made.append(...children);
  return made;
}

const digits = value => Number.isInteger(value) ? String(value) : value.toFixed(2);

// One line for each text, from the first waypoint to the last.
function picture(title, unit, waypoints) {
  const most = Math.max(...waypoints.flat(), 1e-9);
  const x = i => LEFT + (WIDTH - LEFT - RIGHT) * (waypoints.length > 1 ? i / (waypoints.length - 1) : 0.5);
  const y = value => HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / most;
  const svg = node('svg', {viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img'});
  svg.setAttribute('aria-label', title + ', ' + unit + ': ' + waypoints[0].map((_, text) =>
    `to text ${text + 1} from ${digits(waypoints[0][text])} at the first waypoint to ${digits(waypoints.at(-1)[text])} at the last`).join('; '));
  svg.append(node('path', {class: 'frame', d: `M${LEFT} ${TOP}V${HEIGHT - BOTTOM}H${WIDTH - RIGHT}`}));
  svg.append(node('text', {class: 'scale-text', x: LEFT - 5, y: TOP + 4, 'text-anchor': 'end'}, digits(most)));
  svg.append(node('text', {class: 'scale-text', x: LEFT - 5, y: HEIGHT - BOTTOM + 4, 'text-anchor': 'end'}, '0'));
  svg.append(node('text', {class: 'scale-text', x: LEFT, y: HEIGHT - 4}, 'first waypoint'));
  svg.append(node('text', {class: 'scale-text', x: WIDTH - RIGHT, y: HEIGHT - 4, 'text-anchor': 'end'}, 'last waypoint'));
  for (let text = waypoints[0].length - 1; text >= 0; text--) {
    const points = waypoints.map((waypoint, i) => [x(i), y(waypoint[text])]);
    svg.append(node('polyline', {class: 'way w' + text, points: points.map(p => p.join()).join(' ')}));
    points.forEach(([cx, cy], i) => svg.append(node('circle', {class: 'dot w' + text, cx, cy, r: 2.6},
      node('title', {}, `${props.value.labels[i]}: ${digits(waypoints[i][text])} to text ${text + 1}`))));
  }
  const caption = html('figcaption', title + ' ', html('span', unit));
  return html('figure', null, caption, svg);
}

function draw() {
  const v = props.value;
  section.hidden = !v || !v.latents.length || !v.latents[0].length;
  if (section.hidden) return;
  const names = html('div', null, ...v.latents[0].map((_, text) => html('span', null,
    node('svg', {viewBox: '0 0 28 8', 'aria-hidden': 'true'}, node('path', {class: 'way w' + text, d: 'M0 4H28'})), 'to text ' + (text + 1))));
  names.className = 'names';
  pictures.replaceChildren(
    picture('Distance in latents', v.unit, v.latents), picture('Distance in tokens', 'changes', v.tokens), names);
  const head = html('tr', null, html('th', 'waypoint'));
  for (const [kind, unit] of [['latents', v.unit], ['tokens', 'changes']]) {
    v.latents[0].forEach((_, text) => head.append(html('th', `${kind} to text ${text + 1} (${unit})`)));
  }
  for (const cell of head.children) cell.scope = 'col';
  table.replaceChildren(html('thead', null, head), html('tbody', null, ...v.labels.map((label, i) => {
    const name = html('th', label);
    name.scope = 'row';
    return html('tr', null, name, ...v.latents[i].map(x => html('td', x.toFixed(2))), ...v.tokens[i].map(x => html('td', String(x))));
  })));
}

// Both pictures side by side with their names, as they look now; a file knows none of the page's rules for them.
function asFile() {
  const gap = 36, top = 30, names = pictures.querySelectorAll('.names span');
  const made = node('svg', {xmlns: SVG, width: 2 * WIDTH + 3 * gap, height: HEIGHT + top + 44});
  const paint = (shape, like) => {
    const style = getComputedStyle(like);
    for (const name of ['fill', 'stroke']) shape.setAttribute(name, style[name] === 'none' ? 'none' : plainColour(style[name], section));
    for (const name of ['stroke-width', 'stroke-dasharray', 'stroke-linejoin', 'font-family', 'font-size']) {
      if (style[name]) shape.setAttribute(name, style[name]);
    }
    return shape;
  };
  const words = (text, like, x, y) => node('text', {x, y, 'font-family': getComputedStyle(like).fontFamily, 'font-size': 13,
    fill: plainColour(getComputedStyle(like).color, section)}, text);
  made.append(node('rect', {width: '100%', height: '100%', fill: plainColour('var(--sheet)', section)}));
  pictures.querySelectorAll('figure').forEach((figure, i) => {
    const caption = figure.querySelector('figcaption'), left = gap + i * (WIDTH + gap);
    made.append(words(caption.firstChild.textContent + '(' + caption.lastChild.textContent + ')', caption, left + LEFT, top - 8));
    const group = node('g', {transform: `translate(${left} ${top})`});
    for (const shape of figure.querySelector('svg').children) group.append(paint(shape.cloneNode(true), shape));
    made.append(group);
  });
  let left = gap + LEFT;
  for (const name of names) {
    const line = name.querySelector('path'), y = HEIGHT + top + 24;
    made.append(paint(node('path', {d: `M${left} ${y - 4}h28`}), line), words(name.textContent, name, left + 36, y));
    left += 110;
  }
  return made;
}

connectSaving(section, format => savePicture(asFile(), 'distances', format));
watch('value', draw);
draw();

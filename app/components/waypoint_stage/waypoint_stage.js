/* global movedBySwipe, misfitRatio, originsOf, placesOn, pointOf, repeatsOf, scrolledByKeys, shareOf, soughtByPointer */
const walk = element.querySelector('.walk');
const at = name => walk.querySelector(name);
const [now, cells, where, play, svg, real, edit] = ['.now', '.cells', '.where', '.play', 'svg', '.real', '.edit'].map(at);
const SVG = 'http://www.w3.org/2000/svg';
const [WIDTH, HEIGHT, MARGIN, NARROW] = [480, 300, 56, 420];  // of the picture; px below which it is a small one
const [PAUSE, LONG] = [700, 120];  // ms a waypoint; characters of a long text

at('.empty-text').textContent = props.empty_text;
at('.start').textContent = props.start_label;
at('.start').addEventListener('click', () => trigger('submit'));

let run = null;
let thumb = 0;         // the waypoint that is shown
let timer = null;
let arrived = false;   // has a recorded interpolation begun to play by itself

const waypoints = () => props.value?.waypoints ?? [];
const near = (waypoint, leg = waypoint.leg) => leg.map(text => waypoint.distances[text]);
// what stands there for a waypoint: a run that is over has no candidates any more
const textOf = waypoint => waypoint.text || (props.value.state === 'running' && waypoint.candidate) || '';
const known = waypoint => waypoint.distances.length > 0;
const percent = share => Math.round(100 * share) + ' %';
const colourOf = waypoint => known(waypoint)
  ? `color-mix(in oklab, var(--of-second) ${Math.round(100 * shareOf(near(waypoint)))}%, var(--of-first))` : 'var(--path-noise)';

function shape(tag, attributes, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function drawText(waypoint) {
  const {texts, state} = props.value, [first, second] = waypoint.leg.map(i => texts[i]);
  at('.end.first').textContent = first;
  at('.end.second').textContent = second;
  now.classList.toggle('long', textOf(waypoint).length > LONG);
  now.classList.toggle('forming', waypoint.filled < 1);
  now.setAttribute('aria-live', state === 'running' || timer ? 'off' : 'polite');
  now.replaceChildren(...originsOf(textOf(waypoint).trim(), first, second).map(([piece, of]) => {
    if (!of) return piece;
    const word = document.createElement('span');
    word.className = 'of-' + of;
    word.textContent = piece;
    return word;
  }));
  scrolledByKeys(now);
}

function drawCells() {
  const all = waypoints(), same = repeatsOf(all);
  while (cells.children.length > all.length) cells.lastChild.remove();
  while (cells.children.length < all.length) cells.append(document.createElement('i'));
  all.forEach((waypoint, i) => {
    const cell = cells.children[i];
    cell.className = (i === thumb ? 'on' : '') + (same[i] ? ' same' : '');
    cell.style.setProperty('--cell', colourOf(waypoint));
    cell.style.setProperty('--filled', waypoint.filled);
  });
  cells.setAttribute('aria-valuemax', Math.max(1, all.length));
}

// Where a text stands: its words, or its number where the picture is too small for them.
function nameAt(text, [x, y]) {
  const narrow = svg.clientWidth > 0 && svg.clientWidth < NARROW, long = props.value.texts[text];
  const words = narrow ? 'text ' + (text + 1) : long.length > 34 ? long.slice(0, 33).trimEnd() + '…' : long, half = 3.4 * words.length;
  return shape('text', {class: narrow ? 'name narrow' : 'name', x: Math.min(WIDTH - half - 8, Math.max(half + 8, x)), y: y + (narrow ? 30 : 24), 'text-anchor': 'middle'}, words);
}

// The plane of the way between two texts: every dot at its true distances from both.
function drawPlane(waypoint) {
  const {leg} = waypoint, {unit} = props.value;
  const those = placesOn(leg, waypoints()).map(i => [waypoints()[i], i]).filter(([one]) => known(one));
  const caption = at('figcaption'), apart = those.length > 1 ? those[0][0].distances[leg[1]] : 0;
  svg.replaceChildren();
  caption.textContent = '';
  svg.setAttribute('aria-label', 'No picture yet');
  if (those.length < 2 || !(apart > 0)) return;
  const points = those.map(([one]) => pointOf(near(one, leg), apart));
  const low = Math.min(0, ...points.map(([x]) => x)), high = Math.max(apart, ...points.map(([x]) => x)), top = Math.max(...points.map(([, y]) => y), apart / 20);
  const scale = Math.min((WIDTH - 2 * MARGIN) / (high - low), (HEIGHT - 2 * MARGIN) / top);
  const left = (WIDTH - scale * (high - low)) / 2 - scale * low, ground = (HEIGHT + scale * top) / 2;
  const place = ([x, y]) => [left + scale * x, ground - scale * y], spots = points.map(place), [a, b] = [place([0, 0]), place([apart, 0])];
  svg.append(shape('line', {class: 'line', x1: a[0], y1: a[1], x2: b[0], y2: b[1]}));
  spots.slice(1).forEach(([x, y], k) => svg.append(shape('line', {class: 'trail', x1: spots[k][0], y1: spots[k][1], x2: x, y2: y, style: 'stroke:' + colourOf(those[k + 1][0])})));
  const dots = those.map(([one, i], k) => {
    const dot = shape('circle', {class: 'dot' + (i === thumb ? ' on' : ''), cx: spots[k][0], cy: spots[k][1], r: i === thumb ? 9 : 5.5, style: 'fill:' + colourOf(one)},
      shape('title', {}, one.label + ': ' + one.text));
    dot.addEventListener('click', () => take(i));
    return [i === thumb, dot];
  });
  svg.append(...dots.sort(([one], [other]) => one - other).map(([, dot]) => dot));
  svg.append(nameAt(leg[0], a), nameAt(leg[1], [b[0], b[1] + (a[0] + 240 > b[0] ? 20 : 0)]));
  caption.textContent = 'Each dot stands at its true distance in latents from both texts.';
  svg.setAttribute('aria-label', `${those.length} waypoints between two texts that are ${apart.toFixed(2)} ${unit} apart; the one farthest off the straight line is ${top.toFixed(2)} off it`);
}

function say(waypoint) {
  const ratio = misfitRatio(waypoints(), thumb);
  const place = `waypoint ${thumb + 1} of ${waypoints().length}` + (waypoint.label === String(thumb + 1) ? '' : ' · ' + waypoint.label);
  const far = known(waypoint) ? percent(shareOf(near(waypoint))) + ' of the way in latents' : waypoint.filled === 1 ? 'finished'
    : props.value.state === 'running' ? 'on its way' : 'not finished';
  where.replaceChildren(place, document.createElement('br'), far);
  cells.setAttribute('aria-valuenow', thumb + 1);
  cells.setAttribute('aria-valuetext', `${place}, ${far}: ${textOf(waypoint)}`);
  real.textContent = waypoint.misfit === null ? '' : `Misfit ${waypoint.misfit.toFixed(2)}` +
    (ratio === null ? '' : `, ${ratio.toFixed(2)} times that of the two texts`) +
    '. It is the flow’s own error at the latents of the text, noise put on them: a hint, and no proof of good English. Short or plain texts score low, broken ones too.';
  edit.hidden = !waypoint.text || waypoint.filled < 1;
}

function draw() {
  const value = props.value;
  if (!value) return;
  const all = waypoints();
  if (value.run !== run) {
    stopPlaying();
    run = value.run;
    thumb = Math.floor(all.length / 2);
  }
  thumb = Math.min(thumb, Math.max(0, all.length - 1));
  walk.dataset.state = all.length ? value.state : 'empty';
  walk.setAttribute('aria-busy', value.state === 'running');
  play.hidden = !all.length;
  at('.recorded').textContent = value.recorded ?? '';
  drawCells();
  if (!all.length) {
    edit.hidden = true;
    where.textContent = real.textContent = '';
    svg.replaceChildren();
    return;
  }
  drawText(all[thumb]);
  drawPlane(all[thumb]);
  say(all[thumb]);
  if (value.recorded && !arrived && !matchMedia('(prefers-reduced-motion: reduce)').matches) playOnArrival();
}

// A recorded interpolation plays when it comes into sight, unless the visitor has begun something by then.
function playOnArrival() {
  arrived = true;
  const recorded = run;
  go(0);
  const sight = new IntersectionObserver(seen => {
    if (!seen.some(one => one.isIntersecting)) return;
    sight.disconnect();
    if (run === recorded && !timer && thumb === 0) startPlaying();
  });
  sight.observe(walk);
}

function go(to) {
  thumb = Math.min(waypoints().length - 1, Math.max(0, to));
  draw();
}

// The visitor's own hand.
function take(to) {
  stopPlaying();
  go(to);
}

function stopPlaying() {
  clearInterval(timer);
  timer = null;
  play.textContent = 'Play';
}

function startPlaying() {
  timer = -1;
  go(thumb >= waypoints().length - 1 ? 0 : thumb);
  play.textContent = 'Pause';
  timer = setInterval(() => {
    if (thumb >= waypoints().length - 2) stopPlaying();
    go(thumb + 1);
  }, PAUSE);
}

function seek(event) {
  const box = cells.getBoundingClientRect(), share = (event.clientX - box.left) / box.width;
  take(Math.floor((getComputedStyle(cells).direction === 'rtl' ? 1 - share : share) * waypoints().length));
}

movedBySwipe(at('.between'), {
  get at() { return thumb; },
  get length() { return waypoints().length - 1; },
  go: take,
});
play.addEventListener('click', () => timer ? stopPlaying() : startPlaying());
edit.addEventListener('click', () => trigger('select', {text: waypoints()[thumb].text, row: thumb}));
soughtByPointer(cells, event => { if (waypoints().length) seek(event); });
cells.addEventListener('keydown', event => {
  const last = waypoints().length - 1;
  const to = {ArrowRight: thumb + 1, ArrowUp: thumb + 1, ArrowLeft: thumb - 1, ArrowDown: thumb - 1, Home: 0, End: last}[event.key];
  if (to === undefined || last < 0) return;
  event.preventDefault();
  take(to);
});

stopWithRun(draw);
watch('value', draw);
draw();

/* global make, misfitRatio, originsOf, repeatsOf, scrolledByKeys, shareOf */
const ways = element.querySelector('.ways');
const [slider, play, where, columns] = ['.thumb', '.play', '.where', '.columns'].map(name => ways.querySelector(name));
const [PAUSE, LONG] = [700, 120];  // ms a waypoint; characters of a long text
let run = null;
let timer = null;
let moved = false;     // has the visitor put the thumb somewhere; until then it is in the middle

const known = waypoint => waypoint.distances.length > 0;
const shareOn = waypoint => shareOf(waypoint.leg.map(text => waypoint.distances[text]));
const colourOf = waypoint => known(waypoint)
  ? `color-mix(in oklab, var(--of-second) ${Math.round(100 * shareOn(waypoint))}%, var(--of-first))` : 'var(--path-noise)';
const count = () => Math.max(1, ...props.value.ways.map(way => way.waypoints.length));
const thumb = () => Number(slider.value) - 1;

// What a way says in place of a text.
function stateOf(way) {
  if (way.note) return way.note;
  if (props.value.state === 'running') return way.state === 'waiting' ? 'Not begun yet.' : '…';
  return way.state === 'waiting' ? 'Stopped before it began.' : way.state === 'running' ? 'Stopped before a word.' : '…';
}

function column(way, w) {
  const made = make('li', 'way'), now = make('p', 'now'), goes = make('div', 'goes'), use = make('button', 'use', 'Use this way'), link = make('a', 'link', 'Its link');
  now.dir = 'auto';
  now.lang = '';
  use.type = 'button';
  use.setAttribute('aria-label', 'Use this way: ' + way.title);
  use.addEventListener('click', () => trigger('select', {recipe: props.value.ways[w].recipe}));
  link.setAttribute('aria-label', 'Link of ' + way.title);
  goes.append(use, link);
  made.append(make('h2', '', way.title), now, make('div', 'cells'), make('p', 'tells'), goes);
  return made;
}

function drawText(now, way, waypoint) {
  const words = waypoint && waypoint.text.trim();
  now.className = 'now' + (!words ? ' none' : waypoint.text.length > LONG ? ' long' : '') + (words && waypoint.filled < 1 ? ' forming' : '');
  now.translate = !words;
  if (!words) {
    now.textContent = stateOf(way);
    scrolledByKeys(now);
    return;
  }
  const [first, second] = waypoint.leg.map(text => props.value.texts[text]);
  now.replaceChildren(...originsOf(words, first, second).map(([piece, of]) => of ? make('span', 'of-' + of, piece) : piece));
  scrolledByKeys(now);
}

function drawCells(cells, waypoints) {
  const same = repeatsOf(waypoints);
  while (cells.children.length > waypoints.length) cells.lastChild.remove();
  while (cells.children.length < waypoints.length) cells.append(document.createElement('i'));
  waypoints.forEach((waypoint, i) => {
    cells.children[i].className = (i === thumb() ? 'on' : '') + (same[i] ? ' same' : '');
    cells.children[i].style.setProperty('--cell', colourOf(waypoint));
    cells.children[i].style.setProperty('--filled', waypoint.filled);
  });
}

function tellsOf(way, waypoint) {
  if (!waypoint || !known(waypoint)) return '';
  const ratio = misfitRatio(way.waypoints, thumb()), misfit = waypoint.misfit === null ? '' : `, misfit ${waypoint.misfit.toFixed(2)}`;
  const different = new Set(way.waypoints.map(one => one.text)).size;
  return `${Math.round(100 * shareOn(waypoint))} % of the way${misfit}` + (ratio === null ? '' : ` (${ratio.toFixed(2)} times that of the texts)`) +
    `. ${different} different ${different === 1 ? 'text' : 'texts'} of ${way.waypoints.length}.`;
}

function drawWay(made, way) {
  const waypoint = way.waypoints[thumb()], [now, cells, tells, use, link] = ['.now', '.cells', '.tells', '.use', '.link'].map(name => made.querySelector(name));
  drawText(now, way, waypoint);
  drawCells(cells, way.waypoints);
  tells.textContent = tellsOf(way, waypoint);
  use.hidden = !way.recipe;
  link.hidden = !way.query;
  if (way.query) link.href = way.query + '&tab=interpolate';
}

function draw() {
  const value = props.value;
  ways.hidden = !value;
  if (!value) return;
  if (value.run !== run) {
    stopPlaying();
    run = value.run;
    moved = false;
    columns.replaceChildren(...value.ways.map(column));
  }
  slider.max = count();
  if (!moved) slider.value = Math.floor(count() / 2) + 1;
  ways.setAttribute('aria-busy', value.state === 'running');
  value.ways.forEach((way, w) => drawWay(columns.children[w], way));
  where.textContent = `waypoint ${thumb() + 1} of ${count()}`;
  slider.setAttribute('aria-valuetext', where.textContent);
}

function stopPlaying() {
  clearInterval(timer);
  timer = null;
  play.textContent = 'Play';
}

function go(to) {
  moved = true;
  slider.value = to + 1;
  draw();
}

function startPlaying() {
  play.textContent = 'Pause';
  go(thumb() >= count() - 1 ? 0 : thumb());
  timer = setInterval(() => {
    if (thumb() >= count() - 2) stopPlaying();
    go(thumb() + 1);
  }, PAUSE);
}

play.addEventListener('click', () => timer ? stopPlaying() : startPlaying());
slider.addEventListener('input', () => {
  stopPlaying();
  moved = true;
  draw();
});

stopWithRun(draw);
watch('value', draw);
draw();

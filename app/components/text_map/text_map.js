/* global plotlyLibrary, saveAs, sayQuoting */
// Texts as points beside the list of them: coloured, searched, selected and compared; true distances, not the map's.

const root = element.querySelector('.texts');
const at = name => root.querySelector('.' + name);
const ROWS = 100;      // that the list grows by
const MOST_SENT = 6;   // texts that Interpolate has boxes for
const MOST_END = 256;  // texts of an end of a direction
const FEW = 4;         // texts of a cluster that its name would cover
const TOLD = 8;        // neighbours whose distance stands on the map
const DIM = 0.22;      // what is not meant, while something is
let Plotly = null;
let data = null;
let raw = '';
let mode = 'pan';
let shownWaypoints = 'null';
let shownNear = 'null';
let selected = new Set();
let listed = [];       // [index, distance or null] of the rows
let current = null;    // the text that was picked last
let centre = null;     // the text whose neighbours are listed
let asked = null;      // the query whose neighbours are listed
let marked = new Set(); // texts that were found or lie near: they stand out on the map
const ends = {first: 0, second: 0};

const PALETTE = ['#0072b2', '#d55e00', '#009e73', '#b3589a', '#a07800', '#3d93c9', '#7a4b00', '#5b5c65', '#c2185b', '#4f7d00', '#6a51a3', '#00857c'];

function unpack(text) { return new Int16Array(Uint8Array.from(atob(text), c => c.charCodeAt(0)).buffer); }
function plain(text) { return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;'); }
function say(node, text) { if (node.textContent !== text) node.textContent = text; }
function short(text, most) { return text.length > most ? text.slice(0, most - 1).trimEnd() + '…' : text; }

function colours() {
  const style = getComputedStyle(root), c = name => style.getPropertyValue('--' + name).trim();
  return {ink: c('ink'), muted: c('ink-muted'), line: c('line'), sheet: c('sheet'), accent: c('accent'), font: c('font') || 'sans-serif'};
}

function groups() { return [...new Set(data.sets)].sort(); }

function colour(i) { // Plotly's WebGL reads no color-mix
  const by = at('by').value;
  if (by === 'cluster') return PALETTE[data.cluster[i] % PALETTE.length];
  if (by === 'set') return PALETTE[groups().indexOf(data.sets[i]) % PALETTE.length];
  const all = data.sorted, share = all.length < 2 ? 0 : all.indexOf(data.lengths[i]) / (all.length - 1);
  const mix = (a, b) => Math.round(a + (b - a) * share);
  return 'rgb(' + mix(29, 240) + ',' + mix(63, 210) + ',' + mix(122, 60) + ')';
}

function chart() { return at('chart').value; }

function coordinates() {
  const array = data.at[chart()], unit = data.units[chart()];
  const x = [], y = [];
  for (let i = 0; i < data.texts.length; i += 1) { x.push(array[2 * i] * unit); y.push(array[2 * i + 1] * unit); }
  return {x, y};
}

// the picture

async function draw() {
  if (!data) return;
  Plotly ??= await plotlyLibrary();
  if (!data) return;    // it may have been taken away meanwhile
  const c = colours(), {x, y} = coordinates();
  const large = i => i === centre || i === current, rings = i => selected.has(i) || marked.has(i) || large(i);
  const some = selected.size || marked.size || centre !== null;
  const sizes = data.texts.map((_, i) => large(i) ? 14 : rings(i) ? 9 : 6);
  const axis = {showticklabels: false, zeroline: false, showgrid: false};
  await Plotly.react(at('plot'), [{type: 'scattergl', mode: 'markers', x, y, hovertext: data.texts.map(t => plain(short(t, 90))), hoverinfo: 'text',
    marker: {size: sizes, color: data.texts.map((_, i) => colour(i)), opacity: data.texts.map((_, i) => !some || rings(i) ? 0.92 : DIM),
      line: {width: data.texts.map((_, i) => large(i) ? 2.5 : rings(i) ? 1.5 : 0), color: c.ink}}}, ...roadTraces(c), ...queryTraces(c)],
    {uirevision: chart() + data.id, dragmode: mode, hovermode: 'closest', showlegend: false, margin: {t: 6, r: 6, b: 6, l: 6},
      paper_bgcolor: c.sheet, plot_bgcolor: c.sheet, font: {family: c.font, color: c.ink},
      xaxis: axis, yaxis: chart() === 'pca' ? {...axis, scaleanchor: 'x'} : axis, hoverlabel: {bgcolor: c.sheet, bordercolor: c.line, font: {family: c.font, color: c.ink, size: 14}, align: 'left'}},
    {responsive: true, displaylogo: false, displayModeBar: false, doubleClick: 'reset'});
  await relabel();
  if (draw.listening) return;
  draw.listening = true;
  const texts = points => points.filter(p => p.curveNumber === 0).map(p => p.pointNumber);
  at('plot').on('plotly_click', event => texts(event.points).slice(0, 1).forEach(i => { pick(i); reveal(i); }));
  at('plot').on('plotly_relayout', change => { if (Object.keys(change).some(name => /^([xy]axis|autosize)/.test(name))) relabel(); });
  at('plot').on('plotly_selected', event => { if (event) select(texts(event.points)); });
}

// the labels, none of which covers another

// Where they stand depends on how near the points are on the screen, so they are placed anew after a zoom.
async function relabel() {
  if (!data) return;
  const c = colours(), {x, y} = coordinates(), place = placing(c);
  if (marked.size || centre !== null) for (const i of marked) place.keep(x[i], y[i], 5);
  props.value.waypoints?.at[chart()]?.forEach(spot => { place.keep(...spot, 6); place.keep(...spot, 9, -14); });
  const query = asked?.at[chart()], own = current ?? centre;
  if (query) place.keep(...query, 11);
  if (own !== null) place.keep(x[own], y[own], 8);
  // the most important first
  const title = query ? [place(...query, '“' + short(asked.text, 42) + '”', {size: 14, gap: 13, needed: true, colour: c.accent})] : [];
  const caption = own === null ? [] : [place(x[own], y[own], short(data.texts[own], 42), {size: 13, gap: 10, needed: true, more: {bordercolor: c.accent}})];
  await Plotly.relayout(at('plot'), {annotations: [...names(place, x, y), ...distances(place, x, y), ...title, ...caption]});
}

// place(x, y, text, options) is a label at a point, above, below or beside it, where it covers nothing that stands there
// already and stays on the map: null where there is no such place, or the least bad one where it is needed.
function placing(c) {
  const {xaxis, yaxis} = at('plot')._fullLayout, taken = [], pen = document.createElement('canvas').getContext('2d');
  const inside = (centre_, half, length) => Math.min(Math.max(centre_, half), Math.max(half, length - half));
  const covered = box => taken.reduce((sum, other) => sum + Math.max(0, box.half + other.half - Math.abs(box.x - other.x)) * Math.max(0, box.high + other.high - Math.abs(box.y - other.y)), 0);
  const place = (x, y, text, {size, gap, needed = false, spots = null, colour: ink = c.ink, more = {}}) => {
    pen.font = size + 'px ' + c.font;
    const half = pen.measureText(text).width / 2 + 4, high = size * 0.65 + 3, [px, py] = [xaxis.d2p(x), yaxis.d2p(y)];
    const around = far => [[0, far + high], [0, -far - high], [half + far, 0], [-half - far, 0], [half, far + high], [-half, far + high], [half, -far - high], [-half, -far - high]];
    const boxes = (spots ?? (needed ? [gap, gap + 20, gap + 40] : [gap]).flatMap(around))
      .map(([dx, dy]) => ({x: inside(px + dx, half, xaxis._length), y: inside(py + dy, high, yaxis._length), half, high}));
    const costs = boxes.map(covered), least = Math.min(...costs);
    if (least > 0 && !needed) return null;
    const box = boxes[costs.indexOf(least)];
    taken.push(box);
    return {x, y, text: plain(text), showarrow: false, xanchor: 'center', yanchor: 'middle', xshift: box.x - px, yshift: py - box.y,
      font: {family: c.font, size, color: ink}, bgcolor: c.sheet + 'd0', borderpad: 2, ...more};
  };
  place.keep = (x, y, half, below = 0) => taken.push({x: xaxis.d2p(x), y: yaxis.d2p(y) + below, half, high: half});
  return place;
}

// The names of the clusters in their middle, the largest first; one that would cover another is below the map alone.
function names(place, x, y) {
  if (at('by').value !== 'cluster' || marked.size || centre !== null) return [];
  const median = values => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
  return data.names.flatMap((words, k) => {
    if (!words.length) return [];
    const mine = data.cluster.flatMap((which, i) => which === k ? [i] : []);
    const spots = [[0, mine.length < FEW ? -18 : 0]];  // it would hide all there is of a small cluster
    return place(median(mine.map(i => x[i])), median(mine.map(i => y[i])), words.join(', '), {size: 13, gap: 0, spots}) ?? [];
  });
}

// How far the nearest of the listed texts are, at their points.
function distances(place, x, y) {
  if (centre === null && !asked) return [];
  return listed.filter(([i]) => i !== centre).slice(0, TOLD).flatMap(([i, far]) => place(x[i], y[i], far.toFixed(2), {size: 12, gap: 6}) ?? []);
}

// Waypoints that were sent here, numbered in their order.
function roadTraces(c) {
  const waypoints = props.value.waypoints, at_ = waypoints?.at[chart()];
  if (!at_) return [];
  return [{type: 'scatter', mode: 'lines+markers+text', x: at_.map(p => p[0]), y: at_.map(p => p[1]), text: at_.map((_, i) => String(i + 1)),
    hovertext: waypoints.texts.map((text, i) => (i + 1) + ': ' + plain(short(text, 90))), hoverinfo: 'text', textposition: 'top center', textfont: {family: c.font, size: 13, color: c.accent},
    line: {color: c.accent, width: 2.5}, marker: {size: 9, color: c.accent, line: {color: c.sheet, width: 1.5}}}];
}

// The text of the search, a diamond among the dots.
function queryTraces(c) {
  const spot = asked?.at[chart()];
  if (!spot) return [];
  return [{type: 'scatter', mode: 'markers', name: 'query', x: [spot[0]], y: [spot[1]], hoverinfo: 'text', hovertext: [plain(short(asked.text, 90))],
    marker: {symbol: 'diamond', size: 17, color: c.accent, line: {color: c.sheet, width: 2}}}];
}

// The clusters, in words: their colours, and a way to select a whole one.
function legend() {
  at('legend').replaceChildren(...data.names.map((words, k) => {
    const mine = data.cluster.flatMap((which, i) => which === k ? [i] : []);
    const button = Object.assign(document.createElement('button'), {type: 'button', className: 'cluster', title: 'Select these texts'});
    const dot = button.appendChild(Object.assign(document.createElement('span'), {className: 'dot'}));
    dot.style.background = PALETTE[k % PALETTE.length];
    button.append((words.join(', ') || 'no word in common') + ' · ' + mine.length);
    button.addEventListener('click', () => select(mine));
    return button;
  }));
}

// What is asked for is marked on the map too; at a pause, not at every letter.
function mark(indices) {
  marked = new Set(indices);
  clearTimeout(mark.soon);
  mark.soon = setTimeout(draw, 150);
}

// the list

function rowOf([i, far], n) {
  const row = document.createElement('div');
  row.className = 'row';
  row.setAttribute('role', 'option');
  row.tabIndex = n ? -1 : 0;
  row.index = i;
  const [dot, text, away] = ['dot', 'text', 'far'].map(name => row.appendChild(Object.assign(document.createElement('span'), {className: name})));
  dot.style.background = colour(i);
  text.textContent = data.texts[i];
  away.textContent = far === null ? data.sets[i] : far.toFixed(2);
  row.setAttribute('aria-selected', selected.has(i));
  return row;
}

function list(heading, pairs) {
  listed = pairs;
  say(at('heading'), heading + ', ' + pairs.length.toLocaleString());
  at('rows').replaceChildren();
  at('rows').scrollTop = 0;
  grow();
  at('clear').disabled = pairs.length === data.texts.length && !selected.size && centre === null && !asked;
}

// The list grows while it is scrolled: thousands of rows would take their time.
function grow(least = 0) {
  const there = at('rows').childElementCount;
  at('rows').append(...listed.slice(there, Math.max(there + ROWS, least)).map((pair, n) => rowOf(pair, there + n)));
}

// Brings the line of a text into the list's view; the page stays where it is.
function reveal(i) {
  if (!listed.some(([j]) => j === i)) everything();
  const n = listed.findIndex(([j]) => j === i);
  grow(n + 1);
  const row = at('rows').children[n];
  at('rows').querySelector('[tabindex="0"]').tabIndex = -1;
  row.tabIndex = 0;
  at('rows').scrollTop = row.offsetTop - (at('rows').clientHeight - row.offsetHeight) / 2;
}

// The query's neighbours are listed no more.
function forget() {
  if (asked) tell();
  asked = null;
}

function everything() {
  centre = null;
  forget();
  mark([]);
  list('All texts', data.texts.map((_, i) => [i, null]));
}

// What is listed when nothing is asked for.
function overview() {
  say(at('note'), props.value.waypoints?.note ?? data.texts.length.toLocaleString() + ' texts in ' + data.names.length + (data.names.length === 1 ? ' cluster' : ' clusters') + ', named by the words that set each apart.');
  everything();
}

function neighbours(i, keys = false) {
  const {count, texts, far} = data.neighbours;
  const pairs = Array.from({length: count}, (_, n) => [texts[i * count + n], far[i * count + n] * data.neighbours.unit]);
  centre = i;
  forget();
  sayQuoting(at('note'), 'Nearest to “' + short(data.texts[i], 80) + '”; ' + scale() + '.');
  list('Neighbours', pairs);
  if (keys) at('rows').firstElementChild.focus();
  mark(pairs.map(([j]) => j));
}

// The search's own text, once the server has placed it. kept: the map comes from a file or from before a reload, with
// what was selected.
function showQuery(kept = false) {
  const near = props.value.near;
  if (near.error) return say(at('note'), near.error);
  centre = current = null;
  asked = near;
  if (kept) at('query').value = near.text; else { selected = new Set(); tell(); }
  sayQuoting(at('note'), 'Nearest to “' + short(near.text, 80) + '”, the diamond on the map; ' + scale() + '.');
  list('Nearest', near.pairs);
  count();
  mark(near.pairs.map(([i]) => i));
}

function find() {
  if (!data) return;
  const query = at('query').value.trim().toLocaleLowerCase();
  if (!query) return overview();
  const pairs = data.texts.flatMap((text, i) => text.toLocaleLowerCase().includes(query) ? [[i, null]] : []);
  sayQuoting(at('note'), pairs.length.toLocaleString() + (pairs.length === 1 ? ' text has “' : ' texts have “') + query + '”.' + (data.readable && !props.alone ? ' Enter finds by meaning.' : ''));
  centre = null;
  forget();
  list('Found', pairs);
  mark(pairs.length < data.texts.length ? pairs.map(([i]) => i) : []);
}

function ask() {
  const text = at('query').value.trim();
  if (!data || props.alone) return;
  if (!text) return say(at('note'), 'Write something in the box first.');
  if (props.value.near?.text === text && !props.value.near.error) return showQuery();
  say(at('note'), 'Reading the sentence …');
  trigger('input', {text});
}

// selections

function select(indices) {
  selected = new Set(indices);
  marked = new Set();
  centre = asked = current = null;
  if (indices.length) list('Selected', indices.map(i => [i, null]));
  count();
  draw();
  tell();
}

function pick(i) {
  if (selected.has(i)) selected.delete(i); else selected.add(i);
  current = selected.has(i) ? i : null;
  count();
  draw();
  tell();
}

function count() {
  const n = selected.size;
  say(at('count'), n ? n.toLocaleString() + ' selected' + (n > MOST_SENT ? '; the first ' + MOST_SENT + ' go to Interpolate' : '') : 'Nothing selected');
  root.querySelectorAll('.send').forEach(button => { button.disabled = !n || !data.written; });
  root.querySelectorAll('.end').forEach(button => { button.disabled = n < 2 || !data.written; });
  at('around').disabled = current === null;
  at('clear').disabled = !n && listed.length === data.texts.length && centre === null && !asked;
  at('rows').querySelectorAll('.row').forEach(row => row.setAttribute('aria-selected', selected.has(row.index)));
}

// The server keeps how the map is looked at, for a file of it.
function tell() {
  clearTimeout(tell.soon);
  tell.soon = setTimeout(() => trigger('blur', {selected: [...selected], chart: chart(), by: at('by').value, asked: Boolean(asked)}), 100);
}

at('rows').addEventListener('click', event => { const row = event.target.closest('.row'); if (row) pick(row.index); });
at('rows').addEventListener('scroll', () => { const rows = at('rows'); if (rows.scrollTop + 2 * rows.clientHeight > rows.scrollHeight) grow(); });
at('rows').addEventListener('keydown', event => {
  const row = event.target.closest('.row');
  if (!row) return;
  if (event.key === 'End') grow(listed.length);
  const next = {ArrowDown: row.nextElementSibling, ArrowUp: row.previousElementSibling, Home: at('rows').firstElementChild, End: at('rows').lastElementChild}[event.key];
  if (next) { row.tabIndex = -1; next.tabIndex = 0; next.focus(); }
  else if (event.key === ' ' || event.key === 'Enter') pick(row.index);
  else if (event.key === 'n') neighbours(row.index, true);
  else return;
  event.preventDefault();
});
at('query').addEventListener('input', find);
at('near').addEventListener('click', ask);
at('query').addEventListener('keydown', event => { if (event.key === 'Enter') ask(); });
at('around').addEventListener('click', () => { if (current !== null) neighbours(current); });
for (const name of ['by', 'chart']) at(name).addEventListener('change', () => { looked(); tell(); });
root.querySelectorAll('.mode').forEach(button => button.addEventListener('click', () => {
  mode = button.dataset.mode;
  root.querySelectorAll('.mode').forEach(other => other.setAttribute('aria-pressed', other === button));
  if (Plotly && data) Plotly.relayout(at('plot'), {dragmode: mode});
}));
at('clear').addEventListener('click', () => { select([]); at('query').value = ''; overview(); count(); });
at('take').addEventListener('click', () => { at('chart').value = at('take').dataset.chart; at('take').hidden = true; looked(); tell(); });
root.querySelectorAll('.send').forEach(button => button.addEventListener('click', () => {
  const texts = [...selected].map(i => data.texts[i]);
  if (button.dataset.to === 'edit') trigger('edit', {text: texts[0]});
  else trigger('select', {texts: texts.slice(0, MOST_SENT)});
}));
root.querySelectorAll('.end').forEach(button => button.addEventListener('click', () => {
  const texts = [...selected].slice(0, MOST_END).map(i => data.texts[i]);
  ends[button.dataset.end] = texts.length;
  say(at('ends'), 'A: ' + (ends.first || 'no') + ' texts, B: ' + (ends.second || 'no') + ' texts.' + (ends.first && ends.second ? ' Their direction stands below.' : ''));
  trigger('like', {end: button.dataset.end, texts});
}));
root.querySelectorAll('.save').forEach(button => button.addEventListener('click', async () => {
  if (!Plotly || !data) return;
  saveAs(await Plotly.toImage(at('plot'), {format: button.dataset.format, width: 1600, height: 1000}), 'text-map.' + button.dataset.format);
}));
if (props.alone) root.querySelectorAll('.near, .how, .send, .end, .ends').forEach(node => { node.hidden = true; }); // a page without a server
at('start').addEventListener('click', () => trigger('submit'));
at('start').textContent = props.start_label;

// what the server sends

function scale() { return data.readable ? 'the numbers are true distances: 0 for the same meaning, about 1.4 for nothing in common' : 'the numbers are true distances'; }

function looked() {
  if (!data) return;
  say(at('truth'), data.numbers[chart()]);
  at('rows').querySelectorAll('.row').forEach(row => { row.firstElementChild.style.background = colour(row.index); });
  if (at('take').dataset.chart === chart()) at('take').hidden = true;
  draw();
}

// The map that is shown stays: what has come since is offered.
function offer(before, charts) {
  const shown = chart(), anew = charts.filter(([name]) => !before.includes(name));
  at('chart').replaceChildren(...charts.map(([value, text]) => Object.assign(document.createElement('option'), {value, textContent: text})));
  at('chart').value = shown;
  if (!before.length || !anew.length) return;
  const [name, text] = anew.at(-1);
  at('take').dataset.chart = name;
  at('take').textContent = 'Show the new ' + text;
  at('take').hidden = false;
}

function takeTexts(value) {
  const anew = JSON.parse(value.texts), same = data?.id === anew.id, {texts, distances: far} = anew.neighbours;
  raw = value.texts;
  const before = same ? data.charts.map(([name]) => name) : [];
  data = {...anew, at: Object.fromEntries(Object.entries(anew.at).map(([k, v]) => [k, unpack(v)])),
    neighbours: {...anew.neighbours, texts: unpack(texts), far: unpack(far)}, sorted: [...new Set(anew.lengths)].sort((a, b) => a - b)};
  offer(before, data.charts);
  if (!same) {
    const view = value.view ?? {}, last = data.charts.at(-1)[0];
    at('chart').value = data.charts.some(([name]) => name === view.chart) ? view.chart : last;
    at('by').querySelector('[value=set]').disabled = groups().length < 2;
    at('by').value = view.by === 'set' && groups().length < 2 ? 'cluster' : view.by ?? 'cluster';
    at('take').hidden = true;
    at('near').hidden = !data.readable || Boolean(props.alone);
    at('query').value = '';
    selected = new Set(view.selected ?? []);
    current = null;
    shownNear = 'null';
    legend();
    overview();
    if (selected.size) list('Selected', [...selected].map(i => [i, null]));
  }
  count();
  say(at('truth'), data.numbers[chart()]);
  return !same;
}

function take() {
  const value = props.value;
  root.dataset.state = value?.texts ? 'ready' : 'empty';
  at('start').hidden = !value?.failed;
  say(at('empty-text'), value?.failed ? props.empty_text : 'The sentences are on their way …');
  if (!value?.texts) { data = null; raw = ''; return; }
  const anew = value.texts !== raw && takeTexts(value);
  const waypoints = JSON.stringify(value.waypoints?.texts ?? null);
  if (waypoints !== shownWaypoints) { shownWaypoints = waypoints; if (!anew) overview(); }
  const near = JSON.stringify(value.near && [value.near.text, value.near.error, value.near.pairs]);
  if (near !== shownNear) { shownNear = near; if (value.near && !(anew && value.view?.asked === false)) showQuery(anew); }
  else if (asked) asked = value.near; // it has a place on every map now
  draw();
}

watch('value', take);
new MutationObserver(() => draw()).observe(document.body, {attributes: true, attributeFilter: ['class']});
take();
if (!props.value?.texts && !props.alone) trigger('submit');

/* global plotlyLibrary, saveAs, sayQuoting */
// Texts as points: coloured, searched, selected and compared in the browser; true distances, not those of the map.

const root = element.querySelector('.texts');
const at = name => root.querySelector('.' + name);
const MOST_ROWS = 100;
const MOST_SENT = 6;   // texts that Interpolate has boxes for
const MOST_END = 256;  // texts of an end of a direction
const FEW = 4;         // texts of a cluster that its name would cover
let Plotly = null;
let data = null;
let raw = '';
let mode = 'pan';
let shownWaypoints = 'null';
let selected = new Set();
let listed = [];       // [index, distance or null] of the rows
let centre = null;     // the text whose neighbours are listed
const ends = {first: 0, second: 0};
let marked = new Set(); // texts that were found or lie near: they stand out on the map

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

function chart() { return data.at[at('chart').value] ? at('chart').value : 'pca'; }

function coordinates() {
  const array = data.at[chart()], unit = data.units[chart()];
  const x = [], y = [];
  for (let i = 0; i < data.texts.length; i += 1) { x.push(array[2 * i] * unit); y.push(array[2 * i + 1] * unit); }
  return {x, y};
}

function distance(i, j) {
  let sum = 0;
  for (let c = 0; c < data.width; c += 1) sum += ((data.latents[i * data.width + c] - data.latents[j * data.width + c]) * data.units.latents) ** 2;
  return Math.sqrt(sum);
}

async function draw() {
  if (!data) return;
  Plotly ??= await plotlyLibrary();
  if (!data) return;    // it may have been taken away meanwhile
  const c = colours(), {x, y} = coordinates();
  const rings = i => selected.has(i) || marked.has(i) || i === centre, some = selected.size || marked.size;
  const sizes = data.texts.map((_, i) => i === centre ? 13 : rings(i) ? 9 : 6);
  const axis = {showticklabels: false, zeroline: false, showgrid: false};
  await Plotly.react(at('plot'), [{type: 'scattergl', mode: 'markers', x, y, hovertext: data.texts.map(t => plain(short(t, 90))), hoverinfo: 'text',
    marker: {size: sizes, color: data.texts.map((_, i) => colour(i)), opacity: data.texts.map((_, i) => !some || rings(i) ? 0.9 : 0.28),
      line: {width: data.texts.map((_, i) => rings(i) ? 1.5 : 0), color: c.ink}}}, ...roadTraces(c)],
    {uirevision: at('chart').value + data.serial, dragmode: mode, hovermode: 'closest', showlegend: false, margin: {t: 6, r: 6, b: 6, l: 6},
      paper_bgcolor: c.sheet, plot_bgcolor: c.sheet, font: {family: c.font, color: c.ink},
      xaxis: axis, yaxis: at('chart').value === 'umap' ? axis : {...axis, scaleanchor: 'x'}, hoverlabel: {bgcolor: c.sheet, bordercolor: c.line, font: {family: c.font, color: c.ink, size: 14}, align: 'left'}},
    {responsive: true, displaylogo: false, displayModeBar: false, doubleClick: 'reset'});
  await Plotly.relayout(at('plot'), {annotations: names(c, x, y)});
  if (draw.listening) return;
  draw.listening = true;
  const texts = points => points.filter(p => p.curveNumber === 0).map(p => p.pointNumber);
  at('plot').on('plotly_click', event => texts(event.points).slice(0, 1).forEach(neighbours));
  at('plot').on('plotly_selected', event => { if (event) select(texts(event.points)); });
}

// The names of the clusters in their middle, the largest first, where they cover no other: all are below the map too.
function names(c, x, y) {
  if (at('by').value !== 'cluster') return [];
  const {xaxis, yaxis} = at('plot')._fullLayout, taken = [];
  const median = values => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
  return data.names.flatMap((words, k) => {
    const mine = data.cluster.flatMap((which, i) => which === k ? [i] : []);
    const spot = [median(mine.map(i => x[i])), median(mine.map(i => y[i]))], text = words.join(', ');
    const above = mine.length < FEW ? 18 : 0;  // it would hide all there is of a small cluster
    const box = {x: xaxis.d2p(spot[0]), y: yaxis.d2p(spot[1]) - above, half: 3.6 * text.length + 6};
    if (taken.some(other => Math.abs(other.x - box.x) < other.half + box.half && Math.abs(other.y - box.y) < 22)) return [];
    taken.push(box);
    return [{x: spot[0], y: spot[1], text: plain(text), showarrow: false, yshift: above, font: {family: c.font, size: 13, color: c.ink}, bgcolor: c.sheet + 'd0', borderpad: 2}];
  });
}

// Waypoints that were sent here, numbered in their order.
function roadTraces(c) {
  const waypoints = props.value.waypoints, at_ = waypoints?.at[chart()];
  if (!at_) return [];
  return [{type: 'scatter', mode: 'lines+markers+text', x: at_.map(p => p[0]), y: at_.map(p => p[1]), text: at_.map((_, i) => String(i + 1)),
    hovertext: waypoints.texts.map((text, i) => (i + 1) + ': ' + plain(short(text, 90))), hoverinfo: 'text', textposition: 'top center', textfont: {family: c.font, size: 13, color: c.accent},
    line: {color: c.accent, width: 2.5}, marker: {size: 9, color: c.accent, line: {color: c.sheet, width: 1.5}}}];
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

function list(heading, pairs) {
  listed = pairs;
  say(at('heading'), heading);
  at('rows').replaceChildren(...pairs.slice(0, MOST_ROWS).map(([i, far], n) => {
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
  }));
}

// What is listed when nothing is asked for.
function overview() {
  centre = null;
  mark([]);
  say(at('note'), props.value.waypoints?.note ?? data.texts.length.toLocaleString() + ' texts in ' + data.names.length + (data.names.length === 1 ? ' cluster' : ' clusters') + ', named by the words that set each apart.');
  list('All texts' + (data.texts.length > MOST_ROWS ? ', the first ' + MOST_ROWS : ''), data.texts.map((_, i) => [i, null]));
}

function neighbours(i, keys = false) {
  centre = i;
  const pairs = data.texts.map((_, j) => [j, distance(i, j)]).sort((a, b) => a[1] - b[1]).slice(0, 21);
  sayQuoting(at('note'), 'Nearest to “' + short(data.texts[i], 80) + '” in latent space; the numbers are true distances.');
  list('Neighbours', pairs);
  if (keys) at('rows').firstElementChild.focus();
  mark(pairs.map(([j]) => j));
}

function find() {
  if (!data) return;
  const query = at('query').value.trim().toLocaleLowerCase();
  if (!query) return overview();
  const pairs = data.texts.flatMap((text, i) => text.toLocaleLowerCase().includes(query) ? [[i, null]] : []);
  sayQuoting(at('note'), pairs.length.toLocaleString() + (pairs.length === 1 ? ' text has “' : ' texts have “') + query + '”.');
  list('Found', pairs);
  centre = null;
  mark(pairs.length < data.texts.length ? pairs.map(([i]) => i) : []);
}

function select(indices) {
  selected = new Set(indices);
  marked = new Set();
  count();
  draw();
  if (indices.length) list('Selected' + (indices.length > MOST_ROWS ? ', the first ' + MOST_ROWS : ''), indices.map(i => [i, null]));
}

function count() {
  const n = selected.size;
  say(at('count'), n ? n.toLocaleString() + ' selected' + (n > MOST_SENT ? '; the first ' + MOST_SENT + ' go to Interpolate' : '') : 'Nothing selected');
  root.querySelectorAll('.send').forEach(button => { button.disabled = !n; });
  root.querySelectorAll('.end').forEach(button => { button.disabled = n < 2; });
  at('clear').disabled = !n;
  at('rows').querySelectorAll('.row').forEach(row => row.setAttribute('aria-selected', selected.has(row.index)));
}

function toggle(row) {
  if (selected.has(row.index)) selected.delete(row.index); else selected.add(row.index);
  count();
  draw();
}

at('rows').addEventListener('click', event => { const row = event.target.closest('.row'); if (row) toggle(row); });
at('rows').addEventListener('keydown', event => {
  const row = event.target.closest('.row');
  if (!row) return;
  const next = {ArrowDown: row.nextElementSibling, ArrowUp: row.previousElementSibling, Home: at('rows').firstElementChild, End: at('rows').lastElementChild}[event.key];
  if (next) { row.tabIndex = -1; next.tabIndex = 0; next.focus(); }
  else if (event.key === ' ' || event.key === 'Enter') toggle(row);
  else if (event.key === 'n') neighbours(row.index, true);
  else return;
  event.preventDefault();
});
at('query').addEventListener('input', find);
at('near').addEventListener('click', () => { const text = at('query').value.trim(); if (text) trigger('input', {text}); else say(at('note'), 'Write something in the box first.'); });
at('query').addEventListener('keydown', event => { if (event.key === 'Enter') at('near').click(); });
for (const name of ['by', 'chart']) at(name).addEventListener('change', () => { draw(); if (name === 'by') list(at('heading').textContent, listed); truth(); });
root.querySelectorAll('.mode').forEach(button => button.addEventListener('click', () => {
  mode = button.dataset.mode;
  root.querySelectorAll('.mode').forEach(other => other.setAttribute('aria-pressed', other === button));
  if (Plotly && data) Plotly.relayout(at('plot'), {dragmode: mode});
}));
at('clear').addEventListener('click', () => { select([]); overview(); });
root.querySelectorAll('.send').forEach(button => button.addEventListener('click', () => {
  const texts = [...selected].map(i => data.texts[i]);
  if (button.dataset.to === 'edit') trigger('edit', {text: texts[0]});
  else trigger('select', {texts: texts.slice(0, MOST_SENT)});
}));
root.querySelectorAll('.end').forEach(button => button.addEventListener('click', () => {
  const texts = [...selected].slice(0, MOST_END).map(i => data.texts[i]);
  ends[button.dataset.end] = texts.length;
  say(at('ends'), 'A: ' + (ends.first || 'no') + ' texts, B: ' + (ends.second || 'no') + ' texts.' + (ends.first && ends.second ? ' Their direction stands below the list.' : ''));
  trigger('like', {end: button.dataset.end, texts});
}));
root.querySelectorAll('.save').forEach(button => button.addEventListener('click', async () => {
  if (!Plotly || !data) return;
  saveAs(await Plotly.toImage(at('plot'), {format: button.dataset.format, width: 1600, height: 1000}), 'text-map.' + button.dataset.format);
}));
if (props.alone) root.querySelectorAll('.near, .how, .send, .end, .ends').forEach(node => { node.hidden = true; }); // a page without a server
at('start').addEventListener('click', () => trigger('submit'));
at('start').textContent = props.start_label;
say(at('empty-text'), props.empty_text);

function truth() {
  say(at('truth'), data?.numbers[chart()] ?? '');
}

function take() {
  const value = props.value;
  root.dataset.state = value?.texts ? 'ready' : 'empty';
  if (!value?.texts) { data = null; raw = ''; return; }
  if (value.texts !== raw) {
    const anew = JSON.parse(value.texts), same = data && JSON.stringify(data.texts) === JSON.stringify(anew.texts);
    raw = value.texts;
    data = {...anew, latents: unpack(anew.latents), at: Object.fromEntries(Object.entries(anew.at).map(([k, v]) => [k, unpack(v)])),
      sorted: [...new Set(anew.lengths)].sort((a, b) => a - b), serial: same ? data.serial : raw.length};
    at('chart').querySelector('[value=umap]').disabled = !data.at.umap;
    if (data.at.umap) at('chart').value = 'umap'; else at('chart').value = 'pca';
    at('by').querySelector('[value=set]').disabled = groups().length < 2;
    if (!same) { selected = new Set(); legend(); overview(); }
    count();
    truth();
  }
  const waypoints = JSON.stringify(value.waypoints?.texts ?? null);
  if (waypoints !== shownWaypoints) { shownWaypoints = waypoints; overview(); }
  draw();
  if (value.near) {
    centre = null;
    sayQuoting(at('note'), 'Nearest to “' + short(value.near.text, 80) + '” in latent space; the numbers are true distances.');
    list('Nearest', value.near.pairs);
    mark(value.near.pairs.map(([i]) => i));
  }
}

watch('value', take);
new MutationObserver(() => draw()).observe(document.body, {attributes: true, attributeFilter: ['class']});
take();

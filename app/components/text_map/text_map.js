/* global PALETTE, TextList, TextPicture, clusterName, colour, connectSaving, groups, saveAs, sayQuoting, short */
// A list of texts and the map of them: what is searched, selected and compared in the one shows in the other. Distances
// are true ones, not the map's.

const root = element.querySelector('.texts');
const at = name => root.querySelector('.' + name);
const MOST_SENT = 6;   // texts that Interpolate has boxes for
const MOST_END = 256;  // texts of an end of a direction
let value = null;      // what is shown
let data = null;
let raw = '';
let mode = 'pan';
let shownWaypoints = 'null';
let shownNear = 'null';
let selected = new Set();
let current = null;    // the text that was picked last
let centre = null;     // the text whose neighbours are listed
let asked = null;      // the query whose neighbours are listed
let listed = 0;        // how many texts are
let marked = new Set(); // texts that were found or lie near: they stand out on the map
const ends = {first: 0, second: 0};

function unpack(text) { return new Int16Array(Uint8Array.from(atob(text), c => c.charCodeAt(0)).buffer); }
function say(node, text) { if (node.textContent !== text) node.textContent = text; }
function chart() { return at('chart').value; }

const by = () => at('by').value;
const rows = new TextList(at('rows'), i => ({text: data.texts[i], colour: colour(data, by(), i), set: data.sets[i], selected: selected.has(i)}),
  pick, i => neighbours(i, true));
const picture = new TextPicture(at('plot'), () => ({data, chart: chart(), by: by(), mode, selected, marked, listed: rows.listed, current, centre,
  asked, waypoints: value?.waypoints}), i => { pick(i); reveal(i); }, select);
const draw = () => picture.draw().catch(error => {
  console.error(error);
  say(at('note'), 'The map cannot be drawn: ' + error.message + '.');
});

// The clusters, in words: their colours, and a way to select a whole one.
function legend() {
  at('legend').replaceChildren(...data.names.map((_, k) => {
    const mine = data.cluster.flatMap((which, i) => which === k ? [i] : []);
    const button = Object.assign(document.createElement('button'), {type: 'button', className: 'cluster', title: 'Select these texts'});
    const dot = button.appendChild(Object.assign(document.createElement('span'), {className: 'dot'}));
    dot.style.background = PALETTE[k % PALETTE.length];
    button.append(clusterName(data, k) + ' · ' + mine.length);
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

function list(heading, pairs) {
  listed = pairs.length;
  say(at('heading'), heading + ', ' + listed.toLocaleString());
  rows.show(pairs);
  at('clear').disabled = pairs.length === data.texts.length && !selected.size && centre === null && !asked;
}

// Brings the line of a text into sight, and all texts back where it is not listed.
function reveal(i) {
  if (!rows.has(i)) everything();
  rows.reveal(i);
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
  say(at('note'), value.waypoints?.note ?? data.texts.length.toLocaleString() + ' texts in ' + data.names.length + (data.names.length === 1 ? ' cluster' : ' clusters') +
    (data.names.some(words => words.length) ? ', named by the words that set each apart.' : '.'));
  everything();
}

function neighbours(i, keys = false) {
  const {count, texts, far} = data.neighbours;
  const pairs = Array.from({length: count}, (_, n) => [texts[i * count + n], far[i * count + n] * data.neighbours.unit]);
  centre = i;
  forget();
  sayQuoting(at('note'), 'Nearest to “' + short(data.texts[i], 80) + '”; ' + scale() + '.');
  list('Neighbours', pairs);
  if (keys) rows.focus();
  mark(pairs.map(([j]) => j));
}

// The search's own text, once the server has placed it; what is selected stays so. kept: the map comes from a file or from
// before a reload.
function showQuery(kept = false) {
  const near = value.near;
  if (near.error) return say(at('note'), near.error);
  centre = null;
  asked = near;
  if (kept) at('query').value = near.text; else tell();
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
  if (value.near?.text === text && !value.near.error) return showQuery();
  say(at('note'), 'Reading the sentence …');
  if (!listed) say(at('heading'), 'Nearest'); // which are not known yet
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
  at('clear').disabled = !n && rows.listed.length === data.texts.length && centre === null && !asked;
  rows.refresh();
}

// The server keeps how the map is looked at, for a file of it.
function tell() {
  clearTimeout(tell.soon);
  tell.soon = setTimeout(() => trigger('blur', {selected: [...selected], chart: chart(), by: by(), asked: Boolean(asked)}), 100);
}

at('query').addEventListener('input', find);
at('near').addEventListener('click', ask);
at('query').addEventListener('keydown', event => { if (event.key === 'Enter') ask(); });
at('around').addEventListener('click', () => { if (current !== null) neighbours(current); });
for (const name of ['by', 'chart']) at(name).addEventListener('change', () => { looked(); tell(); });
root.querySelectorAll('.mode').forEach(button => button.addEventListener('click', () => {
  mode = button.dataset.mode;
  root.querySelectorAll('.mode').forEach(other => other.setAttribute('aria-pressed', other === button));
  picture.drag(mode);
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
connectSaving(root, async format => {
  const file = await picture.file(format);
  if (file) saveAs(file, 'text-map.' + format);
});
if (props.alone) root.querySelectorAll('.near, .send, .end, .ends').forEach(node => { node.hidden = true; }); // a page without a server
at('start').addEventListener('click', () => trigger('submit'));
at('start').textContent = props.start_label;

// what the server sends

function scale() { return data.readable ? 'the numbers are true distances: 0 for the same meaning, about 1.4 for nothing in common' : 'the numbers are true distances'; }

function looked() {
  if (!data) return;
  say(at('truth'), data.numbers[chart()]);
  rows.refresh();
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

function takeTexts() {
  const anew = JSON.parse(value.texts), same = data?.id === anew.id, {texts, distances: far} = anew.neighbours;
  raw = value.texts;
  const before = same ? data.charts.map(([name]) => name) : [];
  data = {...anew, at: Object.fromEntries(Object.entries(anew.at).map(([k, v]) => [k, unpack(v)])),
    neighbours: {...anew.neighbours, texts: unpack(texts), far: unpack(far)}, sorted: [...new Set(anew.lengths)].sort((a, b) => a - b)};
  offer(before, data.charts);
  if (!same) {
    const view = value.view ?? {}, last = data.charts.at(-1)[0];
    at('chart').value = data.charts.some(([name]) => name === view.chart) ? view.chart : last;
    at('by').querySelector('[value=set]').disabled = groups(data).length < 2;
    at('by').value = view.by === 'set' && groups(data).length < 2 ? 'cluster' : view.by ?? 'cluster';
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

// Was this value made before that one? An answer to something older may come later.
function isOlder(one, other) {
  return Boolean(one?.order && other?.order) && (one.order[0] - other.order[0] || one.order[1] - other.order[1]) < 0;
}

function take() {
  if ((value && !props.value) || isOlder(props.value, value)) return;    // null: the server has said all
  value = props.value;
  root.dataset.state = value?.texts ? 'ready' : 'empty';
  at('start').hidden = !value?.failed;
  say(at('empty-text'), value?.failed ? props.empty_text : 'The sentences are on their way …');
  if (!value?.texts) { data = null; raw = ''; return; }
  const anew = value.texts !== raw && takeTexts();
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

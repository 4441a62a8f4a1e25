/* global FlowData, FlowPicture, Roll, connectSaving, decimals, flowColours, heldUntilSideways, percent, plotlyLibrary, saveAs, sayQuoting */
// The flow map on the page: player, choices, the text of the moment, and words for what the picture shows.
// Needs element, props, trigger and watch alone, so that an exported page can run it without a server.

const root = element.querySelector('.flow');
const at = name => root.querySelector('.' + name);
const view = {chart: 'pca', dims: 2, clean: false, words: true, trails: false, blocks: false, chosen: null};
const quiet = () => window.matchMedia('(prefers-reduced-motion: reduce)').matches;
let data = new FlowData();
let picture = null;
if (matchMedia('(max-width: 900px)').matches) at('folded').open = false;
const roll = new Roll(at('roll canvas'));
let frames = [];
let now = 0;
let playing = null;    // the timer of the next frame
let wanted = null;     // what is drawn next, if something is being drawn
let follow = true;     // stay at the end of a run that grows
let picked = false;     // has the visitor chosen what the paths are of?

function say(node, text) { if (node.textContent !== text) node.textContent = text; }

// One drawing at a time; of what is asked for meanwhile, or in one go, the last alone is drawn.
async function draw(anew = false) {
  if (!picture?.cloud) return;
  wanted = {anew: anew || Boolean(wanted?.anew)};
  if (draw.busy) return;
  draw.busy = true;
  await null;  // a new value asks for the cloud, for its path and for its last moment: one drawing shows them all
  try {
    while (wanted) {
      const {anew: all} = wanted;
      wanted = null;
      const start = performance.now(), index = now, {stretch} = picture;
      await picture.draw(frames[now] ?? {block: null, share: 0}, view, all);
      if (picture.stretch !== stretch) looks();  // says how wide it is drawn
      const took = performance.now() - start;
      root.dataset.milliseconds = took.toFixed(1);
      root.dataset.frame = index;
      // a run that grows leaves most of the time to the visitor: Stop must answer
      if (root.dataset.state === 'running') await new Promise(resolve => setTimeout(resolve, 2 * took));
    }
  } finally {
    draw.busy = false;  // also where a drawing failed: the next one is tried
  }
}

function show(index, anew = false) {
  now = Math.max(0, Math.min(index, frames.length - 1));
  const scrub = at('scrub');
  scrub.max = Math.max(0, frames.length - 1);
  scrub.value = now;
  roll.move(now + 1);
  const drawn = refresh(anew);
  followWriting();
  return drawn;
}

// Shows the moment anew, with what has been chosen since; the text stays where it is scrolled to.
function refresh(anew = false) {
  reading();
  telling();
  document.dispatchEvent(new CustomEvent('flow:frame', {detail: {map: props.name, data, frame: frames[now] ?? null, chosen: view.chosen}}));
  return draw(anew);
}

// The text of the moment, a line for every run; a block is written anew only when it has changed.
const written = new Map(); // by run: {node, name, prompt, blocks: [{node, key}]}

function reading() {
  const lines = data.list.map(run => {
    if (written.get(run.run)?.serial !== data.serial) written.set(run.run, {...newLine(run), serial: data.serial, blocks: []});
    const line = written.get(run.run);
    say(line.name, data.runs.size > 1 ? run.label + '  ' : '');
    line.name.style.color = picture ? picture.runColour(run) : '';
    run.blocks.forEach((_, b) => writeBlock(line, run, b));
    return line.node;
  });
  root.classList.toggle('compared', lines.length > 1);
  for (const id of written.keys()) if (!data.runs.has(id)) written.delete(id);
  if (lines.length !== at('reads').children.length || lines.some((node, i) => node !== at('reads').children[i])) at('reads').replaceChildren(...lines);
}

// Of a text that is longer than its place, the part that is being written.
function followWriting() {
  const reads = at('reads'), frame = frames[now];
  if (reads.scrollHeight <= reads.clientHeight + 1 || !frame || frame.block === null) return;
  const node = [...written.values()].map(line => line.blocks[frame.block]?.node).find(Boolean);
  if (!node) return;
  const top = node.getBoundingClientRect().top - reads.getBoundingClientRect().top + reads.scrollTop;
  reads.scrollTop = top + node.getBoundingClientRect().height - reads.clientHeight + 8;
}

function newLine(run) {
  const [node, name, prompt] = ['line', 'name', 'prompt'].map(kind => Object.assign(document.createElement('span'), {className: kind}));
  prompt.textContent = run.prompt.length > 400 ? '… ' + run.prompt.slice(-400) : run.prompt;
  node.append(name, prompt);
  return {node, name, prompt};
}

function writeBlock(line, run, b) {
  const index = frames[now] ? data.stateIndex(run, b, frames[now]) : -1, state = run.blocks[b].states[index];
  const c = view.chosen, chosen = c && c.run === run.run && c.block === b ? c.place : null;
  const block = line.blocks[b] ??= {node: line.node.appendChild(document.createElement('span')), key: ''};
  const key = [index, chosen, Boolean(run.blocks[b].settled)].join();
  if (key === block.key) return;
  block.key = key;
  block.node.replaceChildren(...(state?.words ?? []).flatMap((word, place) => {
    if (data.pinned(run, b, place) || !data.isText(run, b, place)) return [];
    const token = document.createElement('span');
    token.className = 'token' + (data.isSettled(run, b, index, place) ? ' settled' : '') + (place === chosen ? ' chosen' : '');
    token.textContent = word;
    token.style.setProperty('--confidence', state.sure[place]);
    token.style.setProperty('--noise', state.noise[place] / 100);
    token.title = percent(state.sure[place]);
    token.path = {run: run.run, block: b, place};
    return [token];
  }));
}

at('reads').addEventListener('click', event => event.target.path && choose(event.target.path));

function telling() {
  const frame = frames[now];
  if (!frame) return say(at('note'), '');
  const parts = data.list.map(run => {
    const {settled, begun, after} = data.count(run, frame);
    const outside = after ? ' (' + after + ' after the end of the text)' : '';
    return (data.runs.size > 1 ? run.label + ': ' : '') + settled + ' of ' + begun + ' places have settled' + outside;
  });
  const run = data.list.find(r => frame.block === null || r.blocks[frame.block]);
  const b = frame.block ?? 0;
  const state = run?.blocks[b]?.states[data.stateIndex(run, b, frame)];
  const noise = state ? 'Noise ' + decimals(data.noise(run, b, state)) + ' %' : '';
  const where = frame.block === null ? 'all blocks' : 'block ' + (frame.block + 1) + ' of ' + data.blocks;
  const step = state ? 'step ' + state.step + ' of ' + state.of : '';
  const text = [noise, where, step].filter(Boolean).join(', ') + '. ' + parts.join('; ') + '.';
  at('note').setAttribute('aria-live', playing || props.value?.state === 'running' ? 'off' : 'polite');
  say(at('note'), text);
  at('map').setAttribute('aria-label', 'Flow map. ' + text);
  at('scrub').setAttribute('aria-valuetext', text);
}

// playing

function stop() {
  clearTimeout(playing);
  playing = null;
  say(at('play'), 'Play');
  telling();
}

function play() {
  if (!frames.length) return;
  if (now >= frames.length - 1) now = -1;
  say(at('play'), 'Pause');
  const tick = async () => {
    const start = performance.now();
    await show(now + 1);
    if (!playing) return;
    if (now >= frames.length - 1 || root.offsetParent === null) return stop();
    playing = setTimeout(tick, Math.max(0, 160 / Number(at('speed').value) - (performance.now() - start)));
  };
  playing = setTimeout(tick, 0);
}

at('play').addEventListener('click', () => playing ? stop() : play());
at('back').addEventListener('click', () => { stop(); follow = false; show(now - 1); });
at('on').addEventListener('click', () => { stop(); show(now + 1); });
heldUntilSideways(at('scrub'));
at('scrub').addEventListener('input', event => { stop(); follow = Number(event.target.value) >= frames.length - 1; show(Number(event.target.value)); });

// choices

for (const name of ['words', 'trails', 'blocks']) {
  at(name).addEventListener('change', event => { view[name] = event.target.checked; if (name === 'blocks') choose(null); draw(true); });
}
at('colours').addEventListener('change', event => root.classList.toggle('coloured', event.target.checked));
at('together').addEventListener('change', () => { reframe(); show(frames.length - 1); });
for (const kind of ['chart', 'dims']) {
  root.querySelectorAll('.' + kind).forEach(input => {
    input.name = props.name + '-' + kind;
    input.addEventListener('change', () => { view[kind] = kind === 'dims' ? Number(input.value) : input.value; looks(); draw(true); });
  });
}

root.querySelectorAll('.kind').forEach(input => {
  input.name = props.name + '-kind';
  input.addEventListener('change', () => { view.clean = input.value === 'clean'; picked = true; looks(); draw(true); });
});

// Which maps there are, and how far the one that is shown can be believed.
function looks() {
  if (!picture) return;
  if (!picture.has(view.chart, view.dims)) view.dims = 2;
  if (!picture.has(view.chart, view.dims)) view.chart = 'pca';
  root.querySelectorAll('.chart').forEach(input => { input.checked = input.value === view.chart; input.disabled = !picture.has(input.value, 2); });
  root.querySelectorAll('.dims').forEach(input => { input.checked = Number(input.value) === view.dims; input.disabled = !picture.has(view.chart, Number(input.value)); });
  root.querySelectorAll('.kind').forEach(input => { input.checked = (input.value === 'clean') === view.clean; });
  const found = picture.cloud?.numbers[view.chart + view.dims + (view.clean ? '.clean' : '')];
  if (!found) return say(at('truth'), '');
  const known = (value, note) => value === null ? 'an unknown share' : note(value), two = value => value === null ? 'unknown' : value.toFixed(2);
  const near = 'Of near neighbours on the map, trustworthiness ' + two(found.trustworthiness) + ' (1 is perfect)';
  const leap = 'the largest step of a path is ' + known(found.largest_step, percent) + ' of its drawn length (in truth ' + known(found.largest_true_step, percent) + ')';
  const kept = view.chart === 'pca'
    ? 'PCA is a shadow: it shows ' + known(found.steps_kept, percent) + ' of the true length of steps. '
    : 'Distances on a UMAP are not latent distances: near is near, far means little (rank correlation of drawn and true step lengths ' + two(found.steps_rank) + '). ';
  const wide = picture.stretch > 1.05 && view.chart === 'pca' && view.dims === 2 ? ' It is drawn ' + Number(picture.stretch.toPrecision(2)) + ' times wider than to scale.' : '';
  const fresh = data.list.some(run => run.stochasticity > 0) && !view.clean
    ? ' The noise of this run is renewed at every step, so its states leap; the clean estimates show where each was heading.' : '';
  say(at('truth'), kept + near + '; ' + leap + '.' + wide + fresh);
}

function choose(detail, jump = false) {
  view.chosen = detail && {run: detail.run, block: detail.block, place: detail.place};
  const run = detail && data.runs.get(detail.run);
  at('open').disabled = !run || detail.place === null;
  if (run) {
    const frame = data.frameOf(frames, run, detail.block, detail.step);
    if (jump && frame >= 0) now = frame;
    const index = data.stateIndex(run, detail.block, frames[now]);
    const word = index >= 0 ? '“' + picture.words(run, detail.block, index, detail.place).slice(0, 24) + '”, ' : '';
    const place = detail.place === null ? '' : ' place ' + (detail.place + 1);
    sayQuoting(at('which'), word + (data.runs.size > 1 ? run.label + ' ' : '') + 'block ' + (detail.block + 1) + place);
  } else say(at('which'), 'none');
  if (jump) show(now);
  else refresh();
}

function another(step) {
  const all = data.list.flatMap(run => [...picture.paths(run, view)].map(([block, place]) => ({run: run.run, block, place})));
  if (!all.length) return;
  const key = JSON.stringify(view.chosen);
  const index = all.findIndex(path => JSON.stringify(path) === key);
  choose(all[index < 0 ? (step > 0 ? 0 : all.length - 1) : (index + step + all.length) % all.length]);
}

function opened(detail) {
  stop();
  choose(detail, true);
  if (detail.place !== null) trigger('select', detail);
}

at('previous').addEventListener('click', () => another(-1));
at('next').addEventListener('click', () => another(1));
if (props.alone) at('open').hidden = true;    // an exported page has no server to ask
at('open').addEventListener('click', () => {
  const run = data.runs.get(view.chosen.run);
  const index = Math.max(0, data.stateIndex(run, view.chosen.block, frames[now]));
  opened({...view.chosen, step: run.blocks[view.chosen.block].states[index].step});
});
connectSaving(root, async format => {
  if (picture?.drawn) saveAs(await picture.picture(format), 'flow-map.' + format);
});

// other views of the same runs: the heat map asks and points

function from(name, act) {
  const listener = event => {
    if (!element.isConnected) return document.removeEventListener(name, listener);
    if (event.detail.map === props.name) act(event.detail);
  };
  document.addEventListener(name, listener);
}
from('flow:ask', () => show(now));
from('flow:choose', detail => choose(detail));
from('flow:seek', detail => {
  stop();
  const run = data.runs.get(detail.run);
  const frame = data.frameOf(frames, run, detail.block, detail.step);
  if (frame >= 0) show(frame);
});

// what comes from the server

function reframe() {
  frames = data.frames(at('together').checked);
  roll.show(data.columns(frames), data.starts(frames));
}

let began = 0;         // when the run that is shown began: frames of one that began before it are not drawn
let current = null;    // the value that is shown
let shownIn = null;    // and the picture that shows it: frames may come before there is one
let chosenAt = '';     // the `time` of the path that was chosen last for the visitor

function take() {
  // gradio may hand over a bare value while a page is still being put together
  let value = typeof props.value?.lines === 'string' ? props.value : {lines: '', state: 'empty', message: ''};
  if (value.run && value.began < began) {
    if (shownIn === picture) return;
    value = current;
  }
  [current, shownIn] = [value, picture];
  began = value.began || began;
  drawCloud(value.cloud || props.cloud);
  const before = data.runs.size, grown = data.read(value.lines);
  if (!grown) {
    data = new FlowData();
    data.read(value.lines);
    if (picture) picture.data = data;
  }
  const other = !grown || (!before && data.runs.size > 0);
  if (other) {
    stop();
    if (!picked) view.clean = data.list.some(run => run.stochasticity > 0);
    follow = true;
  }
  root.dataset.state = data.runs.size ? value.state : 'empty';
  say(at('empty-text'), value.message);
  reframe();
  const live = value.state === 'running';
  if (other || (follow && !playing)) now = frames.length - 1;
  const still = data.runs.has(view.chosen?.run);
  if (other || !still) choose(still ? view.chosen : null);
  if (other) looks();
  if (value.choose && value.choose.time !== chosenAt && picture) {
    chosenAt = value.choose.time;
    choose(value.choose, true);
  }
  show(now, !live);
  if (other && !live && value.play && !quiet()) play();
}

let cloud = null;      // the one that is drawn

function drawCloud(text) {
  if (!picture || text === cloud) return;
  cloud = text;
  picture.setCloud(text);
  looks();
  draw(true);
}

async function start() {
  try {
    const Plotly = await plotlyLibrary();
    picture = new FlowPicture(Plotly, at('map'), data, flowColours(root), opened, () => draw());
    if (props.look) lookAs(props.look);
    take();
    looks();
    askForFirst();
  } catch (error) {
    say(at('empty-text'), 'The map cannot be drawn: ' + error.message + '.');
  }
}

at('start').textContent = props.start_label;
at('start').addEventListener('click', () => trigger('submit'));

// Seen for the first time and empty, with no run of this workbench on its way here.
function askForFirst() {
  if (!data.runs.size && ['idle', undefined].includes(runBench?.dataset.runState)) trigger('input', {});
}

onRunState(({name, id}) => {
  if (['stopping', 'ended', 'lost'].includes(name) && props.value?.state === 'running' && props.value.run === id) showFrame({...props.value, state: 'stopped'});
  if (name === 'idle' && picture) askForFirst();
});
// who makes a picture of a run: see share_card.js
runBench?.addEventListener('card:ask', event => {
  if (picture?.cloud) event.detail.flow = {data, state: root.dataset.state, chosen: view.chosen?.run, unit: picture.cloud.units.pca};
});
// A page that is saved opens as the map is looked at: see exports.py.
runBench?.addEventListener('save:ask', event => {
  event.detail.look = {...view, together: at('together').checked, coloured: at('colours').checked};
});

function lookAs({together, coloured, ...looked}) {
  Object.assign(view, looked);
  picked = true;
  for (const [name, on] of Object.entries({words: view.words, trails: view.trails, blocks: view.blocks, together, colours: coloured})) at(name).checked = on;
  root.classList.toggle('coloured', coloured);
}
watch('value', take);
// Another size is another scale: see FlowPicture.stretched. A line more or less below the map is none.
let size = [0, 0];
new ResizeObserver(([{contentRect: {width, height}}]) => {
  const other = width !== size[0] || Math.abs(height - size[1]) > 40;
  if (!other || !width) return;
  const first = !size[0];
  size = [width, height];
  if (!first && picture?.drawn) picture.resize().then(() => draw(true)).then(looks);
}).observe(at('stage'));
watch('cloud', () => drawCloud(props.value?.cloud || props.cloud));
new MutationObserver(() => draw(true)).observe(document.body, {attributes: true, attributeFilter: ['class']});
start();

/* global CardFilm, CardLayout, CardPage, CardPicture, CardRun, GifFile, saveBlob */
// The dialog with the card of a run. What draws it is fetched when it is first opened (props.library).

const root = element.querySelector('.share-card');
const at = name => root.querySelector('.' + name);
const sheet = at('sheet');
const RUNNING = 'The run is still being written: a picture of it can be made when it is over.';
const UNDER_WAY = ['starting', 'running', 'stopping'];
const NOTHING = 'There is no run with paths here yet.';
const CAPTION = 'every line is a word on its way out of noise';
const FRESH = ', renewed at every step';
const FILM_WIDTH = 960, PAUSE = 7, HOLD = 400;  // px; hundredths of a second that a moment stands, and the last
const SLICE = 16;                               // ms of work after which the page gets its turn

let runs = [];         // {label, run: see card_run.js, query}
let making = null;     // {stopped} of the GIF that is being made

function script(address) {
  window.cardScripts ??= {};
  return window.cardScripts[address] ??= new Promise((resolve, reject) => {
    const node = Object.assign(document.createElement('script'), {src: (window.gradio_config?.root ?? '') + address, async: false});
    node.onload = resolve;
    node.onerror = () => {
      delete window.cardScripts[address];  // to be tried again
      node.remove();
      reject(new Error('what draws the picture could not be loaded'));
    };
    document.head.append(node);
  });
}

// What the workbench shows; the state of it is 'running' while it is being written.
function shown() {
  const found = {};
  runBench?.dispatchEvent(new CustomEvent('card:ask', {detail: found}));
  const {strip, paths, unpack, flow} = found;
  if (flow) {
    const list = flow.data.list.map(run => ({label: run.label, chosen: run.run === flow.chosen, run: CardRun.fromFlow(flow.data, run, flow.unit)}));
    return {state: flow.state, runs: list};
  }
  if (!strip || !paths?.lines) return {state: strip?.state ?? 'empty', runs: []};
  return {state: paths.state, runs: [{label: '', chosen: true, run: CardRun.fromPaths(paths, unpack, strip.prompt)}]};
}

function address(query) {
  if (!query) return '';
  const url = new URL(window.location.href);
  url.search = query;
  if (runBench) url.searchParams.set('tab', runBench.id);
  url.hash = '';
  return url.href;
}

const local = () => /^(localhost|127\.|\[::1\])/.test(window.location.hostname);

// The run that is chosen, with what the card says of it.
function chosen() {
  const {run} = runs[Number(at('run-shown').value) || 0], {facts} = run;
  return {...run, facts: {...facts, caption: CAPTION + (facts.fresh ? FRESH : ''), link: at('with-link').checked ? address(facts.query) : ''}};
}

function card() {
  const ruler = document.createElement('canvas').getContext('2d');
  return new CardLayout(chosen(), (text, bold) => {
    ruler.font = (bold ? 'bold ' : '') + '100px ' + CardPicture.FONT;
    return ruler.measureText(text).width / 100;
  });
}

const theme = () => CardPicture.THEMES[root.querySelector('.paper:checked').value];

function drawn(canvas, scale) {
  Object.assign(canvas, {width: CardLayout.WIDTH * scale, height: CardLayout.HEIGHT * scale});
  const pen = canvas.getContext('2d');
  pen.scale(scale, scale);
  new CardPicture(pen, theme()).whole(card());
  return canvas;
}

function words(run) { return run.prompt + run.words.map(word => word.text).join(''); }

function preview() {
  drawn(at('card'), Math.max(0.25, at('card').clientWidth * (window.devicePixelRatio || 1) / CardLayout.WIDTH));
  at('card').setAttribute('aria-label', 'The card: ' + words(chosen()));
  at('linked').hidden = !chosen().facts.query;
}

async function open() {
  at('none').textContent = '';
  try {
    await Promise.all(props.library.map(script));
  } catch (error) {
    at('none').textContent = 'No picture: ' + error.message + '.';
    return;
  }
  // a page without its font has another, and so has the card
  await Promise.allSettled(['', 'bold '].map(weight => document.fonts.load(weight + '20px "Source Sans Pro"')));
  if (sheet.open) return;
  const {state, runs: found} = shown(), busy = state === 'running' || UNDER_WAY.includes(runBench?.dataset.runState);
  runs = found.filter(one => one.run.words.length);
  if (busy || !runs.length) {
    at('none').textContent = busy ? RUNNING : NOTHING;
    return;
  }
  at('run-shown').replaceChildren(...runs.map(({label, chosen: now}, i) =>
    Object.assign(document.createElement('option'), {value: i, textContent: label, selected: now || i === runs.length - 1 && !runs.some(one => one.chosen)})));
  at('of').hidden = runs.length < 2;
  const dark = document.body.classList.contains('dark') ? 'dark' : 'light';
  root.querySelectorAll('.paper').forEach(input => { input.checked = input.value === dark; });
  at('with-link').checked = !local();
  at('outcome').textContent = '';
  sheet.showModal();
  root.querySelector('.save').focus();
  preview();
}

// Lets the page draw and answer, once a slice of time is used up.
const turns = new MessageChannel(), waiting = [];
turns.port1.onmessage = () => waiting.shift()();
let began = 0;
async function turn() {
  if (performance.now() - began < SLICE) return;
  await new Promise(resolve => {
    waiting.push(resolve);
    turns.port2.postMessage(null);
  });
  began = performance.now();
}

// The GIF, or null where it was stopped.
async function gif(job) {
  const colours = theme(), rgb = name => CardPicture.rgb(colours[name]);
  const canvas = document.createElement('canvas'), film = new CardFilm(card(), colours).on(canvas, document.createElement('canvas'), FILM_WIDTH);
  const {width, height} = canvas, pen = canvas.getContext('2d');
  const file = new GifFile(width, height, GifFile.palette(rgb('page'), ['ink', 'muted', 'noise', 'flow', 'word'].map(rgb)), PAUSE);
  began = performance.now();
  for (let moment = 0; moment <= film.length; moment += 1) {
    if (moment < film.length) film.show(moment);
    else film.last();
    file.add(new Uint32Array(pen.getImageData(0, 0, width, height).data.buffer));
    at('progress').value = (moment + 1) / (film.length + 1);
    await turn();
    if (job.stopped) return null;
  }
  return file.finish(HOLD);
}

// The page's font as a data: address; '' where it cannot be had, and the file shows what its reader has.
async function font() {
  const link = document.querySelector('link[rel=preload][as=font][href*=Regular]'), found = link && await fetch(link.href);
  const data = found?.ok ? await found.blob() : new Blob();
  if (await data.slice(0, 4).text() !== 'wOF2') return '';
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    Object.assign(reader, {onload: () => resolve(reader.result.replace(/^data:[^;]*/, 'data:font/woff2')), onerror: () => reject(reader.error)});
    reader.readAsDataURL(data);
  });
}

async function file(kind, job) {
  if (kind === 'png') return new Promise((resolve, reject) => drawn(document.createElement('canvas'), 2).toBlob(blob => blob ? resolve(blob) : reject(new Error('the browser drew nothing')), 'image/png'));
  if (kind === 'svg') return new Blob([new XMLSerializer().serializeToString(CardPicture.svg(card(), theme(), document, words(chosen())))], {type: 'image/svg+xml'});
  if (kind === 'html') return new Blob([CardPage.of(chosen(), await font())], {type: 'text/html'});
  const bytes = await gif(job);
  return bytes && new Blob([bytes], {type: 'image/gif'});
}

async function save(kind) {
  const name = CardRun.fileName(chosen()) + '.' + kind, job = {stopped: false}, start = performance.now();
  making = job;
  at('making').classList.toggle('now', kind === 'gif');
  root.querySelectorAll('.save').forEach(button => { button.disabled = true; });
  at('outcome').textContent = kind === 'gif' ? 'Making the GIF …' : '';
  try {
    const blob = await file(kind, job);
    if (!blob) return void (at('outcome').textContent = 'Stopped.');
    saveBlob(blob, name);
    root.dataset.milliseconds = Math.round(performance.now() - start);
    at('outcome').textContent = 'Saved as ' + name + ', ' + Math.max(1, Math.round(blob.size / 1000)) + ' KB.';
  } catch (error) {
    at('outcome').textContent = 'Not saved: ' + error.message + '.';
  } finally {
    making = null;
    at('making').classList.remove('now');
    root.querySelectorAll('.save').forEach(button => { button.disabled = false; });
    if (sheet.open) root.querySelector('[data-kind="' + kind + '"]').focus();
  }
}

at('open').addEventListener('click', open);
at('close').addEventListener('click', () => sheet.close());
sheet.addEventListener('click', event => event.target === sheet && sheet.close());
sheet.addEventListener('close', () => {
  if (making) making.stopped = true;
  at('open').focus();
});
at('stop-film').addEventListener('click', () => { if (making) making.stopped = true; });
root.querySelectorAll('.paper').forEach(input => {
  input.name = 'paper-' + (runBench?.id ?? '');
  input.addEventListener('change', preview);
});
at('run-shown').addEventListener('change', preview);
at('with-link').addEventListener('change', preview);
root.querySelectorAll('.save').forEach(button => button.addEventListener('click', () => save(button.dataset.kind)));

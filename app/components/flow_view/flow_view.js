/* global BEFORE_SIZE, CLOUD_SIZE, HEAD_SIZE, LabelRoom, placedNames */
// The paths of a text's words, on the moment that the TokenStrip of the workbench shows (its event `playhead`).

const root = element.querySelector('.flow-view');
const canvas = root.querySelector('canvas');
const note = root.querySelector('.why');
const fresh = root.querySelector('.fresh');
fresh.querySelector('.without').addEventListener('click', () => trigger('submit'));
// px; ms in which heads come to a new state; words of the cloud with names; blocks whose paths fade behind the one that moves
const [MARGIN, GLIDE, LABELS, TRAIL] = [26, 90, 26, 8];
const still = matchMedia('(prefers-reduced-motion: reduce)');

let cloud = null;      // {unit, box, at, words}
let cloudText = '';
let lines = '';        // the lines that have been read
let blocks = [];       // {states: [{step, of, t, at, words, sure}]}
let order = [];        // [block, index of its state] of every state, in the order of the run
let shown = 0;         // place in `order` that is drawn, between two of them while heads glide
let playhead = {block: null};
let animation = null;  // the request for its next frame
let before = 0;        // when it was drawn last, ms
let colours = null;
let names = [];        // of the cloud, those that have room beside each other: [word, x, y]
const placed = new Map(); // where the names of heads stand around them, see flow_names.js

function numbers(packed) {
  const bytes = Uint8Array.from(atob(packed), c => c.charCodeAt(0));
  return Float32Array.from(new Int16Array(bytes.buffer), value => value * cloud.unit);
}

function read(value) {
  if (value.cloud && value.cloud !== cloudText) {
    cloudText = value.cloud;
    cloud = JSON.parse(cloudText);
    cloud.at = numbers(cloud.at);
    lines = '';
  }
  if (!value.lines.startsWith(lines) || !lines) {
    [blocks, order, lines] = [[], [], ''];
  }
  for (const line of value.lines.slice(lines.length).split('\n')) {
    if (!line) continue;
    const state = JSON.parse(line);
    state.at = numbers(state.at);
    const last = blocks.at(-1);
    if (last?.block === state.block) last.states.push(state);
    else blocks.push({block: state.block, states: [state]});
    order.push([blocks.length - 1, blocks.at(-1).states.length - 1]);
  }
  lines = value.lines;
}

// Where `shown` has to come to.
function target() {
  if (props.value.state === 'running' || playhead.block === null) return order.length - 1;
  const b = blocks.findIndex(one => one.block === playhead.block);
  if (b < 0) return order.length - 1;
  const s = blocks[b].states.findIndex(state => state.step >= playhead.step);
  return order.findIndex(([block, state]) => block === b && state === (s < 0 ? blocks[b].states.length - 1 : s));
}

function draw() {
  const value = props.value;
  const there = Boolean(value?.lines && (value.cloud || cloud));
  note.hidden = !value?.note;
  note.textContent = value?.note ?? '';
  fresh.hidden = !value?.fresh || !value.lines;
  fresh.querySelector('.without').hidden = value?.state === 'running';
  root.dataset.state = there ? value.state : 'empty';
  if (!there) {
    [blocks, order, lines] = [[], [], ''];
    clear();
    return;
  }
  const had = order.length;
  read(value);
  if (order.length < had || value.state !== 'running') shown = Math.max(0, target());
  names = [];
  move();
}

function move() {
  if (!order.length) return;
  if (still.matches) shown = target();
  animation ??= requestAnimationFrame(step);
}

function step(now) {
  animation = null;
  if (!order.length) return;
  const to = target(), gap = to - shown, passed = Math.min(50, now - before || 16);
  before = now;
  // backwards, or far: at once; else the greater part of the way within GLIDE
  if (gap < 0 || gap > 40 || gap < 0.02) shown = to;
  else shown += Math.max(gap * Math.min(1, passed / GLIDE), Math.min(gap, passed / 200));
  paint();
  if (shown !== to) animation = requestAnimationFrame(step);
  else before = 0;
}

function rgb(name) {
  const pen = rgb.pen ??= document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  pen.fillStyle = getComputedStyle(root).getPropertyValue(name).trim();
  pen.fillRect(0, 0, 1, 1);
  return [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3);
}

// What a theme looks like, read once: a reading at each frame has the browser style the whole page for it.
const themes = {};
function theme() {
  return themes[Boolean(root.closest('.dark'))] ??= {
    noise: rgb('--path-noise'), flow: rgb('--path-flow'), word: rgb('--path-word'), dots: rgb('--path-dots'),
    ink: rgb('--ink'), muted: rgb('--ink-muted'), sheet: rgb('--sheet'), font: getComputedStyle(root).fontFamily,
  };
}

const mix = (a, b, share) => a.map((value, i) => value + (b[i] - value) * share);
const css = (colour, alpha = 1) => 'rgba(' + colour.map(Math.round).join(',') + ',' + alpha.toFixed(3) + ')';
// grey noise, blue flow, amber word
const ofNoise = t => t > 0.5 ? mix(colours.flow, colours.noise, (t - 0.5) * 2) : mix(colours.word, colours.flow, t * 2);

function size() {
  const scale = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const pen = canvas.getContext('2d');
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  return {pen, width, height};
}

function clear() {
  size();
  canvas.setAttribute('aria-label', 'No paths yet');
}

function scales(width, height) {
  const [left, right, bottom, top] = cloud.box;
  const within = (value, least, most) => Math.min(most, Math.max(least, value));
  return [
    x => within(MARGIN + (x - left) / (right - left) * (width - 2 * MARGIN), 6, width - 6),
    y => within(height - MARGIN - (y - bottom) / (top - bottom) * (height - 2 * MARGIN), 10, height - 8),
  ];
}

// Words of the cloud whose names have room.
function nameCloud(pen, x, y, width, height) {
  const taken = [], found = [];
  for (let i = 0; i < cloud.words.length && found.length < LABELS; i++) {
    const word = cloud.words[i].trim();
    if (word.length < 3 || !/^\p{L}+$/u.test(word) || found.some(one => one[0] === word)) continue;
    const [px, py] = [x(cloud.at[2 * i]), y(cloud.at[2 * i + 1])], half = pen.measureText(word).width / 2 + 6;
    const box = [px - half, px + half, py - 10, py + 10];
    if (box[0] < 4 || box[1] > width - 4 || box[2] < 4 || box[3] > height - 4) continue;
    if (taken.some(other => box[0] < other[1] && box[1] > other[0] && box[2] < other[3] && box[3] > other[2])) continue;
    taken.push(box);
    found.push([word, px, py]);
  }
  return found;
}

const count = found => found.reduce((sum, block) => sum + block.states.at(-1).words.length, 0);

function paint() {
  const {pen, width, height} = size();
  if (!width || !height || !order.length) return;
  colours = theme();
  const {font} = colours;
  const [x, y] = scales(width, height);
  const at = Math.min(order.length - 1, Math.max(0, shown)), [now, state] = order[Math.floor(at)], share = at - Math.floor(at);
  const over = props.value.state !== 'running' && playhead.block === null && at >= order.length - 1;

  pen.fillStyle = css(colours.dots, 0.8);
  for (let i = 0; i < cloud.at.length; i += 2) {
    pen.beginPath();
    pen.arc(x(cloud.at[i]), y(cloud.at[i + 1]), 1.2, 0, 7);
    pen.fill();
  }
  pen.font = CLOUD_SIZE + 'px ' + font;
  pen.textAlign = 'center';
  pen.textBaseline = 'middle';
  if (!names.length) names = nameCloud(pen, x, y, width, height);

  // a place of a block on its way: between two states where its block is the one that moves
  const place = (b, i) => {
    const states = blocks[b].states, s = b === now ? state : states.length - 1;
    const next = b === now ? Math.min(states.length - 1, s + 1) : s, part = b === now ? share : 0;
    const between = (a, z) => a + (z - a) * part;
    const [p, q] = [states[s], states[next]];
    return {
      x: x(between(p.at[2 * i], q.at[2 * i] ?? p.at[2 * i])), y: y(between(p.at[2 * i + 1], q.at[2 * i + 1] ?? p.at[2 * i + 1])),
      t: between(p.t[i], q.t[i] ?? p.t[i]) / 100, word: p.words[i], sure: p.sure[i] / 100,
    };
  };
  const named = over ? [] : [now - 1, now].filter(b => b >= 0);
  const heads = named.flatMap(b => blocks[b].states.at(-1).words.map((_, i) => ({...place(b, i), bold: b === now, key: b + ' ' + i})));
  for (const head of heads) head.word = head.word.trim() || '·';
  const written = placedNames(new LabelRoom(font, width, height), heads, names, placed);

  for (const [word, px, py] of written.cloud) {
    const near = Math.min(...heads.map(head => Math.hypot((px - head.x) / 1.8, py - head.y + 8)), 99);
    pen.fillStyle = css(colours.muted, (over ? 0.75 : 0.6) * Math.min(1, Math.max(0, (near - 14) / 20)));
    pen.fillText(word, px, py);
  }

  pen.lineCap = 'round';
  const faded = Math.min(0.45, Math.max(0.12, 14 / count(blocks)));
  blocks.slice(0, now + 1).forEach((block, b) => {
    if (!over && now - b > TRAIL) return;
    const states = block.states, moving = b === now, until = moving ? state : states.length - 1;
    const alpha = over ? faded : moving ? 0.9 : Math.max(0.1, 0.62 - 0.2 * (now - b));
    states.at(-1).words.forEach((_, i) => {
      pen.lineWidth = moving && !over ? 2 : 1.2;
      let [px, py] = [x(states[0].at[2 * i]), y(states[0].at[2 * i + 1])];
      const ends = states.slice(1, until + 1).map(one => [one.at[2 * i], one.at[2 * i + 1], one.t[i] ?? 0]).filter(one => one[0] !== undefined);
      const head = place(b, i);
      for (const [ex, ey, t] of [...ends.map(([ex, ey, t]) => [x(ex), y(ey), t / 100]), [head.x, head.y, head.t]]) {
        pen.strokeStyle = css(ofNoise(t), alpha);
        pen.beginPath();
        pen.moveTo(px, py);
        pen.lineTo(ex, ey);
        pen.stroke();
        [px, py] = [ex, ey];
      }
      if (over) {
        pen.fillStyle = css(colours.word, 0.8);
        pen.beginPath();
        pen.arc(px, py, 2, 0, 7);
        pen.fill();
      }
    });
  });
  for (const head of heads) {
    pen.fillStyle = css(ofNoise(head.t));
    pen.beginPath();
    pen.arc(head.x, head.y, head.bold ? 4.5 : 2.5, 0, 7);
    pen.fill();
  }
  for (const [head, px, py] of written.heads) {
    pen.font = (head.bold ? '700 ' + HEAD_SIZE : BEFORE_SIZE) + 'px ' + font;
    pen.lineWidth = 3.5;
    pen.strokeStyle = css(colours.sheet, 0.9);
    pen.strokeText(head.word, px, py);
    pen.fillStyle = head.bold ? css(mix(colours.muted, colours.ink, head.sure), 0.45 + 0.55 * head.sure) : css(colours.muted, 0.85);
    pen.fillText(head.word, px, py);
  }
  canvas.setAttribute('aria-label', over
    ? 'Paths of ' + count(blocks) + ' words from noise to where they belong among the words that the model knows'
    : 'Block ' + (now + 1) + ': ' + heads.filter(head => head.bold).map(head => head.word).join(', ') + ' on their way');
}

runBench?.addEventListener('playhead', event => {
  playhead = event.detail;
  move();
});
// who makes a picture of the run: see share_card.js
runBench?.addEventListener('card:ask', event => Object.assign(event.detail, {paths: props.value, unpack: numbers}));
new ResizeObserver(() => { names = []; move(); }).observe(canvas);
new MutationObserver(move).observe(document.body, {attributes: true, attributeFilter: ['class']});
onRunState(({name}) => { if (name === 'starting') playhead = {block: null}; });
stopWithRun(draw);
watch('value', draw);
draw();

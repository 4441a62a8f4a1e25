/* global Playhead, Roll, StepText, heldUntilSideways, movedBySwipe, redrawTokens, settledToken */
const strip = element.querySelector('.strip');
const answer = strip.querySelector('.answer');
const live = strip.querySelector('.live');
const ahead = strip.querySelector('.ahead');
const paragraph = strip.querySelector('.text');
const prompt = strip.querySelector('.prompt');
strip.querySelector('.empty-text').textContent = props.empty_text;
const start = strip.querySelector('.start');
start.textContent = props.start_label;
start.addEventListener('click', () => trigger('submit'));
strip.querySelector('.colours').addEventListener('change', e => strip.classList.toggle('uncoloured', !e.target.checked));

let run = null;        // the run that is drawn
let drawn = '';        // its settled lines that are drawn

function span(token) {
  const [text, confidence, special, noise = 0, given = 0] = token;
  const node = document.createElement('span');
  node.className = special ? 'token special' : given ? 'token given' : 'token';
  node.textContent = special ? '∎' : text;
  node.style.setProperty('--confidence', confidence);
  if (noise && !given) node.style.setProperty('--noise', noise);
  node.title = (special ? text + ' · ' : '') + Math.round(confidence * 100) + ' %';
  return node;
}

const settled = token => settledToken(span(token));
const redraw = (parent, tokens) => redrawTokens(parent, tokens.map(span));

// Looking back: a run that is over brings all its steps, and the slider goes through them.
const look = strip.querySelector('.look');
const where = look.querySelector('.where');
const roll = new Roll(look.querySelector('canvas'));
const steps = new StepText(paragraph, {answer, ahead, live}, span);
const [slider, play] = ['input', '.play'].map(name => look.querySelector(name));
const playhead = new Playhead(strip.closest('.workbench'), strip, {slider, play}, show);
heldUntilSideways(slider);
movedBySwipe(strip.querySelector('.page'), {
  get at() { return playhead.at; },
  get length() { return playhead.length; },
  go(at) {
    playhead.pause();
    playhead.go(at);
  },
});
let blocks = [];       // as `look_value` makes them
let lines = [];        // the finished tokens of each block
let arrived = false;   // has a recorded run begun to play by itself
let brought = null;    // the run whose changed word was brought into sight
let cursor = -1;       // the token that the arrow keys have come to

function mark(spans) {
  let at = 0;
  for (const block of blocks) {
    for (let i = 0; i < block.count && at < spans.length; i++, at++) {
      spans[at].dataset.block = block.block;
      spans[at].dataset.token = block.first + i;
    }
  }
}

function open() {
  const v = props.value;
  blocks = v.look ? JSON.parse(v.look) : [];
  lines = v.settled.split('\n').filter(Boolean).map(line => JSON.parse(line));
  steps.open(blocks, lines);
  playhead.open(steps.length);
  look.classList.toggle('ready', steps.length > 0);
  cursor = -1;
  strip.classList.toggle('inspectable', steps.length > 0 && lines.length > 0);
  mark([...answer.children]);
  roll.open(blocks, lines);
  tell();
  if (v.recorded && steps.length && !arrived && !matchMedia('(prefers-reduced-motion: reduce)').matches) playOnArrival();
}

// A recorded run plays when it comes into sight, unless the visitor has begun something by then.
function playOnArrival() {
  arrived = true;
  const recorded = run;
  playhead.put(0);
  const sight = new IntersectionObserver(seen => {
    if (!seen.some(one => one.isIntersecting)) return;
    sight.disconnect();
    if (run === recorded && !playhead.timer && playhead.at === 0) playhead.start();
  });
  sight.observe(strip);
}

function tell() {
  const at = playhead.at;
  const v = props.value;
  let note = v.state === 'stopped' ? 'the text as it was stopped' : 'the finished text';
  if (!v.recorded && v.state === 'done' && roll.changes) note += ', after ' + roll.changes + (roll.changes === 1 ? ' change of mind' : ' changes of mind');
  if (at < steps.length) {
    const [b, s] = steps.states[at];
    const block = blocks[b];
    note = 'block ' + (b + 1) + ' of ' + blocks.length + ', step ' + (block.steps[s] + 1) + ' of ' + block.of + ', noise ' + Math.round(block.noise[s]) + ' %';
  }
  where.textContent = steps.length ? note : '';
  slider.setAttribute('aria-valuetext', note);
  roll.move(at);
  const [b, s] = steps.states[at] ?? [];
  sayPlayhead(b === undefined ? {block: null} : {block: blocks[b].block, step: blocks[b].steps[s], noise: blocks[b].noise[s]});
}

function sayPlayhead(moment) {
  runBench?.dispatchEvent(new CustomEvent('playhead', {detail: {run, ...moment}}));
}

function show(at) {
  tell();
  if (at >= steps.length) {
    steps.leave();
    answer.replaceChildren(...lines.flat().flatMap(settled));
    mark([...answer.children]);
    redraw(live, props.value.live);
    return;
  }
  if (steps.show(at)) mark([...answer.children]);
  follow();
}

// Keeps the words under way in sight where the text is longer than its place.
function follow() {
  const scroll = strip.querySelector('.page');
  const word = live.lastElementChild ?? answer.lastElementChild;
  if (!word || scroll.scrollHeight <= scroll.clientHeight) return;
  const below = word.getBoundingClientRect().bottom - scroll.getBoundingClientRect().bottom;
  if (below > 0 || live.childElementCount) scroll.scrollTop += below + 12;
}

function inspect(node) {
  playhead.pause();
  answer.querySelectorAll('.chosen').forEach(old => old.classList.remove('chosen'));
  node.classList.add('chosen');
  trigger('select', {block: Number(node.dataset.block), token: Number(node.dataset.token), requested: performance.now()});
}

answer.addEventListener('click', event => {
  const node = event.target.closest('.token[data-block]');
  if (node && steps.length) inspect(node);
});
paragraph.addEventListener('keydown', event => {
  const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
  const tokens = [...answer.children];
  if (!steps.length || !tokens.length) return;
  if (step) {
    event.preventDefault();
    if (tokens[cursor]) tokens[cursor].classList.remove('cursor');
    cursor = Math.min(tokens.length - 1, Math.max(0, cursor + step));
    tokens[cursor].classList.add('cursor');
  } else if ((event.key === 'Enter' || event.key === ' ') && tokens[cursor]) {
    event.preventDefault();
    inspect(tokens[cursor]);
  }
});

// A text that was steered: the way back to the one before.
const undo = strip.querySelector('.before');
undo.addEventListener('click', () => {
  paragraph.focus({preventScroll: true});
  trigger('undo', {row: props.value.before});
});
const TYPED = 'textarea, select, [contenteditable], input:not([type=range], [type=checkbox], [type=radio], [type=button])';
document.addEventListener('keydown', event => {
  if (event.key?.toLowerCase() !== 'z' || !(event.ctrlKey || event.metaKey) || event.shiftKey || event.altKey) return;
  if (undo.hidden || !undo.checkVisibility() || event.target.closest?.(TYPED) || document.querySelector('dialog[open]')) return;
  event.preventDefault();
  undo.click();
});

// The word that the visitor put there is in sight once the run is over, after its end has been followed.
function showPinned() {
  const word = prompt.querySelector('mark'), scroll = strip.querySelector('.page');
  if (!word || props.value.state === 'running' || brought === run) return;
  brought = run;
  const away = word.getBoundingClientRect().top - scroll.getBoundingClientRect().top;
  scroll.scrollTop += away - scroll.clientHeight / 4;
}

function draw() {
  const v = props.value;
  if (!v) return;
  if (v.run !== run || !v.settled.startsWith(drawn) || !playhead.atEnd) {
    steps.leave();
    answer.replaceChildren();
    drawn = '';
    run = v.run;
  }
  for (const line of v.settled.slice(drawn.length).split('\n')) {
    if (line) answer.append(...JSON.parse(line).flatMap(settled));
  }
  drawn = v.settled;
  const end = v.prompt.length - (v.after ?? 0), pinned = end - (v.pinned ?? 0);
  prompt.textContent = v.prompt.slice(0, pinned);
  if (v.pinned) {
    const word = document.createElement('mark');
    word.textContent = v.prompt.slice(pinned, end);
    prompt.append(word, v.prompt.slice(end));
  }
  redraw(live, v.live);
  strip.dataset.state = v.state;
  strip.querySelector('.recorded').textContent = v.recorded ? 'This is ' + v.recorded : '';
  strip.setAttribute('aria-busy', v.state === 'running');
  undo.hidden = v.before === undefined || v.state === 'running';
  open();
  if (v.state === 'running') follow();
  showPinned();
}

// who makes a picture of the run: see share_card.js
runBench?.addEventListener('card:ask', event => { event.detail.strip = props.value; });
stopWithRun(draw);
watch('value', draw);
draw();

/* global Roll */
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
  const [text, confidence, special, noise = 0] = token;
  const node = document.createElement('span');
  node.className = special ? 'token special' : 'token';
  node.textContent = special ? '∎' : text;
  node.style.setProperty('--confidence', confidence);
  if (noise) node.style.setProperty('--noise', noise);
  node.title = (special ? text + ' · ' : '') + Math.round(confidence * 100) + ' %';
  return node;
}

// A settled token: the space before its word is beside it, so that a ring around the word is one.
function settled(token) {
  const node = span(token), space = node.textContent.match(/^\s+(?=\S)/)?.[0];
  if (!space) return [node];
  node.textContent = node.textContent.slice(space.length);
  return [space, node];
}

// Reuses the spans that stand there, so that a token changes its words and its colour in place.
function redraw(parent, tokens) {
  tokens.forEach((token, i) => {
    const node = span(token);
    if (i < parent.children.length) {
      const old = parent.children[i];
      if (old.textContent !== node.textContent) old.textContent = node.textContent;
      old.className = node.className;
      old.title = node.title;
      old.style.cssText = node.style.cssText;
    } else parent.append(node);
  });
  while (parent.children.length > tokens.length) parent.lastChild.remove();
}

// Looking back: a run that is over brings all its steps, and the slider goes through them.
const look = strip.querySelector('.look');
const slider = look.querySelector('input');
const play = look.querySelector('.play');
const where = look.querySelector('.where');
const roll = new Roll(look.querySelector('canvas'));
let blocks = [];       // as `look_value` makes them
let states = [];       // [block, step] of every place of the slider but the last, which is the finished text
let lines = [];        // the finished tokens of each block
let timer = null;
let arrived = false;   // has a recorded run begun to play by itself
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
  const found = v.look ? JSON.parse(v.look) : [];
  stopPlaying();
  blocks = found;
  states = found.flatMap((block, b) => block.steps.map((_, s) => [b, s]));
  lines = v.settled.split('\n').filter(Boolean).map(line => JSON.parse(line));
  look.classList.toggle('ready', states.length > 0);
  slider.max = states.length;
  slider.value = states.length;
  cursor = -1;
  strip.classList.toggle('inspectable', states.length > 0 && lines.length > 0);
  mark([...answer.children]);
  roll.open(blocks, lines);
  tell();
  if (v.recorded && states.length && !arrived && !matchMedia('(prefers-reduced-motion: reduce)').matches) playOnArrival();
}

// A recorded run plays when it comes into sight, unless the visitor has begun something by then.
function playOnArrival() {
  arrived = true;
  const recorded = run;
  show(0);
  const sight = new IntersectionObserver(seen => {
    if (!seen.some(one => one.isIntersecting)) return;
    sight.disconnect();
    if (run === recorded && !timer && Number(slider.value) === 0) startPlaying();
  });
  sight.observe(strip);
}

function tell() {
  const at = Number(slider.value);
  const v = props.value;
  let note = v.recorded || (v.state === 'stopped' ? 'the text as it was stopped' : 'the finished text');
  if (!v.recorded && v.state === 'done' && roll.changes) note += ', after ' + roll.changes + (roll.changes === 1 ? ' change of mind' : ' changes of mind');
  if (at < states.length) {
    const [b, s] = states[at];
    const block = blocks[b];
    note = 'block ' + (b + 1) + ' of ' + blocks.length + ', step ' + (block.steps[s] + 1) + ' of ' + block.of + ', noise ' + Math.round(block.noise[s]) + ' %';
  }
  where.textContent = states.length ? note : '';
  slider.setAttribute('aria-valuetext', note);
  roll.move(at);
  const [b, s] = states[at] ?? [];
  sayPlayhead(b === undefined ? {block: null} : {block: blocks[b].block, step: blocks[b].steps[s], noise: blocks[b].noise[s]});
}

function sayPlayhead(moment) {
  runBench?.dispatchEvent(new CustomEvent('playhead', {detail: {run, ...moment}}));
}

function show(at) {
  slider.value = at;
  tell();
  if (at >= states.length) {
    endLayOut();
    answer.replaceChildren(...lines.flat().flatMap(settled));
    mark([...answer.children]);
    redraw(live, props.value.live);
    return;
  }
  const [b, s] = states[at];
  if (ahead.dataset.block !== String(b)) layOut(b);
  redrawLines(wordsOf(blocks[b], s));
  follow();
}

// What a block reads at one of its states, as tokens.
function wordsOf(block, s) {
  const from = s * block.count;
  return block.ids.slice(from, from + block.count).map((id, i) => [
    block.words[id][0], block.sure[from + i] / 100, block.words[id][1], (block.t?.[from + i] ?? 0) / 100,
  ]);
}

// Lays out the text as it stands at the end: what is there before a block, and unseen, this block and those after it.
function layOut(b) {
  const end = blocks.map((block, i) => lines[i] ?? wordsOf(block, block.steps.length - 1));
  answer.replaceChildren(...end.slice(0, b).flat().flatMap(settled));
  mark([...answer.children]);
  ahead.replaceChildren(...end.slice(b).flat().flatMap(settled));
  ahead.dataset.block = b;
  live.replaceChildren();
}

function endLayOut() {
  ahead.replaceChildren();
  delete ahead.dataset.block;
  live.replaceChildren();
}

// The words of a block under way, each on the line on which it ends up, so that no word changes its line.
function redrawLines(tokens) {
  const within = paragraph.getBoundingClientRect(), style = getComputedStyle(paragraph), tall = parseFloat(style.lineHeight) || 0;
  const rows = [];  // {from: its first token, box: of that one's end, at: the middle of the line, apart: no space before it}
  tokens.forEach((_, i) => {
    const node = ahead.children[i], box = node?.getClientRects()[0] ?? rows.at(-1)?.box ?? within;
    const at = (box.top + box.bottom) / 2;
    if (!rows.length || at - rows.at(-1).at > tall / 2) rows.push({from: i, box, at, apart: node?.previousSibling?.nodeName !== '#text'});
  });
  const leftwards = style.direction === 'rtl';
  rows.forEach(({from, box, at, apart}, r) => {
    const line = live.children[r] ?? live.appendChild(Object.assign(document.createElement('span'), {className: 'line'}));
    redraw(line, tokens.slice(from, rows[r + 1]?.from));
    line.classList.toggle('apart', apart && /^\s/.test(tokens[from][0]));
    line.style.top = at - within.top - tall / 2 + 'px';
    line.style[leftwards ? 'right' : 'left'] = (leftwards ? within.right - box.right : box.left - within.left) + 'px';
    const room = leftwards ? box.right - within.left : within.right - box.left, wide = line.offsetWidth;
    line.style.transform = wide > room && room > 0 ? `scaleX(${room / wide})` : '';
  });
  while (live.children.length > rows.length) live.lastChild.remove();
}

// Where the lines of the finished text break is another matter once the page is wider or narrower.
new ResizeObserver(() => {
  const [b, s] = states[Number(slider.value)] ?? [];
  if (ahead.dataset.block === String(b)) redrawLines(wordsOf(blocks[b], s));
}).observe(paragraph);

function stopPlaying() {
  clearInterval(timer);
  timer = null;
  strip.classList.remove('playing');
  play.textContent = 'Play';
}

// Keeps the words under way in sight where the text is longer than its place.
function follow() {
  const scroll = strip.querySelector('.page');
  const word = live.lastElementChild ?? answer.lastElementChild;
  if (!word || scroll.scrollHeight <= scroll.clientHeight) return;
  const below = word.getBoundingClientRect().bottom - scroll.getBoundingClientRect().bottom;
  if (below > 0 || live.childElementCount) scroll.scrollTop += below + 12;
}

function startPlaying() {
  let at = Number(slider.value) >= states.length ? 0 : Number(slider.value);
  show(at);
  strip.classList.add('playing');
  play.textContent = 'Pause';
  const pause = Math.max(40, Math.min(200, 12000 / Math.max(1, states.length)));
  timer = setInterval(() => {
    at += 1;
    show(at);
    if (at >= states.length) stopPlaying();
  }, pause);
}
play.addEventListener('click', () => timer ? stopPlaying() : startPlaying());
slider.addEventListener('input', () => { stopPlaying(); show(Number(slider.value)); });

function inspect(node) {
  stopPlaying();
  answer.querySelectorAll('.chosen').forEach(old => old.classList.remove('chosen'));
  node.classList.add('chosen');
  trigger('select', {block: Number(node.dataset.block), token: Number(node.dataset.token), requested: performance.now()});
}

answer.addEventListener('click', event => {
  const node = event.target.closest('.token[data-block]');
  if (node && states.length) inspect(node);
});
paragraph.addEventListener('keydown', event => {
  const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
  const tokens = [...answer.children];
  if (!states.length || !tokens.length) return;
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

function draw() {
  const v = props.value;
  if (!v) return;
  if (v.run !== run || !v.settled.startsWith(drawn) || Number(slider.value) < states.length) {
    endLayOut();
    answer.replaceChildren();
    drawn = '';
    run = v.run;
  }
  for (const line of v.settled.slice(drawn.length).split('\n')) {
    if (line) answer.append(...JSON.parse(line).flatMap(settled));
  }
  drawn = v.settled;
  const pinned = v.prompt.length - (v.pinned ?? 0);
  prompt.textContent = v.prompt.slice(0, pinned);
  if (v.pinned) {
    const word = document.createElement('mark');
    word.textContent = v.prompt.slice(pinned);
    prompt.append(word);
  }
  redraw(live, v.live);
  strip.dataset.state = v.state;
  strip.setAttribute('aria-busy', v.state === 'running');
  open();
  if (v.state === 'running') follow();
}

// who makes a picture of the run: see share_card.js
runBench?.addEventListener('card:ask', event => { event.detail.strip = props.value; });
stopWithRun(draw);
watch('value', draw);
draw();

/* global Playhead, StepText */
const rows = element.querySelector('.rows');
const list = rows.querySelector('.list');
const notes = rows.querySelector('.notes');
list.setAttribute('aria-label', props.heading);
rows.querySelector('.empty-text').textContent = props.empty_text;
rows.querySelector('.changed-words').textContent = props.changed_words;

const [CHANGED, PROMPT] = [1, 2];
let run = null;

const player = rows.querySelector('.player');
const [slider, play, where] = ['.thumb', '.play', '.where'].map(name => player.querySelector(name));
const playhead = new Playhead(element.closest('.workbench'), rows, {slider, play}, showTexts);
let played = '';       // which texts the player has

function span(token) {
  const [text, confidence, special, noise = 0] = token;
  const node = document.createElement('span');
  const kept = confidence < 0;
  node.className = 'token' + (special ? ' special' : '') + (kept ? ' kept' : '');
  node.textContent = special ? '∎' : text;
  node.style.setProperty('--confidence', Math.max(0, confidence));
  if (noise) node.style.setProperty('--noise', noise);
  node.title = (special ? text + ' · ' : '') + (kept ? 'stays' : Math.round(confidence * 100) + ' %');
  return node;
}

function piece([text, flags]) {
  const node = document.createElement(flags & CHANGED ? 'mark' : 'span');
  node.className = [flags & CHANGED ? 'changed' : '', flags & PROMPT ? 'prompt' : ''].join(' ').trim();
  node.textContent = text;
  return node;
}

function make() {
  const row = document.createElement('li');
  row.drawn = '';      // the settled lines that stand there
  row.final = null;    // or the finished pieces, as JSON
  const part = (name, tag = 'span') => {
    const node = document.createElement(tag);
    node.className = name;
    return node;
  };
  const text = part('text', 'p');
  text.dir = 'auto';
  text.lang = '';
  text.translate = false;
  const [lead, answer, ahead, live, tail] = ['lead', 'answer', 'ahead', 'live', 'tail'].map(name => part(name));
  ahead.setAttribute('aria-hidden', 'true');
  text.append(lead, answer, ahead, live, tail);
  row.steps = new StepText(text, {answer, ahead, live}, span);
  row.look = '';       // the steps that it has opened
  const act = part('act', 'button');
  act.type = 'button';
  act.textContent = props.action;
  act.addEventListener('click', () => {
    const i = [...list.children].indexOf(row);
    trigger('select', {text: props.value.rows[i].text, row: i});
  });
  const side = part('side', 'div');
  side.append(part('score'), act);
  row.append(part('label'), text, side);
  return row;
}

function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function fill(row, v) {
  const part = name => row.querySelector('.' + name);
  put(part('label'), v.label);
  put(part('score'), v.score);
  part('act').hidden = !v.text || !props.action;
  part('act').setAttribute('aria-label', props.action + ': ' + v.label);
  const look = v.steps?.look ?? '';
  if (row.look !== look) {
    if (row.steps.leave()) clear(row);
    const lines = look ? v.steps.settled.split('\n').filter(Boolean).map(line => JSON.parse(line)) : [];
    row.steps.open(look ? JSON.parse(look) : [], lines, !v.steps?.lead);
    row.look = look;
  }
}

function clear(row) {
  row.querySelector('.answer').replaceChildren();
  row.drawn = '';
  row.final = null;
}

// The text of a row at a share of its steps; at the whole of them, and where it has none, as it is.
function showText(row, v, share) {
  const part = name => row.querySelector('.' + name), at = Math.round(share * row.steps.length);
  part('text').classList.toggle('stepped', at < row.steps.length);
  if (at < row.steps.length) {
    put(part('lead'), v.steps.lead);
    put(part('tail'), '');
    row.steps.show(at);
    return;
  }
  if (row.steps.leave()) clear(row);
  put(part('lead'), v.lead);
  put(part('tail'), v.tail);
  const answer = part('answer');
  if (v.final) {
    const key = JSON.stringify(v.final);
    if (row.final !== key) answer.replaceChildren(...v.final.map(piece));
    row.final = key;
    row.drawn = '';
  } else {
    if (row.final || !v.settled.startsWith(row.drawn)) {
      answer.replaceChildren();
      row.drawn = '';
      row.final = null;
    }
    for (const line of v.settled.slice(row.drawn.length).split('\n')) {
      if (line) answer.append(...JSON.parse(line).map(span));
    }
    row.drawn = v.settled;
  }
  const live = part('live');
  v.live.forEach((token, i) => {
    const node = span(token);
    const old = live.children[i];
    if (!old) return live.append(node);
    put(old, node.textContent);
    old.className = node.className;
    old.title = node.title;
    old.style.cssText = node.style.cssText;
  });
  while (live.children.length > v.live.length) live.lastChild.remove();
  const first = answer.firstChild || live.firstChild;
  if (first && !v.lead) put(first, first.textContent.trimStart());  // with nothing before it a row would begin with a gap
}

// What is shown at a place of the player.
function showTexts() {
  const v = props.value, running = v.state === 'running';
  const share = running ? v.share ?? 1 : playhead.length ? playhead.at / playhead.length : 1;
  v.rows.forEach((row, i) => showText(list.children[i], row, share));
  const note = share < 1 ? Math.round(100 * share) + ' % of the steps' : v.rows.length > 1 ? 'the finished texts' : 'the finished text';
  put(where, note);
  slider.setAttribute('aria-valuetext', note);
  follow();
}

// Keeps the words under way in sight where texts beside each other are longer than their place.
function follow() {
  const running = props.value.state === 'running', lines = list.querySelectorAll(running ? '.text' : '.line');
  if (!lines.length || list.scrollHeight <= list.clientHeight || !besideEachOther()) return;
  const below = Math.max(...[...lines].map(line => line.getBoundingClientRect().bottom)) - list.getBoundingClientRect().bottom;
  list.scrollTop += below + 8;
}

// Texts in one row, or no more than two: of others some would leave the place where the rest comes into sight.
function besideEachOther() {
  return list.children.length <= 2 || new Set([...list.children].map(row => row.offsetTop)).size === 1;
}

function openPlayer() {
  const v = props.value, there = [...list.children].map(row => row.steps.length), longest = Math.max(0, ...there);
  const names = v.rows.map(row => row.label), which = JSON.stringify([v.run, names, there, v.state === 'running']);
  player.hidden = !longest || v.state === 'running';
  if (which === played) return;
  played = which;
  playhead.open(longest);
  if (v.state !== 'running') list.scrollTop = 0;
  const equal = new Set(there).size < 2;
  player.title = 'One player for all texts here and for the one on the stage: each is shown at the same ' +
    (equal ? 'step.' : 'share of its steps: ' + names.map((name, i) => name + ' has ' + there[i]).join(', ') + '.');
}

function draw() {
  const v = props.value;
  if (!v) return;
  if (v.run !== run) list.replaceChildren();
  run = v.run;
  while (list.children.length > v.rows.length) list.lastChild.remove();
  v.rows.forEach((row, i) => {
    if (i >= list.children.length) list.append(make());
    fill(list.children[i], row);
    if (v.room) list.children[i].dataset.room = v.room;
    else delete list.children[i].dataset.room;
  });
  openPlayer();
  showTexts();
  notes.replaceChildren(...v.notes.map(text => {
    const node = document.createElement('li');
    node.textContent = text;
    return node;
  }));
  rows.dataset.state = v.state;
  rows.setAttribute('aria-busy', v.state === 'running');
  beReached();
}

// A list that is longer than its place scrolls by the arrow keys too.
function beReached() {
  if (list.scrollHeight > list.clientHeight + 1) list.tabIndex = 0;
  else list.removeAttribute('tabindex');
}
new ResizeObserver(beReached).observe(list);

stopWithRun(draw);
watch('value', draw);
draw();

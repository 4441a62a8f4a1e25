/* global make, sayQuoting */
const card = element.querySelector('.card');
const bench = element.closest('.workbench');
const [GAP, LEAST, WIDE] = [8, 240, 600];  // px: between word and card, the least height of one above or below, a window with room beside
const part = name => card.querySelector('.' + name);

const HOLE = /_{3,}/;    // as in a prompt

let pinned = false;    // was another word chosen here, which a run writes on from

function percent(p) {
  if (p < 0.001) return '< 0.1 %';
  if (p > 0.9995) return '> 99.9 %';
  return (p < 0.1 || p > 0.99 ? (100 * p).toFixed(1) : Math.round(100 * p)) + ' %';
}

// Where the focus goes when the card, which has it, goes away.
function focusText() {
  bench?.querySelector('.strip .text')?.focus({preventScroll: true});
}

function draw() {
  const v = props.value;
  const within = card.contains(document.activeElement) || (pinned && document.activeElement === document.body);
  card.hidden = !v;
  if (!v && within) focusText();
  refuse('');
  if (!v) return void (pinned = false);
  part('title').textContent = v.title;
  part('where').textContent = v.where;
  sayQuoting(part('tells'), v.note);
  part('read').hidden = !v.read.length;
  part('hint').textContent = (v.read.length ? 'Choose or write another word' : 'No other word was likely here. Write one') + ', and what follows is written anew.';
  part('read').querySelector('caption').textContent = 'Earlier, at noise ' + v.noise + ' %: what it could still have become';
  part('read').querySelector('tbody').replaceChildren(...v.read.map(([word, p, chosen, id]) => {
    const row = make('tr', chosen ? 'chosen' : '');
    const bar = make('span', 'bar');
    bar.style.width = Math.max(1, 100 * p) + '%';
    const track = make('td', 'track');
    track.append(bar);
    const head = make('th', 'word', chosen ? word : undefined);
    if (!chosen) {
      const pick = make('button', 'pick', word);
      pick.type = 'button';
      pick.title = 'Write on from “' + word + '”';
      pick.addEventListener('click', () => pin({id}));
      head.append(pick);
    }
    row.append(head, track, make('td', 'p', percent(p) + (chosen ? ', chosen' : '')));
    row.firstChild.scope = 'row';
    return row;
  }));
  const most = Math.max(...v.latent.map(Math.abs), 1e-6);
  part('latent').querySelector('figcaption').textContent = 'Its latent: ' + v.latent.length + ' numbers, size ' + v.size;
  const bars = part('bars');
  bars.setAttribute('aria-label', 'The numbers of the latent: ' + v.latent.slice(0, 32).map(x => x.toFixed(2)).join(', '));
  bars.replaceChildren(...v.latent.slice(0, 128).map((x, i) => {
    const cell = make('span', x < 0 ? 'cell below' : 'cell');
    const bar = make('span', '');
    bar.style.height = 50 * Math.abs(x) / most + '%';
    cell.title = 'channel ' + (i + 1) + ': ' + x.toFixed(3);
    cell.append(bar);
    return cell;
  }));
}

// Puts the card at the word that was clicked, below it or above it, where the window has room: nothing scrolls for it,
// and the word stays in sight. Without such a word it stands where it is laid out.
function place() {
  const word = bench?.querySelector('.strip .token.chosen');
  card.classList.toggle('at-word', Boolean(word));
  card.style.cssText = '';
  const lines = word?.getClientRects() ?? [], first = lines[0], last = lines[lines.length - 1];
  if (!first) return;  // no word, or its tab is hidden
  const around = card.parentElement.getBoundingClientRect();
  const left = Math.min(Math.max(0, last.left - around.left - 24), around.width - card.offsetWidth);
  const above = first.top - 2 * GAP, below = floor() - last.bottom - 2 * GAP;
  if (Math.max(above, below) < Math.min(LEAST, card.offsetHeight) && around.width >= WIDE) return placeBeside(last, around);
  const under = card.offsetHeight <= below || below >= above;
  const height = Math.min(card.offsetHeight, Math.max(under ? below : above, GAP));
  const top = under ? last.bottom + GAP : first.top - GAP - height;
  Object.assign(card.style, {left: left + 'px', top: top - around.top + 'px', maxHeight: height + 'px'});
}

// In a low window, that of a phone held sideways: in the half of it where the word is not.
function placeBeside(word, around) {
  const middle = around.left + around.width / 2, before = (word.left + word.right) / 2 > middle;
  const width = (before ? word.left - around.left : around.right - word.right) - GAP;
  const room = floor() - 2 * GAP;
  Object.assign(card.style, {left: (before ? 0 : word.right - around.left + GAP) + 'px', width: Math.min(width, card.offsetWidth) + 'px', maxHeight: room + 'px'});
  card.style.top = Math.max(GAP, Math.min(word.top, floor() - GAP - card.offsetHeight)) - around.top + 'px';
}

// Where the part of the window ends in which something can be seen: on a phone, Run and Stop stand at its edge.
function floor() {
  const bar = bench.querySelector('.run-controls');
  return bar && getComputedStyle(bar).position === 'fixed' ? bar.getBoundingClientRect().top : window.innerHeight;
}

// Another word in this place: what follows is written anew.
function pin(word) {
  pinned = true;
  props.value = {...props.value, pin: word};
  trigger('input');
}
const box = part('other').querySelector('input');
const refuse = sentence => { part('refused').textContent = sentence; };
part('other').addEventListener('submit', event => {
  event.preventDefault();
  const text = box.value.trim();
  if (!text) box.value = '';
  if (!text || HOLE.test(text)) {
    refuse(text ? 'A hole goes into the prompt, not here: write a word.' : 'Write a word into the box first.');
    return box.focus();
  }
  pin({text: box.value});
  box.value = '';
});
box.addEventListener('input', () => refuse(''));

part('path').addEventListener('click', () => trigger('select', {point: props.value.point}));
part('close').addEventListener('click', () => {
  props.value = null;
  draw();
  focusText();
});
// From anywhere: Tab leads out of the card while it stays open.
document.addEventListener('keydown', event => {
  if (event.key === 'Escape' && !card.hidden && card.checkVisibility() && !document.querySelector('dialog[open]')) part('close').click();
});

window.addEventListener('resize', () => card.hidden || place());

let shown = props.value;
let since = 0;         // when what stands here was asked for, or taken away

// Answers may come in another order than the questions: one that was asked for before what stands here is dropped.
function isLate() {
  const v = props.value;
  if (v && v.requested < since) return true;
  if (v || shown) since = v ? v.requested ?? since : performance.now();
  shown = v;
  return false;
}

onRunState(({name}) => { if (name === 'starting') since = performance.now(); });
watch('value', () => {
  if (isLate()) return void (props.value = shown);
  draw();
  if (!props.value) return;
  place();
  part('title').focus({preventScroll: true});
});
draw();

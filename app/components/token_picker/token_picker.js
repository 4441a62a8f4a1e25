const picker = element.querySelector('.picker');
const tokens = picker.querySelector('.tokens');
const wrong = picker.querySelector('.wrong');
const chosen = picker.querySelector('.chosen');
picker.classList.toggle('small', Boolean(props.small));
picker.querySelector('.empty-text').textContent = props.empty_text;
tokens.setAttribute('aria-label', props.heading);

let drawn = null;      // the tokens that stand there, as JSON
let anchor = 0;        // where a selection with Shift begins
let at = 0;            // the token that the keys stand on
let dragging = false;
let extend = false;    // by touch: the next tap takes the selection up to there

// A token without a letter of its own still needs something to press and to read out.
function show(node, text) {
  node.className = 'token';
  if (text === '') {
    node.classList.add('mark');
    node.textContent = '▫';
    node.setAttribute('aria-label', 'part of a character');
    node.title = 'part of a character';
  } else if (!text.trim()) {
    node.setAttribute('aria-label', text.includes('\n') ? 'line break' : 'space');
    node.classList.add('mark');
    node.textContent = text.replaceAll('\n', '↵\n');
  } else node.textContent = text;
}

function draw() {
  const v = props.value;
  if (!v) return;
  let bring = false;    // is what is selected to be brought into sight
  let focused = false;  // the token with the focus goes, and the next key is meant for the one in its place
  const now = JSON.stringify(v.tokens);
  if (now !== drawn) {
    drawn = now;
    focused = tokens.contains(document.activeElement);
    tokens.replaceChildren(...v.tokens.map((text, i) => {
      const node = document.createElement('span');
      show(node, text);
      node.setAttribute('role', 'option');
      node.dataset.i = i;
      node.tabIndex = -1;
      return node;
    }));
    at = anchor = v.end > v.start ? v.start : 0;
    picker.dataset.empty = v.tokens.length === 0;
    bring = v.end > v.start;
  }
  at = Math.min(at, Math.max(0, v.tokens.length - 1));
  for (const node of tokens.children) {
    const i = Number(node.dataset.i);
    node.setAttribute('aria-selected', i >= v.start && i < v.end);
    node.tabIndex = i === at ? 0 : -1;
  }
  if (focused) tokens.children[at]?.focus({preventScroll: true});
  const n = v.end - v.start;
  const count = n > 0 ? n + (n === 1 ? ' token' : ' tokens') + ' of ' + v.tokens.length + ' selected.' : props.none_words;
  chosen.textContent = (v.note ? v.note + ' ' : '') + count;
  wrong.textContent = v.wrong;
  if (bring) showSelection();
}

// Scrolls what the tokens are in, and never the page.
function showSelection() {
  const first = tokens.children[props.value.start]?.getBoundingClientRect();
  for (const place of [tokens, element.closest('.block')]) {
    if (!first || !place || place.scrollHeight <= place.clientHeight) continue;
    const box = place.getBoundingClientRect();
    if (first.top < box.top || first.bottom > box.bottom - 40) place.scrollTop += first.top - box.top - box.height / 3;
  }
}

function select(start, end) {
  props.value = {...props.value, start, end, note: ''};
  draw();
}

// From the anchor to a token, whichever comes first.
function reach(i) {
  select(Math.min(anchor, i), Math.max(anchor, i) + 1);
}

function stand(i, focus = true) {
  tokens.children[at]?.setAttribute('tabindex', '-1');
  at = i;
  const node = tokens.children[at];
  if (!node) return;
  node.tabIndex = 0;
  if (focus) {
    node.focus({preventScroll: true});
    node.scrollIntoView({block: 'nearest', inline: 'nearest'});
  }
}

const index = e => {
  const node = e.target.closest?.('.token');
  return node && tokens.contains(node) ? Number(node.dataset.i) : null;
};

// A screen reader puts the focus where it likes.
tokens.addEventListener('focusin', e => {
  const i = index(e);
  if (i !== null && i !== at) stand(i, false);
});
tokens.addEventListener('pointerdown', e => {
  const i = index(e);
  if (i === null || e.button !== 0 || e.pointerType === 'touch') return;
  e.preventDefault();
  const alone = i === props.value.start && i + 1 === props.value.end;
  if (!e.shiftKey) anchor = i;
  dragging = true;
  stand(i);
  if (alone && !e.shiftKey) select(0, 0);
  else reach(i);
});
tokens.addEventListener('pointerover', e => {
  const i = index(e);
  if (!dragging || i === null || i === at) return;
  stand(i);
  reach(i);
});
window.addEventListener('pointerup', () => { dragging = false; });
tokens.addEventListener('click', e => {
  const i = index(e);
  if (i === null || e.pointerType !== 'touch') return;
  const inside = i >= props.value.start && i < props.value.end;
  stand(i);
  if (inside) {
    extend = false;
    return select(0, 0);
  }
  if (extend && props.value.end > props.value.start) {
    extend = false;
    return reach(i);
  }
  anchor = i;
  extend = true;
  reach(i);
});

// The token nearest below or above, by where it is drawn.
function vertical(sign) {
  const here = tokens.children[at].getClientRects()[0];
  let best = null;
  for (const node of tokens.children) {
    const there = node.getClientRects()[0];
    const down = (there.top - here.top) * sign;
    if (down < here.height / 2) continue;
    const cost = down * 1000 + Math.abs(there.left + there.width / 2 - here.left - here.width / 2);
    if (!best || cost < best.cost) best = {cost, i: Number(node.dataset.i)};
  }
  return best ? best.i : (sign > 0 ? tokens.children.length - 1 : 0);
}

tokens.addEventListener('keydown', e => {
  const last = props.value.tokens.length - 1;
  const command = e.ctrlKey || e.metaKey;
  const key = e.key.toLowerCase();
  if (command && key === 'a') {
    e.preventDefault();
    return select(0, last + 1);
  }
  if (command || e.altKey) return;
  const right = getComputedStyle(tokens).direction === 'rtl' ? -1 : 1;
  const to = {
    arrowright: () => at + right, arrowleft: () => at - right, arrowdown: () => vertical(1), arrowup: () => vertical(-1),
    home: () => 0, end: () => last,
  }[key];
  if (to) {
    e.preventDefault();
    const selected = props.value.end > props.value.start;
    if (!e.shiftKey || !selected) anchor = at;
    stand(Math.max(0, Math.min(last, to())));
    if (e.shiftKey) reach(at);
  } else if (key === ' ' || key === 'enter') {
    e.preventDefault();
    const inside = at >= props.value.start && at < props.value.end;
    anchor = at;
    if (e.shiftKey || !inside) reach(at);
    else select(0, 0);
  } else if (key === 'escape') select(0, 0);
});

// Wherever one is on the tab, but where text is written: a field has its own undo.
document.addEventListener('keydown', e => {
  const key = e.key.toLowerCase(), field = e.target.closest?.('textarea, input, [contenteditable]');
  if (!(e.ctrlKey || e.metaKey) || e.altKey || !['z', 'y'].includes(key) || !picker.checkVisibility()) return;
  if ((field && !['range', 'checkbox', 'radio'].includes(field.type)) || document.querySelector('dialog[open]')) return;
  e.preventDefault();
  trigger('undo', {by: key === 'y' || e.shiftKey ? 1 : -1});
});

picker.querySelector('.all').addEventListener('click', () => select(0, props.value.tokens.length));
picker.querySelector('.none').addEventListener('click', () => select(0, 0));
watch('value', draw);
draw();

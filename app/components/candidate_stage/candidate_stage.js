/* global briefly, firstPlace, joined, make, partsOf, rowsByPlace, soughtByPointer, wordsOf */
const edited = element.querySelector('.edited');
const at = name => edited.querySelector(name);
const [list, notes, cells, seen] = ['.list', '.notes', '.cells', '.seen'].map(at);
const [LONG, AROUND] = [140, 14];  // characters of a long text, and of what is shown around the span in a short one

at('.empty-text').textContent = props.empty_text;
at('.start').textContent = props.start_label;
at('.before-strip').textContent = props.before_strip;
at('.no-strip').textContent = props.no_strip;
at('.about').textContent = props.about_misfit;
at('.start').addEventListener('click', () => trigger('submit'));

let run = null;
let thumb = 0;         // the place of the strip that is shown
let chosen = false;    // has the visitor chosen it
let drawn = '';        // which candidates stand there, as JSON

const strengths = () => props.value?.strengths ?? [];
const places = () => rowsByPlace(props.value?.rows ?? [], strengths().length);

// A part of a text. On its way, noise is blur and doubt is pale, as on the stage of Generate. The space before a word is
// not marked: it may stand at the end of a line.
function piece({text, of, confidence}) {
  if (!of) return [text];
  const space = text.match(/^\s*/)[0];
  const node = make(of === 'changed' ? 'mark' : 'span', of, text.slice(space.length));
  if (confidence !== undefined) node.style.setProperty('--confidence', confidence);
  return [space, node];
}

// The first in full, the others as what they change and the words around it.
function candidate(row, number) {
  const item = document.createElement('li'), text = make('p', 'text'), foot = make('div', 'foot');
  text.dir = 'auto';
  text.lang = '';
  text.translate = false;
  const parts = partsOf(row), brief = number ? briefly(parts, AROUND) : parts;
  text.append(...brief.flatMap(piece));
  if (brief !== parts) text.title = parts.map(part => part.text).join('');
  text.classList.toggle('long', text.textContent.length > LONG);
  foot.append(make('span', 'score', [number ? '' : row.label, row.score].filter(Boolean).join(' · ')));
  if (row.text) {
    const act = make('button', 'act', 'Use it');
    act.type = 'button';
    act.setAttribute('aria-label', 'Use it: ' + row.label);
    act.addEventListener('click', () => trigger('select', {text: row.text, row: props.value.rows.findIndex(one => one.place === row.place && one.text === row.text)}));
    foot.append(act);
  }
  item.append(text, foot);
  return item;
}

function drawList(rows) {
  const which = JSON.stringify(rows);
  if (which === drawn) return;
  drawn = which;
  // a button that has the focus goes with its row: the one in its place has it then
  const focused = [...list.children].findIndex(item => item.contains(document.activeElement));
  list.replaceChildren(...rows.map(candidate));
  list.children[focused]?.querySelector('.act')?.focus({preventScroll: true});
  showSpan();
}

// Brings what is new in the first of them into sight, where it is longer than its place.
function showSpan() {
  const place = at('.became'), found = list.querySelector('li:first-child :is(.changed, .live)');
  const top = found ? found.getBoundingClientRect().top - place.getBoundingClientRect().top + place.scrollTop : 0;
  place.scrollTop = top > place.clientHeight * 0.8 ? top - place.clientHeight * 0.4 : 0;
}

function drawCells(all) {
  const firsts = all.map(rows => rows[0]);
  const runs = joined(firsts.map(row => row?.final ? row.text : ''));
  const alone = runs.map(run => Math.max(1, run));
  while (cells.children.length > strengths().length) cells.lastChild.remove();
  while (cells.children.length < strengths().length) {
    const cell = make('i', '');
    const words = make('span', 'words');
    words.lang = '';
    words.translate = false;
    words.dir = 'auto';
    cell.append(make('b', 'label'), words);
    cells.append(cell);
  }
  strengths().forEach(([, label], i) => {
    const cell = cells.children[i], row = firsts[i];
    cell.className = (i === thumb ? 'on' : '') + (runs[i] ? '' : ' same');
    cell.style.setProperty('--changed', row?.changed ?? 0);
    cell.style.setProperty('--cells', alone[i]);
    cell.querySelector('.label').textContent = label;
    cell.querySelector('.words').textContent = row && runs[i] ? wordsOf(row) : '';
  });
}

function say(all) {
  const value = props.value, row = all[thumb]?.[0], strip = strengths();
  if (strip.length) {
    const words = row ? wordsOf(row) : '', place = `strength ${strip[thumb][1]}, ${thumb + 1} of ${strip.length}`;
    cells.setAttribute('aria-valuemax', strip.length);
    cells.setAttribute('aria-valuenow', thumb + 1);
    cells.setAttribute('aria-valuetext', `${place}: ${words || 'nothing'} in place of ${value.before}`);
    seen.textContent = 'Each place of the strip is the text at one strength, all from the same noise; drag, or use the arrow keys.';
  } else seen.textContent = '';
  const known = value.misfit === null ? '' : ` Before it was ${value.misfit.toFixed(3)}.`;
  at('.about').textContent = props.about_misfit + known;
}

function draw() {
  const value = props.value;
  if (!value) return;
  const strip = strengths(), there = value.rows.length > 0;
  if (value.run !== run) {
    run = value.run;
    chosen = false;
    drawn = '';
    thumb = Math.floor(strip.length / 2);
  }
  thumb = Math.min(thumb, Math.max(0, strip.length - 1));
  const all = places();
  const firsts = all.map(rows => rows[0]);
  if (!chosen && strip.length && firsts.every(row => row?.final)) thumb = firstPlace(strip, firsts.map(row => row.changed));
  edited.dataset.state = there ? value.state : 'empty';
  edited.classList.toggle('with-strip', strip.length > 0);
  edited.setAttribute('aria-busy', value.state === 'running');
  list.setAttribute('aria-live', value.state === 'running' || strip.length ? 'off' : 'polite');  // the slider speaks for itself
  tellFormer();
  drawList(all[strip.length ? thumb : 0]);
  drawCells(all);
  say(all);
  notes.replaceChildren(...value.notes.map(text => make('li', '', text)));
  beReached();
}

// What was made in another way than is chosen now says so, until it is made anew.
function tellFormer() {
  const former = at('.former'), {way, rows, state} = props.value;
  const other = Boolean(way) && rows.length > 0 && state !== 'running' && way !== runBench?.dataset.method;
  former.hidden = !other;
  former.textContent = other ? `Made in the way that was chosen before: press “${props.start_label}” to make it in this one.` : '';
}

// What is longer than its place scrolls by the arrow keys too.
function beReached() {
  const sheet = at('.became');
  if (sheet.scrollHeight > sheet.clientHeight + 1) sheet.tabIndex = 0;
  else sheet.removeAttribute('tabindex');
}

// The visitor's own hand.
function take(to) {
  const last = strengths().length - 1;
  if (last < 0) return;
  chosen = true;
  thumb = Math.min(last, Math.max(0, to));
  draw();
}

function seek(event) {
  const box = cells.getBoundingClientRect(), share = (event.clientX - box.left) / box.width;
  take(Math.floor((getComputedStyle(cells).direction === 'rtl' ? 1 - share : share) * strengths().length));
}

soughtByPointer(cells, seek);
cells.addEventListener('keydown', event => {
  const last = strengths().length - 1;
  const to = {ArrowRight: thumb + 1, ArrowUp: thumb + 1, ArrowLeft: thumb - 1, ArrowDown: thumb - 1, Home: 0, End: last}[event.key];
  if (to === undefined || last < 0) return;
  event.preventDefault();
  take(to);
});
if (runBench) new MutationObserver(tellFormer).observe(runBench, {attributes: true, attributeFilter: ['data-method']});
new ResizeObserver(beReached).observe(at('.became'));

stopWithRun(draw);
watch('value', draw);
draw();

/* global connectSaving, decimals, label, percent, plainColour, savePicture, sayQuoting */
// The heat map beside a flow map: a row for every place, its confidence from noise to word, and where it settled.
// Follows the flow map of the same name by events of the page, and has no data of its own.

const heat = element.querySelector('.heat');
const rows = heat.querySelector('.rows');
let data = null;
let chosen = null;
let moment = null;    // the frame of the flow map
const sections = new Map(); // by run and block: {node, made, cursor, rows}

function tell(name, detail) {
  document.dispatchEvent(new CustomEvent(name, {detail: {map: props.name, ...detail}}));
}

// One colour a state, without elements of their own: a gradient with hard edges.
function cells(states, place) {
  const last = states.length;
  const stops = states.map((state, i) => {
    const sure = state.sure ? state.sure[place] : 0;
    const colour = 'color-mix(in oklab, var(--sure) ' + (100 * sure).toFixed(1) + '%, var(--unsure))';
    return colour + ' ' + (100 * i / last).toFixed(3) + '% ' + (100 * (i + 1) / last).toFixed(3) + '%';
  });
  return 'linear-gradient(to right, ' + stops.join(', ') + ')';
}

function row(run, b, place) {
  const block = run.blocks[b], states = block.states, count = states.length;
  const node = document.createElement('div');
  node.className = 'row';
  node.setAttribute('role', 'option');
  node.tabIndex = -1;
  const last = states.at(-1);
  const word = last.words ? label(last.words[place]) : '·';
  const settled = block.settled?.[place];
  const at = settled === undefined ? null : states[settled].noise[place];
  const parts = ['word', 'cells', 'noise'].map(name => {
    const part = document.createElement('span');
    part.className = name;
    node.append(part);
    return part;
  });
  const outside = !data.isText(run, b, place);
  parts[0].textContent = word;
  parts[0].classList.toggle('outside', outside);
  parts[1].style.backgroundImage = cells(states, place);
  if (settled === undefined || settled > 0) {
    const grainy = document.createElement('span');
    grainy.className = 'grainy';
    grainy.style.width = 100 * (settled ?? count) / count + '%';
    parts[1].append(grainy);
  }
  if (settled !== undefined) {
    const mark = document.createElement('span');
    mark.className = 'mark';
    mark.style.left = 100 * settled / count + '%';
    parts[1].append(mark);
  }
  parts[2].textContent = at === null ? '' : decimals(at) + ' %';
  const sure = last.sure ? ', ' + percent(last.sure[place]) + ' sure' : '';
  const how = at === null ? 'still being decided' : 'settled at ' + decimals(at) + ' % noise, step ' + states[settled].step;
  const which = word + (outside ? ' (after the end of the text)' : '');
  node.setAttribute('aria-label', 'block ' + (b + 1) + ', place ' + (place + 1) + ': ' + which + ', ' + how + sure);
  node.addEventListener('click', event => {
    tell('flow:choose', {run: run.run, block: b, place});
    const box = parts[1].getBoundingClientRect();
    const index = Math.floor(count * (event.clientX - box.left) / box.width);
    if (index >= 0 && index < count) tell('flow:seek', {run: run.run, block: b, step: states[index].step});
  });
  node.path = {run: run.run, block: b, place};
  return node;
}

// A section for every block, made anew only when the block has changed.
function build() {
  const wanted = [];
  let changed = false;
  for (const run of data.list) {
    run.blocks.forEach((block, b) => {
      const key = run.run + ' ' + b;
      wanted.push(key);
      const made = [data.serial, block.states.length, Boolean(block.settled), data.runs.size].join();
      if (!block.states.length || sections.get(key)?.made === made) return;
      changed = true;
      const section = {made, node: document.createElement('div'), rows: [], cursor: null};
      section.node.className = 'section';
      const title = document.createElement('p');
      title.className = 'title';
      title.textContent = (data.runs.size > 1 ? run.label + ', block ' : 'Block ') + (b + 1);
      for (let place = 0; place < run.places; place += 1) if (!data.pinned(run, b, place)) section.rows.push(row(run, b, place));
      section.node.append(title, ...section.rows);
      if (sections.has(key)) sections.get(key).node.replaceWith(section.node);
      sections.set(key, section);
    });
  }
  for (const [key, section] of sections) if (!wanted.includes(key)) { section.node.remove(); sections.delete(key); }
  wanted.filter(key => sections.has(key)).forEach((key, i) => {
    const node = sections.get(key).node;
    if (rows.children[i] !== node) rows.insertBefore(node, rows.children[i] ?? null);
  });
  if (changed) about();
  return changed;
}

// Where the words of the text settled, in the order of their bars: {at: of the bar, from 0 to 1, state, noise, word}.
function bars() {
  const found = [];
  for (const run of data.list) run.blocks.forEach((block, b) => block.settled?.forEach((index, place) => {
    if (data.pinned(run, b, place) || !data.isText(run, b, place)) return;
    const state = block.states[index];
    const word = label(block.end.words[place]);
    found.push({at: index / block.states.length, state, noise: state.noise[place], word});
  }));
  return found.sort((a, b) => a.at - b.at);
}

function when({step, of}) { return step ? 'after ' + step + ' of ' + of + ' steps' : 'before the first step'; }

// The one word, or how many at once, that settled first or last.
function told(same, how) {
  const [{state, noise, word}] = same;
  return same.length === 1 ? '“' + word + '” was ' + how + ' (' + when(state) + ', at ' + decimals(noise) + ' % noise)'
    : same.length + ' were ' + how + ' together (' + when(state) + ')';
}

// Do the places of a block have a noise each, as with stagger?
function isStaggered() {
  return data.list.some(run => run.blocks.some((block, b) => block.states.some(state =>
    new Set(state.noise.filter((_, place) => !data.pinned(run, b, place))).size > 1)));
}

// When the words of the text settled, and which of them first and last.
function settling(all) {
  const [first, last] = [all[0], all.at(-1)].map(({at}) => all.filter(one => one.at === at)), count = all.length;
  const [{state, noise, word}] = all;
  if (count === 1) return '“' + word + '” settled ' + when(state) + ', at ' + decimals(noise) + ' % noise';
  if (first.length === count) return 'All ' + count + ' words settled ' + when(state);
  if (first.length > 1 && 2 * first.length >= count) {
    return first.length + ' of the ' + count + ' words settled ' + when(state) + ', ' + told(last, 'last');
  }
  const half = when(all[Math.ceil(count / 2) - 1].state);
  return 'Half of the ' + count + ' words had settled ' + half + '; ' + told(first, 'first') + ', ' + told(last, 'last');
}

// What a noise means where the places of a block have not the same.
function ownNoise(all) {
  const early = all.some(({noise}) => noise === 100);
  return 'Places follow one another here, so each has its own noise'
    + (early ? ': at 100 %, a word had settled before its own began to fall' : '');
}

// The same as the picture, in sentences.
function about() {
  const all = bars(), sentences = ['From left to right, noise becomes a word'];
  if (all.length) {
    sentences[0] += '; the bar marks where a word settled';
    sentences.push(settling(all));
    if (isStaggered()) sentences.push(ownNoise(all));
  }
  if (rows.querySelector('.outside')) sentences.push('Words in grey came after the end of the text and are not counted');
  sayQuoting(heat.querySelector('.about'), sentences.join('. ') + '.');
}

// Where each block stands in this frame, as two numbers that its cells draw.
function point() {
  for (const [key, section] of sections) {
    const [id, b] = [key.slice(0, key.lastIndexOf(' ')), Number(key.slice(key.lastIndexOf(' ') + 1))], run = data.runs.get(id);
    const moves = moment && run && (moment.block === null || moment.block === b);
    const index = moves ? data.stateIndex(run, b, moment) : -1, count = run ? run.blocks[b].states.length : 1;
    const cursor = index < 0 ? '' : index + '/' + count;
    if (cursor === section.cursor) continue;
    section.cursor = cursor;
    section.node.classList.toggle('now', index >= 0);
    section.node.style.setProperty('--at', 100 * index / count + '%');
    section.node.style.setProperty('--wide', 100 / count + '%');
  }
}

function select() {
  for (const node of rows.querySelectorAll('.row')) {
    const path = node.path, is = Boolean(chosen) && path.run === chosen.run && path.block === chosen.block && path.place === chosen.place;
    node.setAttribute('aria-selected', is);
    node.tabIndex = is ? 0 : -1;
  }
  if (!rows.querySelector('[tabindex="0"]')) rows.querySelector('.row')?.setAttribute('tabindex', 0);
}

rows.addEventListener('keydown', event => {
  const all = [...rows.querySelectorAll('.row')], i = all.indexOf(document.activeElement);
  if (i < 0) return;
  const to = {ArrowDown: i + 1, ArrowUp: i - 1, Home: 0, End: all.length - 1}[event.key];
  const {run: id, block, place} = all[i].path, run = data.runs.get(id);
  if (to !== undefined && all[to]) {
    tell('flow:choose', all[to].path);
    all[to].focus();
  } else if (event.key === 'ArrowLeft' || event.key === 'ArrowRight') {
    const index = moment ? data.stateIndex(run, block, moment) : 0;
    const states = run.blocks[block].states;
    const next = Math.max(0, Math.min(states.length - 1, index + (event.key === 'ArrowRight' ? 1 : -1)));
    tell('flow:choose', {run: id, block, place});
    tell('flow:seek', {run: id, block, step: states[next].step});
  } else if (event.key === 'Enter' || event.key === ' ') {
    tell('flow:choose', {run: id, block, place});
  } else return;
  event.preventDefault();
});

// The heat map as one picture, every row of it, drawn anew from what its rows show.
function drawn() {
  const SVG = 'http://www.w3.org/2000/svg', [WIDTH, LEFT, RIGHT, ROW] = [1000, 170, 930, 26];
  const plainIn = css => plainColour(css, heat);
  const ink = plainIn('var(--ink)'), muted = plainIn('var(--ink-muted)'), sheet = plainIn('var(--sheet)'), fonts = getComputedStyle(heat).fontFamily;
  const node = (name, attributes, text = '') => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.textContent = text;
    return made;
  };
  const parts = [];
  let y = 16;
  const write = (text, x, size, fill, anchor = 'start') => parts.push(node('text', {x, y, 'font-size': size, fill, 'text-anchor': anchor}, text));
  for (const [text, x, anchor] of [['word', 12], ['from noise to word', LEFT], ['settled at noise', WIDTH - 12, 'end']]) write(text, x, 12, muted, anchor);
  for (const run of data.list) run.blocks.forEach((block, b) => {
    if (!block.states.length) return;
    y += 18;
    write((data.runs.size > 1 ? run.label + ', block ' : 'Block ') + (b + 1), 12, 13, muted);
    for (let place = 0; place < run.places; place += 1) {
      if (data.pinned(run, b, place)) continue;
      y += ROW;
      const count = block.states.length, wide = (RIGHT - LEFT) / count, settled = block.settled?.[place];
      write(label(block.states.at(-1).words?.[place] ?? '·').slice(0, 18), 12, 16, data.isText(run, b, place) ? ink : muted);
      block.states.forEach((state, i) => {
        const fill = plainIn('color-mix(in oklab, var(--sure) ' + 100 * (state.sure?.[place] ?? 0) + '%, var(--unsure))');
        parts.push(node('rect', {x: LEFT + i * wide, y: y - 15, width: wide + 0.3, height: 20, fill}));
      });
      const open = (settled ?? count) * wide;
      if (open) parts.push(node('rect', {x: LEFT, y: y - 15, width: open, height: 20, fill: 'url(#grain)'}));
      if (settled === undefined) continue;
      parts.push(node('rect', {x: LEFT + open - 1.5, y: y - 17, width: 3, height: 24, fill: ink}));
      write(decimals(block.states[settled].noise[place]) + ' %', WIDTH - 12, 13, muted, 'end');
    }
    y += 10;
  });
  for (const sentence of heat.querySelector('.about').textContent.split(/(?<=[.;]) /)) {
    y += 18;
    write(sentence, 12, 12, muted);
  }
  const svg = node('svg', {xmlns: SVG, width: WIDTH, height: y + 14, viewBox: '0 0 ' + WIDTH + ' ' + (y + 14), 'font-family': fonts});
  const grain = node('pattern', {id: 'grain', width: 5, height: 5, patternUnits: 'userSpaceOnUse'});
  grain.append(...[[1, 1], [3.5, 2.5], [1.5, 4]].map(([cx, cy]) => node('circle', {cx, cy, r: 0.7, fill: muted, opacity: 0.6})));
  const defs = node('defs', {});
  defs.append(grain);
  svg.append(defs, node('rect', {width: WIDTH, height: y + 14, fill: sheet}), ...parts);
  return svg;
}

connectSaving(heat, format => savePicture(drawn(), 'heat-map', format));

const listener = event => {
  if (!element.isConnected) return document.removeEventListener('flow:frame', listener);
  if (event.detail.map !== props.name) return;
  data = event.detail.data;
  moment = event.detail.frame;
  heat.hidden = !data.runs.size;
  const changed = build(), other = JSON.stringify(chosen) !== JSON.stringify(event.detail.chosen);
  chosen = event.detail.chosen;
  point();
  if (changed || other) select();
};
document.addEventListener('flow:frame', listener);
tell('flow:ask', {});

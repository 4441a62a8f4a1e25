const KEY = 'coladlm-tour';
const [GAP, EDGE, AROUND, ROUND] = [12, 10, 4, 8];  // px: from ring to card, to the window's edge, from target to ring, its corners
const invite = element.querySelector('.invite');
const walk = element.querySelector('.walk');
const card = walk.querySelector('.card');
const part = name => walk.querySelector('.' + name);
const text = name => document.querySelector('#text ' + name);  // of the stage
let steps = [];        // those whose target is on the page
let at = 0;
let before = null;     // how the page was when the walk began; null while there is none

function remembered() {
  try { return localStorage.getItem(KEY) !== null; } catch { return true; }  // no storage: it would come every time
}

function remember() {
  invite.hidden = true;
  document.documentElement.classList.add('toured');
  try { localStorage.setItem(KEY, 'seen'); } catch { return; }
}

// The tabs that can be pressed, those in the menu of a narrow page among them.
function tabs() {
  return [...document.querySelectorAll('#tabs > .tab-wrapper :is([role="tab"], .overflow-dropdown button)')];
}

const openTab = () => tabs().find(tab => tab.classList.contains('selected'))?.textContent;
const pressTab = name => tabs().find(tab => tab.textContent === name)?.click();

// What the stage shows: its value, and where in it the player stands.
function stage() {
  const asked = {};
  text('.strip')?.closest('.workbench')?.dispatchEvent(new CustomEvent('card:ask', {detail: asked}));
  return {...asked.strip, at: text('.look input')?.value, playing: text('.strip')?.classList.contains('playing'), scroll: text('.page')?.scrollTop};
}

function seek(to) {
  const slider = text('.look.ready input');
  if (!slider) return;
  slider.value = to;
  slider.dispatchEvent(new Event('input', {bubbles: true}));
}

// The place of the player at which a finished run shows a moment of a step: of the block that begins in most doubt.
function placeOf(moment) {
  const blocks = JSON.parse(stage().look || '[]');
  const length = list => list.reduce((total, block) => total + block.steps.length, 0);
  if (!blocks.length || !['noise', 'doubt', 'settled'].includes(moment)) return length(blocks);
  const sure = block => block.sure.slice(0, block.count).reduce((total, percent) => total + percent, 0) / block.count;
  const watched = blocks.reduce((least, block) => sure(block) < sure(least) ? block : least);
  const last = watched.steps.length - 1, half = watched.noise.findIndex(percent => percent <= 50);
  const within = {noise: 0, doubt: half < 0 ? last : half, settled: last}[moment];
  return length(blocks.slice(0, blocks.indexOf(watched))) + within;
}

// What a step points at: of the words the one that was clicked, with its card, or else the least sure.
function targets(step = steps[at]) {
  const found = [...document.querySelectorAll(step.target)].filter(node => node.checkVisibility());
  if (step.moment !== 'word' || !found.length) return found;
  const sure = word => Number(word.style.getPropertyValue('--confidence'));
  const words = found.filter(word => /\p{L}{2}/u.test(word.textContent));
  const word = found.find(one => one.classList.contains('chosen')) ?? words.sort((a, b) => sure(a) - sure(b))[0] ?? found[0];
  const shown = document.querySelector('#token .card');
  return shown?.checkVisibility() ? [word, shown] : [word];
}

const isFixed = node => getComputedStyle(node).position === 'fixed';

// Where the part of the window ends in which something can be seen: on a phone, Run and Stop stand at its edge.
function floor() {
  const bar = document.querySelector('#generate .run-controls');
  return bar?.checkVisibility() && isFixed(bar) ? bar.getBoundingClientRect().top : innerHeight;
}

// And where that part ends in which the card may stand: in a low window, over Run and Stop, unless it speaks of them.
function cardFloor() {
  return matchMedia('(max-height: 480px)').matches && !targets().some(isFixed) ? innerHeight : floor();
}

// What is pointed at, as one box; null where there is nothing, or nothing that moves with the page.
function box() {
  const all = targets().filter(node => !isFixed(node)).map(node => node.getBoundingClientRect());
  if (!all.length) return null;
  const [left, top] = ['left', 'top'].map(side => Math.min(...all.map(one => one[side])) - AROUND);
  const [right, bottom] = ['right', 'bottom'].map(side => Math.max(...all.map(one => one[side])) + AROUND);
  return {left, top, right, bottom};
}

// [left, top] of the card: below, above or beside what is pointed at, all of which is in sight then; else null.
function spot() {
  const there = box(), wide = document.documentElement.clientWidth, low = cardFloor();
  if (!there || there.top < 0 || there.bottom > floor()) return null;
  const {offsetWidth: width, offsetHeight: height} = card;
  const x = Math.max(EDGE, Math.min(there.left, wide - width - EDGE)), y = Math.max(EDGE, Math.min(there.top, low - height - EDGE));
  if (there.bottom + GAP + height + EDGE <= low) return [x, there.bottom + GAP];
  if (there.top - GAP - height - EDGE >= 0) return [x, there.top - GAP - height];
  if (there.right + GAP + width + EDGE <= wide) return [there.right + GAP, y];
  if (there.left - GAP - width - EDGE >= 0) return [there.left - GAP - width, y];
  return null;
}

// Scrolls what is pointed at into sight, and as far as the card needs below it. At once: the ring says where it is.
function reveal() {
  if (!box() || spot()) return;
  targets()[0].scrollIntoView({block: 'center', behavior: 'instant'});  // within the stage too
  if (spot()) return;
  const {top, bottom} = box(), beyond = bottom + GAP + card.offsetHeight + EDGE - cardFloor();
  scrollBy({top: top < EDGE ? top - EDGE : Math.min(top - EDGE, beyond), behavior: 'instant'});
}

function place() {
  if (!before) return;
  const there = box(), low = cardFloor();
  const free = there && there.top > low - there.bottom ? EDGE : low - card.offsetHeight - EDGE;  // where nothing fits
  const fits = spot();
  card.classList.toggle('aside', !fits && targets().length > 1 && steps[at].moment === 'word');  // until the word's card is closed
  const [left, top] = fits ?? [Math.max(EDGE, (document.documentElement.clientWidth - card.offsetWidth) / 2), free];
  Object.assign(card.style, {left: left + 'px', top: top + 'px'});
  const rings = targets().map(node => {
    const {left, top, width, height} = node.getBoundingClientRect(), [w, h] = [width + 2 * AROUND, height + 2 * AROUND];
    const r = Math.min(ROUND, h / 2), arc = (x, y) => `a${r} ${r} 0 0 1 ${x * r} ${y * r}`;
    return `M${left - AROUND + r} ${top - AROUND}h${w - 2 * r}${arc(1, 1)}v${h - 2 * r}${arc(-1, 1)}h${2 * r - w}${arc(-1, -1)}v${2 * r - h}${arc(1, -1)}z`;
  }).join('');
  part('ring').setAttribute('d', rings);
  part('shade').setAttribute('d', rings && `M0 0h${innerWidth}v${innerHeight}H0z${rings}`);
}

const sizes = new ResizeObserver(place);

function show(to) {
  at = Math.max(0, Math.min(steps.length - 1, to));
  const step = steps[at], last = at === steps.length - 1;
  part('count').textContent = (stage().recorded ? 'A recorded run · ' : '') + (at + 1) + ' of ' + steps.length;
  card.querySelector('h2').textContent = step.title;
  part('words').textContent = step.text;
  if (at === 0 && document.activeElement === part('back')) part('next').focus();
  part('back').disabled = at === 0;
  part('next').textContent = last ? 'Write your own' : 'Next';
  seek(placeOf(step.moment));
  reveal();
  place();
  sizes.disconnect();
  for (const node of [...targets(), ...document.querySelectorAll('#token .card')]) sizes.observe(node);
}

// The stage stands on the first tab, which may not have been shown yet.
async function openStage() {
  if (!text('.strip')?.checkVisibility()) tabs()[0]?.click();
  for (let frames = 0; frames < 120 && !text('.strip')?.checkVisibility(); frames++) await new Promise(requestAnimationFrame);
}

async function begin() {
  if (before || document.querySelector('dialog[open]')) return;
  before = {focus: document.activeElement, tab: openTab(), scroll: scrollY};
  remember();
  await openStage();
  before.stage = stage();
  steps = props.steps;
  seek(placeOf('end'));  // the words that can be clicked are there then
  steps = props.steps.filter(step => targets(step).length);
  walk.showPopover();
  show(0);
  card.querySelector('h2').focus({preventScroll: true});
}

// Puts the page back, unless the visitor has begun something else on it.
function leave() {
  const {stage: was, tab, scroll, focus} = before, now = stage();
  if (was.run !== now.run || was.look !== now.look) return null;
  seek(was.at);
  if (was.playing) text('.play').click();
  if (text('.page')) text('.page').scrollTop = was.scroll;
  if (openTab() !== tab && openTab() === tabs()[0]?.textContent) pressTab(tab);
  scrollTo({top: scroll, behavior: 'instant'});
  return focus !== document.body && focus.checkVisibility() ? focus : null;
}

function end(back = true) {
  walk.hidePopover();
  sizes.disconnect();
  const focus = (back && leave()) || document.querySelector('#generate button.run');
  before = null;
  focus?.focus({preventScroll: true});
}

element.querySelector('.begin').addEventListener('click', begin);
element.querySelector('.no').addEventListener('click', remember);
part('back').addEventListener('click', () => show(at - 1));
part('end').addEventListener('click', () => end());
part('next').addEventListener('click', () => at < steps.length - 1 ? show(at + 1) : end(false));
// Before the page's own keys, and only while one is at the card or nowhere.
document.addEventListener('keydown', event => {
  const here = card.contains(document.activeElement) || document.activeElement === document.body;
  if (!walk.matches(':popover-open') || !here || document.querySelector('dialog[open]')) return;
  if (event.key === 'Escape') end();
  else if (event.key === 'ArrowRight') show(at + 1);
  else if (event.key === 'ArrowLeft') show(at - 1);
  else return;
  event.preventDefault();
  event.stopPropagation();
}, true);
addEventListener('resize', () => { if (walk.matches(':popover-open')) { reveal(); place(); } });
document.addEventListener('scroll', place, {capture: true, passive: true});
window.addEventListener('coladlm-tour', begin);
invite.hidden = remembered();

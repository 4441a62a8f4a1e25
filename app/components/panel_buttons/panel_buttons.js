const offers = element.querySelector('.offers');
const bench = element.closest('.workbench');
const place = element.closest('.views') ?? element;
const buttons = new Map();
const UNDER_WAY = ['starting', 'running', 'stopping'];
let open = null;       // the id of the panel that is shown

offers.setAttribute('aria-label', props.heading);
offers.querySelector('.heading').textContent = props.heading;

function button(id, words) {
  const node = document.createElement('button');
  node.type = 'button';
  node.className = 'offer';
  node.setAttribute('aria-expanded', 'false');
  node.setAttribute('aria-controls', id);
  const told = document.createElement('span');
  told.className = 'told';
  node.append(words, told);
  node.addEventListener('click', () => {
    keepPlace();
    show(open === id ? null : id);
  });
  buttons.set(id, node);
  offers.append(node);
}

// Gradio fetches the script of a panel by itself: a button may be pressed before its panel is there.
const late = new MutationObserver(() => {
  if (open !== null && !document.getElementById(open)) return;
  late.disconnect();
  if (open !== null) show(open);
});

function show(id) {
  open = id;
  if (id !== null && !document.getElementById(id)) late.observe(bench, {subtree: true, childList: true});
  buttons.forEach((node, one) => {
    const panel = document.getElementById(one);
    node.setAttribute('aria-expanded', String(one === id));
    panel?.toggleAttribute('data-shown', one === id);
    // gradio makes what is in an accordion when that is opened by its own button, which the page hides
    if (one === id) panel?.querySelector(':scope > button:not(.open)')?.click();
  });
  mark();
}

// A page that became shorter than where it is scrolled to would jump under the pointer: it stays as high as that needs
// until it is scrolled back.
function keepPlace() {
  const spare = Math.max(0, document.documentElement.scrollHeight - window.scrollY - window.innerHeight);
  place.style.minHeight = Math.max(0, place.offsetHeight - spare) + 'px';
}

window.addEventListener('scroll', () => {
  if (place.style.minHeight) keepPlace();
}, {passive: true});

offers.addEventListener('keydown', event => {
  const all = [...buttons.values()];
  const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
  const at = all.indexOf(event.target);
  if (!step || at < 0) return;
  event.preventDefault();
  all[(at + step + all.length) % all.length].focus({preventScroll: true});
});

// What a visitor does not see happen is marked at the button.
const unseen = new Set();

function mark() {
  buttons.forEach((node, id) => {
    const run = document.getElementById(id)?.dataset.runState ?? 'idle';
    const underWay = UNDER_WAY.includes(run);
    if (underWay) unseen.add(id);
    if (id === open || (!underWay && run !== 'ended')) unseen.delete(id);
    const told = !unseen.has(id) ? '' : underWay ? ' (under way)' : ' (finished)';
    node.dataset.run = run;
    if (node.lastChild.textContent !== told) node.lastChild.textContent = told;
  });
}

props.panels.forEach(([id, words]) => button(id, words));
new MutationObserver(mark).observe(bench, {subtree: true, attributes: true, attributeFilter: ['data-run-state']});

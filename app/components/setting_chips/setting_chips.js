const chips = element.querySelector('.chips');
const bench = element.closest('.workbench');
const list = () => bench.querySelector('.setting-list');
const buttons = new Map();
const LONGEST = 18;    // letters of a text
let open = null;       // the name of the setting that is shown

function button(name, ...parts) {
  const node = document.createElement('button');
  node.type = 'button';
  node.className = 'chip';
  node.dataset.name = name;
  node.setAttribute('aria-expanded', 'false');
  node.append(...parts);
  node.addEventListener('click', () => show(open === name ? null : name));
  buttons.set(name, node);
  chips.append(node);
}

function show(name) {
  const settings = list();
  open = name;
  settings.classList.toggle('unfolded', name !== null);
  bench.classList.toggle('settings-beside', name === 'all');
  settings.classList.toggle('one', name !== null && name !== 'all');
  settings.querySelectorAll('.shown').forEach(node => node.classList.remove('shown'));
  if (name) settings.querySelectorAll('.set-' + name).forEach(node => node.classList.add('shown'));
  buttons.forEach((node, one) => node.setAttribute('aria-expanded', String(one === name)));
  if (name && name !== 'all') settings.querySelector('.shown :is(input, textarea, select)')?.focus({preventScroll: true});
}

bench.addEventListener('keydown', event => {
  if (event.key !== 'Escape' || !open || !list().contains(event.target)) return;
  const last = buttons.get(open);
  show(null);
  last.focus();
});

props.chips.forEach(([name, before, after]) => button(name, before, document.createElement('b'), after));
button('all', 'All settings');

function shown(value, end) {
  if (value === '') return 'nothing';
  const text = typeof value === 'number' ? String(Number(value.toFixed(4))) : String(value ?? '–');
  const letters = Array.from(text.trim());
  if (letters.length <= LONGEST) return letters.join('');
  return end ? '…' + letters.slice(-LONGEST).join('').replace(/^\S+(?=\s)/, '') : letters.slice(0, LONGEST).join('') + '…';
}

function draw() {
  props.chips.forEach(([name,, after], i) => {
    const value = props.value?.[i], rare = props.rare?.includes(name), node = buttons.get(name);
    node.hidden = rare && !value;
    if (node.hidden && open === name) show(null);
    node.querySelector('b').textContent = shown(value, rare);
    // " texts" of one are " text", and " steps a block" " step a block"
    if (/^ \w+s\b/.test(after ?? '')) buttons.get(name).lastChild.textContent = value === 1 ? after.replace(/s\b/, '') : after;
  });
}

watch('value', draw);
draw();

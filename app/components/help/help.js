const KEY = 'coladlm-single-keys';
// gradio keeps the tabs that a narrow page has no room for in a menu
const TABS = '#tabs [role="tab"], #tabs .overflow-dropdown button';
const sheet = element.querySelector('dialog');
const on = element.querySelector('.on');

function stored(key) {
  try { return localStorage.getItem(key); } catch { return null; }
}

on.checked = stored(KEY) !== 'off';
on.addEventListener('change', () => {
  try { localStorage.setItem(KEY, on.checked ? 'on' : 'off'); } catch (error) { on.title = 'Not remembered: ' + error.message; }
});
element.querySelector('.keys tbody').replaceChildren(...props.shortcuts.map(([key, what]) => {
  const row = document.createElement('tr');
  const head = Object.assign(document.createElement('th'), {scope: 'row'});
  head.append(Object.assign(document.createElement('kbd'), {textContent: key}));
  row.append(head, Object.assign(document.createElement('td'), {textContent: what}));
  return row;
}));
element.querySelector('.words').replaceChildren(...props.glossary.flatMap(([word, what]) => [
  Object.assign(document.createElement('dt'), {textContent: word}), Object.assign(document.createElement('dd'), {textContent: what}),
]));

function open() {
  if (!document.querySelector('dialog[open]')) sheet.showModal();
}

element.querySelector('.open').addEventListener('click', open);
element.querySelector('.close').addEventListener('click', () => sheet.close());
sheet.addEventListener('click', event => event.target === sheet && sheet.close());
element.querySelector('.tour').addEventListener('click', () => {
  sheet.close();
  window.dispatchEvent(new Event('coladlm-tour'));
});

function bench() {
  return [...document.querySelectorAll('.workbench')].find(node => node.offsetParent !== null);
}

// Those of the tab itself: what stands beside has a Stop of its own.
function press(name) {
  const there = bench();
  const button = there && there.querySelector('.run-controls .' + name);
  if (button && !button.disabled) button.click();
  return Boolean(button);
}

function typing(node) {
  return node && (node.isContentEditable || ['TEXTAREA', 'SELECT'].includes(node.tagName) || (node.tagName === 'INPUT' && !['checkbox', 'radio', 'range', 'button'].includes(node.type)));
}

// Where Esc has nothing to close: in a prompt, on Run, and where nothing has the focus.
function stops(node) {
  return node.tagName === 'TEXTAREA' || node === document.body || Boolean(node.closest('.run-controls'));
}

document.addEventListener('keydown', event => {
  if (document.querySelector('dialog[open]') || event.defaultPrevented) return;
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
    if (press('run')) event.preventDefault();
    return;
  }
  if (event.key === 'Escape' && stops(event.target)) press('stop');
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target) || !on.checked) return;
  const tab = Number(event.key);
  let done = true;
  if (event.key === '?') open();
  else if (event.key === 'r') press('run');
  else if (event.key === 's') press('stop');
  else if (event.key === 'h') document.querySelector('.own-history .open').click();
  else if (event.key === '/') {
    const field = bench() && bench().querySelector('textarea');
    if (field) field.focus();
  } else if (tab >= 1 && tab <= props.tabs.length) {
    const named = [...document.querySelectorAll(TABS)].find(node => node.textContent.trim() === props.tabs[tab - 1]);
    if (named) {
      named.click();
      named.focus(); // or the next Tab would go on from where the last tab has hidden it
    }
  } else done = false;
  if (done) event.preventDefault();
});

/* global make, saveBlob */
const KEY = 'coladlm-history';
const MOST = 200;         // entries that are not pinned
const EVENTS = {generate: 'open_generate', interpolate: 'open_interpolate', edit: 'open_edit', trajectories: 'open_trajectories'};
const sheet = element.querySelector('dialog');
const list = element.querySelector('.list');
const find = element.querySelector('.find');
const outcome = element.querySelector('.outcome');
const note = element.querySelector('.note');
let unkept = null;         // the entries, where the browser does not keep them

function read() {
  if (unkept) return unkept;
  try {
    const found = JSON.parse(localStorage.getItem(KEY));
    return Array.isArray(found) ? found.filter(sound) : [];
  } catch {
    return [];
  }
}

function sound(entry) {
  return entry && typeof entry === 'object' && typeof entry.id === 'string' && entry.recipe && Array.isArray(entry.recipe.texts)
    && entry.recipe.texts.every(text => typeof text === 'string') && typeof entry.recipe.operation === 'string';
}

// Says beside the button what becomes of the history.
function write(entries) {
  let free = 0;
  const wanted = entries.filter(entry => entry.pinned || free++ < MOST);
  const [kept, reason] = store(wanted);
  unkept = kept ? null : wanted;
  const gone = kept ? wanted.length - kept.length : 0;
  note.textContent = !kept ? reason + ' The history lasts until this page is closed.'
    : gone ? reason + ' Entries let go, the oldest first: ' + gone + '.' : '';
  return Boolean(kept);
}

// [the entries that the browser keeps now, or null; why it does not keep them all]
function store(entries) {
  let kept = entries, reason = '';
  while (true) {
    try {
      localStorage.setItem(KEY, JSON.stringify(kept));
      return [kept, reason];
    } catch (error) {
      if (error.name !== 'QuotaExceededError') return [null, 'This browser stores nothing for this page.'];
      reason = "This browser's storage is full.";
      const last = kept.findLastIndex(entry => !entry.pinned);
      if (last < 1) return [null, reason];    // not even the newest has room
      kept = kept.filter((_, i) => i !== last);
    }
  }
}

function button(name, label, about, act) {
  const node = make('button', name, label);
  node.type = 'button';
  node.setAttribute('aria-label', about);
  node.addEventListener('click', act);
  return node;
}

function titleOf(entry) {
  return entry.name || entry.recipe.texts.map(text => text.trim() || 'no prompt').join(' → ').slice(0, 160);
}

function change(id, act) {
  const entries = read();
  const at = entries.findIndex(entry => entry.id === id);
  if (at >= 0) act(entries, at);
  write(entries);
  draw();
}

function facts(entry) {
  const settings = entry.recipe.settings || {};
  const label = (props.tabs.find(tab => tab[0] === entry.tab) || [])[1] || entry.recipe.operation;
  const parts = [label, new Date(entry.at).toLocaleString(), 'seed ' + settings.seed, settings.steps + ' steps', 'guidance ' + settings.guidance];
  if (entry.recipe.variations > 1) parts.push(entry.recipe.variations + ' variations');
  return parts.join(' · ');
}

// written: the recipe as it goes to the server. That of a file goes as it stands: a number that the browser cannot hold would
// be another one here.
function ask(recipe, tab, source, written = JSON.stringify(recipe)) {
  const fits = props.tabs.filter(known => known[2].includes(recipe.operation)).map(known => known[0]);
  const to = fits.includes(tab) ? tab : fits[0];
  if (!to) {
    outcome.textContent = 'This page has no tab for the operation ' + recipe.operation + '.';
    return;
  }
  sheet.close();
  trigger(EVENTS[to], {recipe: written, source});
}

function row(entry) {
  const node = make('li', entry.pinned ? 'entry pinned' : 'entry');
  const title = titleOf(entry);
  const open = button('title', title, 'Open: ' + title, () => ask(entry.recipe, entry.tab, 'history'));
  open.dir = 'auto';
  open.translate = false;
  node.append(open);
  if (entry.result) node.append(Object.assign(make('p', 'result', entry.result), {dir: 'auto', translate: false}));
  node.append(make('p', 'facts', facts(entry)));
  if (entry.recipe.model && props.value.fingerprint && entry.recipe.model !== props.value.fingerprint) {
    node.append(make('p', 'other', 'Made with another model: here it gives another text.'));
  }
  const acts = make('div', 'acts');
  acts.append(
    button('pin', entry.pinned ? 'Unpin' : 'Pin', (entry.pinned ? 'Unpin: ' : 'Pin: ') + title, () => change(entry.id, (all, i) => { all[i].pinned = !all[i].pinned; })),
    button('name', 'Name', 'Give a name to: ' + title, () => rename(node, entry)),
    button('delete', 'Delete', 'Delete: ' + title, () => change(entry.id, (all, i) => { all.splice(i, 1); })),
  );
  node.append(acts);
  return node;
}

function rename(node, entry) {
  const field = make('input', 'rename');
  field.value = entry.name || '';
  field.setAttribute('aria-label', 'Name');
  field.maxLength = 80;
  const keep = () => change(entry.id, (all, i) => { all[i].name = field.value.trim(); });
  field.addEventListener('keydown', event => {
    if (event.key === 'Enter') keep();
    if (event.key === 'Escape') { event.preventDefault(); draw(); }
  });
  field.addEventListener('change', keep);
  node.querySelector('.title').replaceWith(field);
  field.focus();
}

function draw() {
  const words = find.value.trim().toLowerCase();
  const entries = read().sort((a, b) => Boolean(b.pinned) - Boolean(a.pinned) || b.at - a.at);
  const shown = entries.filter(entry => [titleOf(entry), entry.result || '', ...entry.recipe.texts].join(' ').toLowerCase().includes(words));
  list.replaceChildren(...shown.map(row));
  if (!shown.length) list.append(make('li', 'none', words ? 'Nothing in the history has these words.' : 'Nothing yet: what you run is listed here.'));
}

async function take(file) {
  if (!file) return;
  if (file.size > 20e6) return void (outcome.textContent = 'The file has ' + file.size.toLocaleString() + ' bytes, expected at most 20 million.');
  const text = await file.text();
  let data;
  try {
    data = JSON.parse(text);
  } catch {
    return void (outcome.textContent = 'The file is empty or is not JSON, expected a recipe or an exported history.');
  }
  if (data && typeof data.operation === 'string' && Array.isArray(data.texts)) return ask(data, '', 'file', text);
  const found = data && Array.isArray(data.history) ? data.history.filter(sound) : null;
  if (!found) return void (outcome.textContent = 'The file holds neither a recipe nor a history.');
  const there = new Set(read().map(entry => entry.id));
  const more = found.filter(entry => !there.has(entry.id)).map(({id, at, tab, name, pinned, recipe, result}) =>
    ({id, at: Number(at) || 0, tab: String(tab || ''), name: String(name || ''), pinned: Boolean(pinned), recipe, result: String(result || '').slice(0, 300)}));
  write([...read(), ...more]);
  const counts = more.length + ' added, ' + (found.length - more.length) + ' were there already.';
  outcome.textContent = [counts, note.textContent].filter(Boolean).join(' ');
  draw();
}

element.querySelector('.open').addEventListener('click', () => {
  outcome.textContent = '';
  draw();
  sheet.showModal();
});
element.querySelector('.close').addEventListener('click', () => sheet.close());
sheet.addEventListener('click', event => event.target === sheet && sheet.close());
find.addEventListener('input', draw);
element.querySelector('.export').addEventListener('click', () => {
  const entries = read();
  saveBlob(new Blob([JSON.stringify({history: entries}, null, 1)], {type: 'application/json'}), 'coladlm-history.json');
  outcome.textContent = entries.length + ' saved as coladlm-history.json';
});
element.querySelector('.import').addEventListener('change', async event => {
  await take(event.target.files[0]);
  event.target.value = '';
});
if (window.location.search) trigger('linked', {query: window.location.search});
window.addEventListener('coladlm-ran', event => {
  const {recipe, tab, result, id} = event.detail;
  if (!recipe) return void (note.textContent = 'This run is too long for the history: save its recipe to keep it.');
  const entries = read();
  const same = entries.findIndex(entry => entry.id === id);
  const old = same >= 0 ? entries.splice(same, 1)[0] : {};
  write([{id, at: Date.now(), tab, name: old.name || '', pinned: Boolean(old.pinned), recipe, result: result || old.result || ''}, ...entries]);
  if (sheet.open && !list.querySelector('.rename')) draw();  // else the name that is being written would go
});

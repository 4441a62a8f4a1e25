/* global curlCommand, pythonScript, putOnClipboard, saveBlob */
const MOST = 50000;     // characters of a recipe in the history
// what a run has written, on the stage of each tab
const WRITTEN = '.strip .answer, .walk .now, .edited .list li:first-child .text, .flow .line:last-child .token';
const copy = element.querySelector('.copy');
const save = element.querySelector('.save');
const code = element.querySelector('.code');
const curl = element.querySelector('.curl');
const bench = element.closest('.workbench');
let kept = null;       // the recipe that is in the history, as JSON
const outcome = element.querySelector('.outcome');

function address() {
  const url = new URL(window.location.href);
  url.search = props.value.query;
  if (props.value.query && bench) url.searchParams.set('tab', bench.id);
  url.hash = '';
  return url.href;
}

function show() {
  const v = props.value;
  copy.disabled = !(v && v.query);
  save.disabled = code.disabled = curl.disabled = !(v && v.recipe);
  outcome.textContent = v && !v.query ? 'The prompt is too long for a link' : '';
  if (!v) return;
  window.history.replaceState(window.history.state, '', address() + window.location.hash);  // which names the tab
  window.dispatchEvent(new CustomEvent('coladlm-address'));
}

copy.addEventListener('click', async () => {
  try {
    await putOnClipboard(address(), copy);
    outcome.textContent = 'Copied';
  } catch (error) {
    outcome.textContent = 'Not copied (' + error.message + '): take it from the address bar';
  }
});

async function putCommand(button, make) {
  try {
    await putOnClipboard(make(), button);
    outcome.textContent = 'Copied';
  } catch (error) {
    outcome.textContent = 'Not copied: ' + error.message;
  }
}

// What the page says of its API; see `page_options`.
function served() {
  const about = document.querySelector('meta[name="coladlm-api"]');
  return about && JSON.parse(about.content);
}

code.addEventListener('click', () => putCommand(code, () => pythonScript(props.value.recipe)));
curl.addEventListener('click', () => putCommand(curl, () => curlCommand(props.value.recipe, document.baseURI, served())));

// The history is the browser's own: see history.js, which listens.
function remember(result) {
  const json = props.value && props.value.recipe;
  if (!json || (json === kept && !result)) return;
  kept = json;
  if (json.length > MOST) return void window.dispatchEvent(new CustomEvent('coladlm-ran', {detail: {recipe: null}}));
  const tab = bench ? bench.id : '';
  let hash = 5381;
  for (const letter of tab + json) hash = (hash * 33 + letter.codePointAt(0)) >>> 0;
  const detail = {recipe: JSON.parse(json), tab, result, id: hash.toString(36) + json.length.toString(36)};
  window.dispatchEvent(new CustomEvent('coladlm-ran', {detail}));
}

save.addEventListener('click', () => {
  saveBlob(new Blob([JSON.stringify(JSON.parse(props.value.recipe), null, 1)], {type: 'application/json'}), 'recipe.json');
  outcome.textContent = 'Saved as recipe.json';
});

if (bench) new MutationObserver(() => {
  if (bench.dataset.run !== 'done' || !props.value) return;
  setTimeout(() => {
    const text = Array.from(bench.querySelectorAll(WRITTEN), node => node.textContent).join('');
    remember(text.trim().slice(0, 300));
  }, 100);
}).observe(bench, {attributes: true, attributeFilter: ['data-run']});

watch('value', show);
watch('value', () => remember(''));
show();

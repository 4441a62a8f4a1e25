const copy = element.querySelector('.copy');
const told = element.querySelector('.told');

function address() {
  const url = new URL(window.location.href);
  url.search = props.value.query;
  url.hash = '';
  return url.href;
}

function show() {
  const v = props.value;
  copy.disabled = !(v && v.query);
  told.textContent = v && !v.query ? 'The prompt is too long for a link' : '';
  if (v) window.history.replaceState(window.history.state, '', address());
}

// Pages served over plain HTTP to another machine have no clipboard of the newer kind.
async function put(text) {
  if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(text);
  const area = document.createElement('textarea');
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand('copy');
  area.remove();
  copy.focus();
  if (!done) throw new Error('the browser refused');
}

copy.addEventListener('click', async () => {
  try {
    await put(address());
    told.textContent = 'Copied';
  } catch (error) {
    told.textContent = 'Not copied (' + error.message + '): take it from the address bar';
  }
});

watch('value', show);
show();

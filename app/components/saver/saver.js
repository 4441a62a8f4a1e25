/* global saveBlob */
const buttons = element.querySelector('.buttons');
const outcome = element.querySelector('.outcome');
element.querySelector('.what').textContent = props.what;
for (const [kind, name, hint] of props.kinds) {
  const button = Object.assign(document.createElement('button'), {type: 'button', textContent: name, title: hint});
  button.dataset.kind = kind;
  button.addEventListener('click', () => {
    props.value = null;   // else the same file once more were no change
    outcome.textContent = 'Making the file …';
    const asked = {look: null};
    runBench?.dispatchEvent(new CustomEvent('save:ask', {detail: asked}));
    trigger('select', {kind, look: asked.look, address: window.location.origin + window.location.pathname});
  });
  buttons.append(button);
}

watch('value', () => {
  const v = props.value;
  if (!v) return;
  outcome.textContent = v.message;
  if (!v.data) return;
  const bytes = Uint8Array.from(atob(v.data), c => c.charCodeAt(0));
  saveBlob(new Blob([bytes], {type: v.type}), v.name);
});

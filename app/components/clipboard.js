// Copies a text for a button, which keeps the focus. Pages served over plain HTTP to another machine have no clipboard of
// the newer kind. Throws where the browser refuses.
async function putOnClipboard(text, button) {
  if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(text);
  const area = document.createElement('textarea');
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand('copy');
  area.remove();
  button.focus();
  if (!done) throw new Error('the browser refused');
}

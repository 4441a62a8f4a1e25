/* global putOnClipboard */
// The buttons beside the commands of the results.
element.addEventListener('click', async event => {
  const button = event.target.closest('.copy-command');
  if (!button) return;
  const said = button.nextElementSibling;
  try {
    await putOnClipboard(button.closest('.result').querySelector('.command').textContent, button);
    said.textContent = 'Copied';
  } catch (error) {
    said.textContent = 'Not copied: ' + error.message;
  }
});

// A field of a number that is left empty goes back to the number that it had: gradio's sliders would make it their least.

let lastNumber = '';

function isNumberField(node) {
  return node instanceof HTMLInputElement && node.type === 'number';
}

document.addEventListener('focusin', event => {
  if (isNumberField(event.target)) lastNumber = event.target.value;
});

// before gradio's own listeners, at the field itself
document.addEventListener('blur', event => {
  const field = event.target;
  if (!isNumberField(field) || field.value !== '' || lastNumber === '') return;
  field.value = lastNumber;
  field.dispatchEvent(new Event('input', {bubbles: true}));
}, true);

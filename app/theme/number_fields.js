// A field of a number that is left empty goes back to the number that it had: gradio's sliders would make it their least.
// One that counts is rounded: gradio would keep a part of a token, and the run would be refused.

let lastNumber = '';

function isNumberField(node) {
  return node instanceof HTMLInputElement && node.type === 'number';
}

document.addEventListener('focusin', event => {
  if (isNumberField(event.target)) lastNumber = event.target.value;
});

// What should stand in a field in place of what was left there.
function mended({value, step}) {
  if (value === '') return lastNumber;
  const number = Number(value), broken = step === '1' && Number.isFinite(number) && !Number.isInteger(number);
  return broken ? String(Math.round(number)) : value;
}

// before gradio's own listeners, at the field itself
document.addEventListener('blur', event => {
  const field = event.target;
  if (!isNumberField(field) || mended(field) === field.value) return;
  field.value = mended(field);
  field.dispatchEvent(new Event('input', {bubbles: true}));
}, true);

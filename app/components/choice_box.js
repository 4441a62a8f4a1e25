const select = element.querySelector('select');
element.querySelector('.name').textContent = props.heading;
element.querySelector('.hint').textContent = props.hint;
select.setAttribute('aria-label', props.heading);
select.setAttribute('aria-description', props.hint);

function option(text, value) {
  const node = document.createElement('option');
  node.textContent = text;
  node.value = value;
  return node;
}

select.append(...props.choices.map(([text, value]) => option(text, value)));
if (props.placeholder) {
  const none = option(props.placeholder, '');
  none.hidden = none.disabled = true;
  select.prepend(none);
}

function draw() {
  select.value = props.value ?? '';
}

select.addEventListener('change', () => {
  props.value = select.value;
  trigger('select');
});
watch('value', draw);
draw();

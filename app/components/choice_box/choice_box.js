const select = element.querySelector('select');
element.querySelector('.name').textContent = props.heading;
element.querySelector('.hint').textContent = props.hint;
select.setAttribute('aria-label', props.heading);
if (props.hint) select.setAttribute('aria-description', props.hint);

function option(words, value) {
  return Object.assign(document.createElement('option'), {textContent: words, value});
}

if (props.placeholder) select.append(Object.assign(option(props.placeholder, ''), {hidden: true, disabled: true}));
select.append(...props.choices.map(([words, value]) => option(words, value)));

const further = option('', '');  // for a value that the list lacks, such as one of a recipe

function draw() {
  const value = props.value ?? '';
  select.value = value;
  if (value && select.value !== value) {
    further.textContent = further.value = value;
    select.append(further);
    select.value = value;
  }
}

select.addEventListener('change', () => {
  props.value = select.value;
  trigger('select');
});
if (props.forgets) element.closest('.setting-list')?.addEventListener('input', ({target}) => {
  if (element.contains(target) || !target.closest(props.forgets)) return;
  props.value = '';
  draw();
});
watch('value', draw);
draw();

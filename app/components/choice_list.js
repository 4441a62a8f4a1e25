const list = element.querySelector('.list');
element.querySelector('legend').textContent = props.heading;
const group = props.mark + '-' + Math.random().toString(36).slice(2);

props.choices.forEach(([value, title, sentence]) => {
  const label = document.createElement('label');
  label.className = 'choice';
  const input = document.createElement('input');
  input.type = 'radio';
  input.name = group;
  input.value = value;
  for (const [kind, text] of [['title', title], ['sentence', sentence]]) {
    const node = document.createElement('span');
    node.className = kind;
    node.textContent = text;
    label.append(node);
  }
  label.prepend(input);
  list.append(label);
});

function draw() {
  for (const input of list.querySelectorAll('input')) input.checked = input.value === props.value;
  const bench = element.closest('.workbench');
  if (bench) bench.dataset[props.mark] = props.value;
}

list.addEventListener('change', e => {
  props.value = e.target.value;
  draw();
});
watch('value', draw);
draw();

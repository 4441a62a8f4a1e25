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

// A tab that is shown for the first time is given its values by gradio once more, a moment later: what was chosen in
// between is kept.
const first = props.value;
let chosen = null, until = 0;

function draw() {
  if (props.value === first && chosen !== null && chosen !== first && performance.now() < until) props.value = chosen;
  for (const input of list.querySelectorAll('input')) input.checked = input.value === props.value;
  const bench = element.closest('.workbench');
  if (bench) bench.dataset[props.mark] = props.value;
}

list.addEventListener('change', e => {
  chosen = e.target.value;
  until = performance.now() + 1000;
  props.value = chosen;
  draw();
});
watch('value', draw);
draw();

const line = element.querySelector('.line');
const fill = line.querySelector('.fill');
const numbers = line.querySelector('.numbers');
const said = line.querySelector('.said');
const wrong = line.querySelector('.wrong');
let stopped = null;    // the run that was stopped here: late updates of it are not drawn

// A turn mostly comes at once: only who really waits reads that there is a queue.
let patience = null;

// Said only when it changes: a screen reader hears states and errors, not every step.
function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function draw() {
  const v = props.value;
  if (!v || (v.run === stopped && v.state === 'running')) return;
  stopped = v.state === 'stopped' ? v.run : null;
  line.dataset.state = v.state;
  fill.style.transform = 'scaleX(' + v.fraction + ')';
  while (numbers.children.length > v.parts.length) numbers.lastChild.remove();
  v.parts.forEach((part, i) => {
    if (i >= numbers.children.length) numbers.append(document.createElement('span'));
    say(numbers.children[i], part);
  });
  clearTimeout(patience);
  if (v.state === 'waiting') {
    say(said, 'Starting');
    patience = setTimeout(() => say(said, v.message), 1500);
  } else say(said, v.state === 'error' ? '' : v.message);
  say(wrong, v.state === 'error' ? v.message : '');
  const bench = element.closest('.workbench');
  if (bench) bench.dataset.run = v.state;
}

watch('value', draw);
draw();

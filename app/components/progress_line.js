const line = element.querySelector('.line');
const fill = line.querySelector('.fill');
const numbers = line.querySelector('.numbers');
const said = line.querySelector('.said');
const wrong = line.querySelector('.wrong');
const bench = element.closest('.workbench');
let stopped = null;    // the run that was stopped here: late updates of it are not drawn
let patience = null;   // a turn mostly comes at once: only who really waits reads that there is a queue

// Said only when it changes: a screen reader hears states and errors, not every step.
function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function draw() {
  const v = props.value;
  if (!v || (v.run === stopped && v.state === 'running')) return;
  if (v.state !== 'stopped') stopped = null;
  line.dataset.state = v.state;
  if (bench) bench.dataset.run = v.state;
  fill.style.transform = 'scaleX(' + v.fraction + ')';
  while (numbers.children.length > v.parts.length) numbers.lastChild.remove();
  v.parts.forEach((part, i) => {
    if (i >= numbers.children.length) numbers.append(document.createElement('span'));
    say(numbers.children[i], part);
  });
  clearTimeout(patience);
  say(said, v.state === 'error' ? '' : v.message);
  say(wrong, v.state === 'error' ? v.message : '');
}

function put(changes) {
  props.value = {...props.value, parts: [], ...changes};
  draw();
}

function busy() {
  return ['waiting', 'running'].includes(line.dataset.state);
}

function stop() {
  const v = props.value;
  if (!busy()) return;
  const all = v.tokens + v.forming;
  let message = 'Stopped after ' + all + (all === 1 ? ' token' : ' tokens');
  if (v.state === 'waiting') message = 'Stopped before it began';
  else if (v.forming) message += ', the last ' + v.forming + ' of them still forming';
  stopped = v.run;
  put({state: 'stopped', message: message + '.'});
}

if (bench) {
  // Caught on its way down, so before gradio ends the run: the line answers at once, whatever the network does.
  bench.addEventListener('click', event => event.target.closest('button.stop') && stop(), true);
  bench.addEventListener('asked', () => {
    if (busy()) return;
    put({state: 'waiting', run: '', fraction: 0, message: 'Starting', tokens: 0, forming: 0});
    // On a phone Run is always at hand, and the result may have been scrolled away.
    const {top, bottom} = line.getBoundingClientRect();
    if (top < 0 || bottom > window.innerHeight) line.scrollIntoView({block: 'start'});
    patience = setTimeout(() => say(said, props.waiting_text), 1500);
  });
  // A run that was stopped counts as failed too: only one that still seems to go on was refused.
  bench.addEventListener('refused', () => busy() && put({state: 'error', message: props.refused_text}));
}

watch('value', draw);
draw();

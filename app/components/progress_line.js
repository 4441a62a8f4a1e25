const line = element.querySelector('.line');
const fill = line.querySelector('.fill');
const numbers = line.querySelector('.numbers');
const said = line.querySelector('.said');
const wrong = line.querySelector('.wrong');
const bench = element.closest('.beside, .workbench');
let stopped = null;    // the run that was stopped here: late updates of it are not drawn
let patience = null;   // a turn mostly comes at once: only who really waits reads that there is a queue
let silence = null;    // nothing at all, not even a place in the line: gradio does not always notice a lost connection

// Said only when it changes: a screen reader hears states and errors, not every step.
function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function draw() {
  const v = props.value;
  const late = v && goesOn(v.state) && (v.run === stopped || (bench && bench.dataset.halted));
  if (!v || late) return;
  if (v.run && v.run !== stopped) stopped = null;
  if (v.run || v.state !== 'waiting') again = false;  // the run that was pressed has come, or is not wanted any more
  line.dataset.state = v.state;
  if (bench) bench.dataset.run = v.state;
  fill.style.transform = 'scaleX(' + v.fraction + ')';
  while (numbers.children.length > v.parts.length) numbers.lastChild.remove();
  v.parts.forEach((part, i) => {
    if (i >= numbers.children.length) numbers.append(document.createElement('span'));
    say(numbers.children[i], part);
  });
  clearTimeout(patience);
  clearTimeout(silence);
  say(said, v.state === 'error' ? '' : v.message);
  say(wrong, v.state === 'error' ? v.message : '');
  if (v.press) press();
}

// A link brings its result back. Once the other components have what they were given, hence the moment's wait.
function press() {
  props.value = {...props.value, press: false};
  setTimeout(() => {
    const run = bench && bench.querySelector('button.run');
    if (run && line.dataset.state === 'idle') run.click();
  }, 300);
}

function put(changes) {
  props.value = {...props.value, parts: [], ...changes};
  draw();
}

function goesOn(state) {
  return ['waiting', 'running'].includes(state);
}

function busy() {
  return goesOn(line.dataset.state);
}

// Until gradio has ended a run, which is a moment after the last that is seen of it, it drops a Run that is pressed:
// one that comes so early is pressed again then.
let taken = false, again = false, stopping = false, soon = null;

function over(milliseconds) {
  clearTimeout(soon);
  soon = setTimeout(() => {
    const run = again && bench.querySelector('button.run, button.small-run');
    taken = again = stopping = false;
    soon = null;
    if (run) run.click();
  }, milliseconds);
}

// A run that is stopped before its first frame has no name yet: for a while, nothing that goes on is drawn at all.
let halt = null;
function halted(yes) {
  if (!bench) return;
  clearTimeout(halt);
  if (yes) bench.dataset.halted = 'yes';
  else delete bench.dataset.halted;
  if (yes) halt = setTimeout(() => halted(false), 3000);
}

function stop() {
  const v = props.value;
  if (!busy()) return;
  const all = v.tokens + v.forming;
  let message = 'Stopped after ' + all + (all === 1 ? ' token' : ' tokens');
  if (v.state === 'waiting' || (!all && !v.fraction)) message = 'Stopped before it began';
  else if (v.forming) message += ', the last ' + v.forming + ' of them still forming';
  stopped = v.run || null;  // the run to come has no name either, and is drawn
  halted(!v.run);
  stopping = true;
  put({state: 'stopped', message: message + '.'});
}

if (bench) {
  // Caught on its way down, so before gradio ends the run: the line answers at once, whatever the network does.
  bench.addEventListener('click', event => event.target.closest('button.stop') && (bench.matches('.beside') || !event.target.closest('.beside')) && stop(), true);
  bench.addEventListener('asked', () => {
    const early = taken;
    taken = true;
    if (!early) stopping = false;
    if (busy()) return;
    halted(false);
    put({state: 'waiting', run: '', fraction: 0, message: 'Starting', tokens: 0, forming: 0});
    again = early;
    // On a phone Run is always at hand, and the result may have been scrolled away.
    const {top, bottom} = line.getBoundingClientRect();
    if (top < 0 || bottom > window.innerHeight) line.scrollIntoView({block: 'start'});
    patience = setTimeout(() => say(said, props.waiting_text), 1500);
    silence = setTimeout(() => say(wrong, props.silent_text), 20000);
  });
  bench.addEventListener('ended', () => over(stopping ? 60 : 0));
  // A run that was stopped fails, and then once more while gradio forgets it, at which it would forget a new run, too.
  bench.addEventListener('refused', () => {
    if (stopping) return soon || over(2000);  // in case that nothing follows
    const early = again;
    over(0);
    if (busy() && !early) put({state: 'error', message: props.refused_text});
  });
}

watch('value', draw);
draw();

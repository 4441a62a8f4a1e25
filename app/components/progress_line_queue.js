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
  if (!v) return;
  if (!v.own && owed) begun();
  const late = !v.own && goesOn(v.state) && (v.run && v.run === stopped || (bench && bench.dataset.halted));
  if (late) return;
  if (!v.own) heard = true;
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
  props.value = {...props.value, parts: [], own: true, ...changes};
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
    taken = again = stopping = owed = false;
    soon = null;
    halted(false);
    heard = !run;
    if (run) run.click();
  }, milliseconds);
}

// What goes on without a name cannot be told from the run that is to come: until it has ended, none of it is drawn.
let halt = null;
function halted(yes) {
  if (!bench) return;
  clearTimeout(halt);
  if (yes) bench.dataset.halted = 'yes';
  else delete bench.dataset.halted;
  if (yes && !taken) halt = setTimeout(() => halted(false), 3000);
}

// Gradio cannot stop a run whose number it has not yet heard from the server, and does not try again:
// Stop is pressed for it at the first frame.
let heard = true, owed = false;
function begun() {
  owed = false;
  if (!goesOn(props.value.state)) return halted(false);
  stopping = true;
  bench.dataset.passing = 'yes';
  bench.querySelector('button.stop').click();
  delete bench.dataset.passing;
}

// Says whether gradio is to hear of it now.
function stop() {
  const v = props.value;
  if (!busy()) return true;
  const all = v.tokens + v.forming;
  let message = 'Stopped after ' + all + (all === 1 ? ' token' : ' tokens');
  if (v.state === 'waiting' || (!all && !v.fraction)) message = 'Stopped before it began';
  else if (v.forming) message += ', the last ' + v.forming + ' of them still forming';
  if (heard) {
    stopping = true;
    stopped = v.run || null;
    if (!v.run) halted(true);
  } else if (!again && !stopping) {
    owed = true;
    halted(true);
  }
  put({state: 'stopped', message: message + '.'});
  return !owed;
}

if (bench) {
  // Caught on its way down, so before gradio ends the run: the line answers at once, whatever the network does.
  bench.addEventListener('click', event => {
    const mine = event.target.closest('button.stop') && (bench.matches('.beside') || !event.target.closest('.beside'));
    if (mine && !bench.dataset.passing && !stop()) event.stopPropagation();
  }, true);
  bench.addEventListener('asked', () => {
    const early = taken;
    taken = true;
    if (!early) stopping = false;
    if (busy()) return;
    if (!early) halted(false);
    heard = false;
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

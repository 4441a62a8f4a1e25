const line = element.querySelector('.line');
const fill = line.querySelector('.fill');
const numbers = line.querySelector('.numbers');
const note = line.querySelector('.note');
const wrong = line.querySelector('.wrong');
const bench = element.closest('.beside, .workbench');
let latest = null;     // what the run said last
let refused = '';      // why another run could not take its place
let pressed = false;   // has a visitor run anything here?

// Said only when it changes: a screen reader hears states and errors, not every step.
function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function draw() {
  const v = props.value;
  if (!v) return;
  if (frame !== undefined) latest = frame;
  if (line.dataset.state !== v.state) line.dataset.state = v.state;
  if (bench) bench.dataset.run = v.state;
  fill.style.transform = 'scaleX(' + v.fraction + ')';
  while (numbers.children.length > v.parts.length) numbers.lastChild.remove();
  v.parts.forEach((part, i) => {
    if (i >= numbers.children.length) numbers.append(document.createElement('span'));
    say(numbers.children[i], part);
  });
  say(note, v.state === 'error' ? '' : v.message);
  const sentence = v.state === 'error' ? v.message : refused;
  const isNew = sentence && wrong.textContent !== sentence;
  say(wrong, sentence);
  if (isNew && pressed) line.scrollIntoView({block: 'nearest'});  // below a stage it may be out of sight
}

// What this line says by itself, before the run has said anything or after it is over.
function put(changes) {
  props.value = {...props.value, parts: [], ...changes};
  draw();
}

function goesOn() {
  return ['waiting', 'running'].includes(line.dataset.state);
}

// As `stopped_value` of the server says it.
function stoppedAfter({state, tokens, forming, fraction, stopped}) {
  const all = tokens + forming;
  if (state === 'waiting' || !(all || fraction || stopped)) return 'Stopped before it began.';
  if (stopped || !all) return stopped || 'Stopped.';
  const counted = 'Stopped after ' + all + (all === 1 ? ' token' : ' tokens');
  if (!forming) return counted + '.';
  const which = all === 1 ? '' : forming === all ? 'all ' : 'the last ' + forming + ' of them ';
  return counted + ', ' + which + 'still forming.';
}

const STATES = {
  starting() {
    latest = null;
    refused = '';
    pressed = true;
    put({state: 'waiting', run: '', fraction: 0, message: 'Starting', tokens: 0, forming: 0, stopped: ''});
    // On a phone Run is always at hand, and the result may have been scrolled away: on a stage that is the text, or all of
    // it; this line stands below it.
    const stage = element.closest('.beside') ? null : element.closest('.stage');
    const result = stage?.querySelector('.strip .page, .flow .reads') ?? stage ?? line;
    const {top, bottom} = result.getBoundingClientRect();
    if (top < 0 || bottom > window.innerHeight) result.scrollIntoView({block: 'start'});
  },
  running({message = ''}) {
    refused = message;
    if (latest && line.dataset.state === 'error') showFrame(latest);
    else draw();
  },
  stopping() {
    put({state: 'stopped', message: stoppedAfter(props.value)});
  },
  ended({outcome, message}) {
    if (outcome === 'error') put({state: 'error', message});
    else if (message) put({state: 'stopped', message});
    else if (goesOn()) put({state: 'stopped', message: stoppedAfter(props.value)});
  },
  lost({message}) {
    put({state: 'error', message});
  },
};

onRunState(detail => STATES[detail.name]?.(detail));
// The settings of a link come once, a moment after a page that is loaded anew has found its run: the run has the word.
let awaited = new URLSearchParams(window.location.search).has('r');
watch('value', () => {
  const restored = awaited && props.value.state === 'idle';
  if (restored) awaited = false;
  if (restored && latest) showFrame(latest);
  else draw();
});
draw();

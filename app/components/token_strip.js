const strip = element.querySelector('.strip');
const answer = strip.querySelector('.answer');
const live = strip.querySelector('.live');
const prompt = strip.querySelector('.prompt');
strip.querySelector('.empty-text').textContent = props.empty_text;
const start = strip.querySelector('.start');
start.textContent = props.start_label;
start.addEventListener('click', () => trigger('submit'));
strip.querySelector('.colours').addEventListener('change', e => strip.classList.toggle('uncoloured', !e.target.checked));

let run = null;        // the run that is drawn
let drawn = '';        // its settled lines that are drawn
let stopped = null;    // the run that was stopped here: late updates of it are not drawn

function span(token) {
  const [text, confidence, special] = token;
  const node = document.createElement('span');
  node.className = special ? 'token special' : 'token';
  node.textContent = special ? '∎' : text;
  node.style.setProperty('--confidence', confidence);
  node.title = (special ? text + ' · ' : '') + Math.round(confidence * 100) + ' %';
  return node;
}

// Reuses the spans that stand there, so that a token changes its words and its colour in place.
function redraw(parent, tokens) {
  tokens.forEach((token, i) => {
    const node = span(token);
    if (i < parent.children.length) {
      const old = parent.children[i];
      if (old.textContent !== node.textContent) old.textContent = node.textContent;
      old.className = node.className;
      old.title = node.title;
      old.style.cssText = node.style.cssText;
    } else parent.append(node);
  });
  while (parent.children.length > tokens.length) parent.lastChild.remove();
}

function draw() {
  const v = props.value;
  if (!v || (v.run === stopped && v.state === 'running')) return;
  if (v.state !== 'stopped') stopped = null;
  if (v.run !== run || !v.settled.startsWith(drawn)) {
    answer.replaceChildren();
    drawn = '';
    run = v.run;
  }
  for (const line of v.settled.slice(drawn.length).split('\n')) {
    if (line) answer.append(...JSON.parse(line).map(span));
  }
  drawn = v.settled;
  prompt.textContent = v.prompt;
  redraw(live, v.live);
  strip.dataset.state = v.state;
  strip.setAttribute('aria-busy', v.state === 'running');
}

// Stop keeps what there is, and at once: see progress_line.js.
const bench = element.closest('.workbench');
if (bench) bench.addEventListener('click', event => {
  if (!event.target.closest('button.stop') || props.value.state !== 'running') return;
  stopped = props.value.run;
  props.value = {...props.value, state: 'stopped'};
  draw();
}, true);

watch('value', draw);
draw();

const rows = element.querySelector('.rows');
const list = rows.querySelector('.list');
const notes = rows.querySelector('.notes');
list.setAttribute('aria-label', props.heading);
rows.querySelector('.empty-text').textContent = props.empty_text;
rows.querySelector('.changed-words').textContent = props.changed_words;
const start = rows.querySelector('.start');
start.textContent = props.start_label;
start.hidden = !props.start_label;
start.addEventListener('click', () => trigger('submit'));

const [CHANGED, PROMPT, SPAN] = [1, 2, 4];
let run = null;

function span(token) {
  const [text, confidence, special] = token;
  const node = document.createElement('span');
  const kept = confidence < 0;
  node.className = 'token' + (special ? ' special' : '') + (kept ? ' kept' : '');
  node.textContent = special ? '∎' : text;
  node.style.setProperty('--confidence', Math.max(0, confidence));
  node.title = (special ? text + ' · ' : '') + (kept ? 'stays' : Math.round(confidence * 100) + ' %');
  return node;
}

function piece([text, flags]) {
  const node = document.createElement(flags & (CHANGED | SPAN) ? 'mark' : 'span');
  node.className = [flags & CHANGED ? 'changed' : '', flags & PROMPT ? 'prompt' : '', flags & SPAN ? 'was' : ''].join(' ').trim();
  node.textContent = text;
  return node;
}

function make() {
  const row = document.createElement('li');
  row.drawn = '';      // the settled lines that stand there
  row.final = null;    // or the finished pieces, as JSON
  const part = (name, tag = 'span') => {
    const node = document.createElement(tag);
    node.className = name;
    return node;
  };
  const text = part('text', 'p');
  text.dir = 'auto';
  text.lang = '';
  text.translate = false;
  text.append(...['lead', 'answer', 'live', 'tail'].map(name => part(name)));
  const act = part('act', 'button');
  act.type = 'button';
  act.textContent = props.action;
  act.addEventListener('click', () => {
    const i = [...list.children].indexOf(row);
    trigger('select', {text: props.value.rows[i].text, row: i});
  });
  const side = part('side', 'div');
  side.append(part('score'), act);
  row.append(part('label'), text, side);
  return row;
}

function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function fill(row, v) {
  const part = name => row.querySelector('.' + name);
  put(part('label'), v.label);
  put(part('score'), v.score);
  part('act').hidden = !v.text || !props.action;
  part('act').setAttribute('aria-label', props.action + ': ' + v.label);
  put(part('lead'), v.lead);
  put(part('tail'), v.tail);
  const answer = part('answer');
  if (v.final) {
    const key = JSON.stringify(v.final);
    if (row.final !== key) answer.replaceChildren(...v.final.map(piece));
    row.final = key;
    row.drawn = '';
  } else {
    if (row.final || !v.settled.startsWith(row.drawn)) {
      answer.replaceChildren();
      row.drawn = '';
      row.final = null;
    }
    for (const line of v.settled.slice(row.drawn.length).split('\n')) {
      if (line) answer.append(...JSON.parse(line).map(span));
    }
    row.drawn = v.settled;
  }
  const live = part('live');
  v.live.forEach((token, i) => {
    const node = span(token);
    const old = live.children[i];
    if (!old) return live.append(node);
    put(old, node.textContent);
    old.className = node.className;
    old.title = node.title;
    old.style.cssText = node.style.cssText;
  });
  while (live.children.length > v.live.length) live.lastChild.remove();
  const first = answer.firstChild || live.firstChild;
  if (first && !v.lead) put(first, first.textContent.trimStart());  // with nothing before it a row would begin with a gap
}

function draw() {
  const v = props.value;
  if (!v) return;
  if (v.run !== run) list.replaceChildren();
  run = v.run;
  while (list.children.length > v.rows.length) list.lastChild.remove();
  v.rows.forEach((row, i) => {
    if (i >= list.children.length) list.append(make());
    fill(list.children[i], row);
  });
  notes.replaceChildren(...v.notes.map(text => {
    const node = document.createElement('li');
    node.textContent = text;
    return node;
  }));
  rows.dataset.state = v.state;
  rows.setAttribute('aria-busy', v.state === 'running');
}

stopWithRun(draw);
watch('value', draw);
draw();

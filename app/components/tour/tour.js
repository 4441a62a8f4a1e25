const KEY = 'coladlm-tour';
const invite = element.querySelector('.invite');
const sheet = element.querySelector('dialog');
const part = name => sheet.querySelector('.' + name);
let at = 0;

function remembered() {
  try { return localStorage.getItem(KEY) !== null; } catch { return true; }  // no storage: it would come every time
}

function remember() {
  invite.hidden = true;
  document.documentElement.classList.add('toured');
  try { localStorage.setItem(KEY, 'seen'); } catch { return; }
}

function span([text, confidence, special]) {
  const node = document.createElement('span');
  node.className = 'token';
  node.textContent = special ? '∎' : text;
  node.style.setProperty('--confidence', confidence);
  return node;
}

function show(to) {
  at = Math.max(0, Math.min(props.scenes.length - 1, to));
  const scene = props.scenes[at];
  part('count').textContent = 'A recorded run · ' + (at + 1) + ' of ' + props.scenes.length;
  sheet.querySelector('h2').textContent = scene.title;
  part('words').textContent = scene.text;
  part('prompt').textContent = scene.prompt;
  part('settled').replaceChildren(...scene.settled.map(span));
  part('live').replaceChildren(...scene.live.map(span));
  part('back').disabled = at === 0;
  part('next').textContent = at === props.scenes.length - 1 ? 'Write your own' : 'Next';
}

function begin() {
  remember();
  if (document.querySelector('dialog[open]')) return;
  show(0);
  sheet.showModal();
  sheet.querySelector('h2').focus();
}

element.querySelector('.begin').addEventListener('click', begin);
element.querySelector('.no').addEventListener('click', remember);
part('back').addEventListener('click', () => show(at - 1));
part('end').addEventListener('click', () => sheet.close());
part('next').addEventListener('click', () => {
  if (at < props.scenes.length - 1) return show(at + 1);
  sheet.close();
  const first = document.querySelector('#tabs [role="tab"]');
  if (first) first.click();
  const run = document.querySelector('#generate button.run');
  if (run) run.focus();
});
sheet.addEventListener('keydown', event => {
  if (event.key === 'ArrowRight' && at < props.scenes.length - 1) show(at + 1);
  if (event.key === 'ArrowLeft') show(at - 1);
});
window.addEventListener('coladlm-tour', begin);
invite.hidden = remembered();

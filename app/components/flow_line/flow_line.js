const steps = Object.fromEntries([...element.querySelectorAll('.way span')].map(node => [node.textContent, node]));
element.querySelector('.say').textContent = props.sentence;

function light(...names) {
  for (const [name, node] of Object.entries(steps)) node.classList.toggle('lit', names.includes(name));
}

let underWay = false;
runBench?.addEventListener('run-state', event => {
  const {name} = event.detail;
  if (name === 'starting') light('prompt', 'encoder');
  underWay = ['starting', 'running', 'stopping'].includes(name);
  if (!underWay) light('words');
});
runBench?.addEventListener('playhead', event => {
  const {block, noise} = event.detail;
  if (block === null) light(...(underWay ? ['flow'] : ['words']));
  else if (noise > 90) light('noise');
  else if (noise < 10) light('decoder', 'words');
  else light('flow');
});
light('words');

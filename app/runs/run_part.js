// Before the JavaScript of a component that shows a part of a run's frames: see run_client.js.
//
// A frame is drawn as it comes; gradio gets it as the component's value when the run is over, as every value that it is
// given costs it some milliseconds.
const runBench = element.closest('.beside, .workbench');
let frame;             // the latest; undefined while gradio's value is shown
let showFrame = () => {};
let onRunState = () => {};

if (props.part) {
  const given = props, watchGiven = watch, drawn = [];
  // A tab that is shown for the first time is given its first values by gradio once more, a moment later.
  const until = performance.now() + 3000;
  let first = JSON.stringify(given.value ?? null);
  let last;            // what the run showed last, until another value takes its place
  // By who tells of it, the id of the run under way; what gradio gives meanwhile answers to something before it. A run that
  // another one has taken the place of while it stopped has no end of its own.
  const underWay = new Map();
  props = new Proxy(given, {
    get: (_, name) => name === 'value' && frame !== undefined ? frame : given[name],
    set(_, name, value) {
      if (name === 'value') frame = last = undefined;
      given[name] = value;
      return true;
    },
  });
  watch = (names, draw) => {
    if ([names].flat().includes('value')) drawn.push(draw);
    watchGiven(names, () => {
      if (underWay.size && frame !== undefined) return;
      if (last !== undefined && performance.now() < until && JSON.stringify(given.value ?? null) === first) {
        first = '';    // once: gradio may answer with the same, null as undefined, and the two would take turns
        given.value = frame ??= last;
      } else frame = undefined;
      draw();
    });
  };
  showFrame = value => {
    frame = last = value;
    drawn.forEach(draw => draw());
  };
  // The last to hear of a state is gradio: what a component makes of it comes first.
  const heard = [detail => {
    if (!['ended', 'lost'].includes(detail.name) || frame === undefined) return;
    const shown = frame;
    props.value = shown;
    last = shown;
  }];
  onRunState = callback => heard.unshift(callback);
  const hear = event => {
    const {name, id} = event.detail;
    if (['starting', 'running', 'stopping'].includes(name)) underWay.set(event.currentTarget, id);
    else if (underWay.get(event.currentTarget) === id) underWay.delete(event.currentTarget);
    heard.forEach(callback => callback(event.detail));
  };
  runBench?.addEventListener('run-state', hear);  // none where a component stands by itself
  element.dataset.runPart = props.part;
  if (props.also) {
    element.dataset.runAlso = props.also;
    element.addEventListener('run-state', hear);
  }
  element.addEventListener('frame', event => showFrame(event.detail));
  // once the rest of this script has run, which says how a frame is drawn
  queueMicrotask(() => element.dispatchEvent(new CustomEvent('frame-ready', {bubbles: true})));
}

// What is over is not awaited any more: calls draw when a value that is still "running" has become "stopped".
function stopWithRun(draw) {
  onRunState(({name}) => {
    if (!['stopping', 'ended', 'lost'].includes(name) || props.value?.state !== 'running') return;
    frame = {...props.value, state: 'stopped'};
    draw();
  });
}

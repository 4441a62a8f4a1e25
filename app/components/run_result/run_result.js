let shown = '';        // the run whose end was told

onRunState(({name, id, outcome}) => {
  if (name === 'starting') props.value = null;
  if (name !== 'ended' || id === shown) return;
  shown = id;
  setTimeout(() => trigger('ended', {run: id, outcome}));  // after gradio has got the value
});

/* global BANDS, plainColour */
// The colours of the page for the flow map: Plotly reads neither variables nor color-mix. Those of a theme are read once,
// for a reading in the middle of a drawing has the browser style the whole page for it.

function flowColours(root) {
  const themes = {};

  // The colours of a path from noise to word, as on Generate.
  const pathColours = () => Array.from({length: BANDS}, (_, band) => {
    const share = 2 * (band + 0.5) / BANDS, [from, to] = share < 1 ? ['noise', 'flow'] : ['flow', 'word'];
    return plainColour('color-mix(in srgb, var(--path-' + to + ') ' + 100 * (share % 1) + '%, var(--path-' + from + '))', root);
  });

  function read(dark) {
    const style = getComputedStyle(root), c = name => style.getPropertyValue('--' + name).trim();
    return {ink: c('ink'), muted: c('ink-muted'), line: c('line'), sheet: c('sheet'), accent: c('accent'), pale: dark ? '#6d6f78' : '#a9aab0',
      time: pathColours(), cloud: dark ? '#3b3d46' : '#dddcd7', unsure: c('unsure'), sure: c('sure'), font: c('font') || 'sans-serif',
      runs: ['ink', 'orange', 'green', 'violet'].map(c)};
  }

  return () => {
    const dark = Boolean(root.closest('.dark'));
    return themes[dark] ??= read(dark);
  };
}

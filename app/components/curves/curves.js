/* global connectSaving, plotlyLibrary, saveAs */
// Measures of runs over the noise level, as lines, a sentence and a table. Follows the flow map of the same name.

const box = element.querySelector('.curves');
const part = name => box.querySelector('.' + name);
let Plotly = null;
let now = null;        // noise of the moment in percent
let c = null;          // the colours of the page when the curves were drawn

function kinds() { return props.value?.kinds ?? []; }
function kind() { return kinds().find(k => k.name === part('kind').value) ?? kinds()[0]; }

function colours() {
  const style = getComputedStyle(box), value = name => style.getPropertyValue('--' + name).trim();
  return {ink: value('ink'), muted: value('ink-muted'), line: value('line'), sheet: value('sheet'), accent: value('accent'), font: value('font') || 'sans-serif',
    runs: ['ink', 'orange', 'green', 'violet'].map(value)};
}

function node(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

function number(value) { return value === null ? '–' : Number(value.toPrecision(3)).toString(); }

function table(one, runs) {
  const head = document.createElement('tr');
  head.append(node('th', 'noise'), ...runs.map(run => node('th', run.label + (one.unit ? ', ' + one.unit : ''))));
  box.querySelector('thead').replaceChildren(head);
  const noises = [...new Set(runs.flatMap(run => run.noise))].sort((a, b) => b - a);
  box.querySelector('tbody').replaceChildren(...noises.map(noise => {
    const row = document.createElement('tr');
    row.append(node('th', noise + ' %'), ...runs.map(run => {
      const i = run.noise.indexOf(noise);
      return node('td', i < 0 ? '' : number(run.values[one.name][i]));
    }));
    return row;
  }));
}

function moment() {
  return now === null ? [] : [{type: 'line', x0: now, x1: now, yref: 'paper', y0: 0, y1: 1, line: {color: c.accent, width: 1.5}}];
}

async function draw() {
  const runs = props.value?.runs ?? [];
  box.hidden = !runs.length;
  part('summary').textContent = props.value?.summary ?? '';
  const one = kind();
  if (!runs.length || !one) return;
  part('note').textContent = one.about + ' ' + one.note;
  table(one, runs);
  try {
    Plotly ??= await plotlyLibrary();
  } catch (error) {
    part('note').textContent = 'The curves cannot be drawn: ' + error.message + '.';
    return;
  }
  c = colours();
  const axis = {color: c.muted, gridcolor: c.line, zeroline: false, fixedrange: true};
  await Plotly.react(part('plot'), runs.map(run => ({x: run.noise, y: run.values[one.name], mode: 'lines+markers', name: run.label,
    line: {color: c.runs[run.index % c.runs.length], width: 2}, marker: {size: 5}, hovertemplate: '%{y:.3g} ' + one.unit + ', noise %{x} %, t = %{customdata}<extra></extra>',
    customdata: run.noise.map(n => Math.round(10 * n))})),
    {xaxis: {...axis, range: [102, -2], title: {text: 'noise (%)', font: {size: 12}}}, yaxis: {...axis, rangemode: 'tozero', title: {text: one.unit, font: {size: 12}}},
      margin: {t: 6, r: 8, b: 38, l: 52}, showlegend: runs.length > 1, legend: {x: 1, xanchor: 'right', y: 1, font: {size: 13}}, paper_bgcolor: c.sheet, plot_bgcolor: c.sheet, font: {family: c.font, color: c.ink, size: 12},
      shapes: moment(), dragmode: false},
    {displayModeBar: false, responsive: true});
  part('plot').setAttribute('aria-label', one.label + ' over the noise level. ' + one.note);
}

function fill() {
  const chosen = part('kind').value;
  part('kind').replaceChildren(...kinds().map(k => Object.assign(node('option', k.label), {value: k.name})));
  if (kinds().some(k => k.name === chosen)) part('kind').value = chosen;
  draw();
}

part('kind').addEventListener('change', draw);
connectSaving(box, async format => {
  const {data, layout} = part('plot');
  if (!data) return;
  const title = {text: kind().label + ' over the noise level', x: 0.02, xanchor: 'left', font: {size: 16}};
  const whole = {data, layout: {...layout, title, margin: {...layout.margin, t: 44}, width: 1200, height: 600}};
  saveAs(await Plotly.toImage(whole, {format, width: 1200, height: 600}), 'curves-' + kind().name + '.' + format);
});
const listener = event => {
  if (!element.isConnected) return document.removeEventListener('flow:frame', listener);
  if (event.detail.map !== props.name) return;
  const {data, frame} = event.detail;
  const run = frame && data.list.find(r => r.blocks[frame.block ?? 0]);
  const state = run?.blocks[frame.block ?? 0].states[data.stateIndex(run, frame.block ?? 0, frame)];
  const noise = state ? data.noise(run, frame.block ?? 0, state) : null;
  if (noise === now) return;
  now = noise;
  if (Plotly && !box.hidden && part('plot').data) Plotly.relayout(part('plot'), {shapes: moment()});
};
document.addEventListener('flow:frame', listener);
watch('value', fill);
new MutationObserver(draw).observe(document.body, {attributes: true, attributeFilter: ['class']});
fill();

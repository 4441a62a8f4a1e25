/* global LabelRoom, plotlyLibrary */
// The picture of a text map: texts as points with labels, drawn by Plotly. Knows nothing of the list beside it.

const FEW = 4;         // texts of a cluster that its name would cover
const TOLD = 8;        // neighbours whose distance stands on the map
const DIM = 0.32;      // what is not meant, while something is
const PALETTE = ['#0072b2', '#d55e00', '#009e73', '#b3589a', '#a07800', '#3d93c9', '#7a4b00', '#5b5c65', '#c2185b', '#4f7d00', '#6a51a3', '#00857c'];

function plain(text) { return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;'); }
function short(text, most) { return text.length > most ? text.slice(0, most - 1).trimEnd() + '…' : text; }

// What a cluster is called: by its words; where no cluster has any, as those of vectors without texts, by its number.
function clusterName(data, k) {
  return data.names[k].join(', ') || (data.names.some(words => words.length) ? 'no word in common' : 'cluster ' + (k + 1));
}
function groups(data) { return [...new Set(data.sets)].sort(); }

// The colour of a text, by its cluster, its set or its length. Plotly's WebGL reads no color-mix.
function colour(data, by, i) {
  if (by === 'cluster') return PALETTE[data.cluster[i] % PALETTE.length];
  if (by === 'set') return PALETTE[groups(data).indexOf(data.sets[i]) % PALETTE.length];
  const all = data.sorted, share = all.length < 2 ? 0 : all.indexOf(data.lengths[i]) / (all.length - 1);
  const mix = (a, b) => Math.round(a + (b - a) * share);
  return 'rgb(' + mix(29, 240) + ',' + mix(63, 210) + ',' + mix(122, 60) + ')';
}

class TextPicture {
  // div: where to draw. scene(): what there is to see now, {data, chart, by, mode, selected, marked, listed, current,
  // centre, asked, waypoints} as in text_map.js; data is null while there are no texts. clicked(i), chosen(indices): of
  // texts on the map.
  constructor(div, scene, clicked, chosen) {
    Object.assign(this, {div, scene, clicked, chosen, Plotly: null, listening: false, drawings: 0, adds: false});
  }

  colours() {
    const style = getComputedStyle(this.div), c = name => style.getPropertyValue('--' + name).trim();
    return {ink: c('ink'), muted: c('ink-muted'), line: c('line'), sheet: c('sheet'), accent: c('accent'), font: c('font') || 'sans-serif'};
  }

  coordinates({data, chart}) {
    const array = data.at[chart], unit = data.units[chart];
    const x = [], y = [];
    for (let i = 0; i < data.texts.length; i += 1) { x.push(array[2 * i] * unit); y.push(array[2 * i + 1] * unit); }
    return {x, y};
  }

  async draw() {
    if (!this.scene().data) return;
    this.Plotly ??= await plotlyLibrary();
    const scene = this.scene(), {data, chart, selected, marked, current, centre} = scene;
    if (!data) return;    // it may have been taken away meanwhile
    const c = this.colours(), {x, y} = this.coordinates(scene);
    const large = i => i === centre || i === current, rings = i => selected.has(i) || marked.has(i) || large(i);
    const some = selected.size || marked.size || centre !== null;
    const sizes = data.texts.map((_, i) => large(i) ? 14 : rings(i) ? 9 : 6);
    const axis = {showticklabels: false, zeroline: false, showgrid: false};
    // What is selected is drawn by our own opacity, for a list selects too: were Plotly to keep the lasso's selection, it
    // would fade the rest a second time, until nothing could be seen of it. A new revision makes it forget.
    this.drawings += 1;
    await this.Plotly.react(this.div, [{type: 'scattergl', mode: 'markers', x, y, hovertext: data.texts.map(t => plain(short(t, 90))), hoverinfo: 'text', selectedpoints: null,
      marker: {size: sizes, color: data.texts.map((_, i) => colour(data, scene.by, i)), opacity: data.texts.map((_, i) => !some || rings(i) ? 0.92 : DIM),
        line: {width: data.texts.map((_, i) => large(i) ? 2.5 : rings(i) ? 1.5 : 0), color: c.ink}}}, ...this.way(scene, c), ...this.query(scene, c)],
      {uirevision: chart + data.id, selectionrevision: this.drawings, selections: [], dragmode: scene.mode, hovermode: 'closest', showlegend: false, margin: {t: 6, r: 6, b: 6, l: 6},
        paper_bgcolor: c.sheet, plot_bgcolor: c.sheet, font: {family: c.font, color: c.ink},
        xaxis: axis, yaxis: chart === 'pca' ? {...axis, scaleanchor: 'x'} : axis, hoverlabel: {bgcolor: c.sheet, bordercolor: c.line, font: {family: c.font, color: c.ink, size: 14}, align: 'left'}},
      {responsive: true, displaylogo: false, displayModeBar: false, doubleClick: 'reset'});
    await this.relabel();
    if (!this.listening) this.listen();
  }

  listen() {
    this.listening = true;
    const texts = points => points.filter(p => p.curveNumber === 0).map(p => p.pointNumber);
    this.div.on('plotly_click', event => texts(event.points).slice(0, 1).forEach(this.clicked));
    this.div.on('plotly_relayout', change => { if (Object.keys(change).some(name => /^([xy]axis|autosize)/.test(name))) this.relabel(); });
    this.div.addEventListener('mousedown', event => { this.adds = event.shiftKey; }, true);
    this.div.on('plotly_selected', event => {
      if (!event?.range && !event?.lassoPoints) return;  // no drag: that Plotly has forgotten its selection
      this.chosen([...new Set([...this.adds ? this.scene().selected : [], ...texts(event.points)])]);
    });
  }

  // What a drag on the map does.
  drag(mode) {
    if (this.Plotly && this.scene().data) this.Plotly.relayout(this.div, {dragmode: mode});
  }

  // The labels, none of which covers another. Where they stand depends on how near the points are on the screen, so they
  // are placed anew after a zoom.
  async relabel() {
    const scene = this.scene(), {data, marked, current, centre, asked} = scene;
    if (!data) return;
    const c = this.colours(), {x, y} = this.coordinates(scene), place = this.placing(c);
    if (marked.size || centre !== null) for (const i of marked) place.keep(x[i], y[i], 5);
    scene.waypoints?.at[scene.chart]?.forEach(spot => { place.keep(...spot, 6); place.keep(...spot, 9, -14); });
    const query = asked?.at[scene.chart], own = current ?? centre;
    if (query) place.keep(...query, 11);
    if (own !== null) place.keep(x[own], y[own], 8);
    // the most important first
    const title = query ? [place(...query, '“' + short(asked.text, 42) + '”', {size: 14, gap: 13, needed: true, colour: c.accent})] : [];
    const caption = own === null ? [] : [place(x[own], y[own], short(data.texts[own], 42), {size: 13, gap: 10, needed: true, more: {bordercolor: c.accent}})];
    await this.Plotly.relayout(this.div, {annotations: [...this.names(scene, place, x, y), ...this.distances(scene, place, x, y), ...title, ...caption]});
  }

  // place(x, y, text, options) is a label at a point, above, below or beside it, where it covers nothing that stands there
  // already and stays on the map: null where there is no such place, or the least bad one where it is needed.
  placing(c) {
    const {xaxis, yaxis} = this.div._fullLayout, room = new LabelRoom(c.font);
    const inside = (middle, half, length) => Math.min(Math.max(middle, half), Math.max(half, length - half));
    const place = (x, y, text, {size, gap, needed = false, spots = null, colour: ink = c.ink, more = {}}) => {
      const found = room.measure(text, size), half = found.half, high = found.high + 3, [px, py] = [xaxis.d2p(x), yaxis.d2p(y)];
      const around = far => [[0, far + high], [0, -far - high], [half + far, 0], [-half - far, 0], [half, far + high], [-half, far + high], [half, -far - high], [-half, -far - high]];
      const boxes = (spots ?? (needed ? [gap, gap + 20, gap + 40] : [gap]).flatMap(around))
        .map(([dx, dy]) => ({x: inside(px + dx, half, xaxis._length), y: inside(py + dy, high, yaxis._length), half, high}));
      const box = boxes[room.take(boxes, needed)];
      if (!box) return null;
      return {x, y, text: plain(text), showarrow: false, xanchor: 'center', yanchor: 'middle', xshift: box.x - px, yshift: py - box.y,
        font: {family: c.font, size, color: ink}, bgcolor: c.sheet + 'd0', borderpad: 2, ...more};
    };
    place.keep = (x, y, half, below = 0) => room.keep({x: xaxis.d2p(x), y: yaxis.d2p(y) + below, half, high: half});
    return place;
  }

  // The names of the clusters in their middle, the largest first; one that would cover another, or that no word tells from others, is below the map alone.
  names({data, by, marked, centre}, place, x, y) {
    if (by !== 'cluster' || marked.size || centre !== null) return [];
    const median = values => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
    return data.names.flatMap((words, k) => {
      if (!words.length && data.names.some(other => other.length)) return [];
      const mine = data.cluster.flatMap((which, i) => which === k ? [i] : []);
      const spots = [[0, mine.length < FEW ? -18 : 0]];  // it would hide all there is of a small cluster
      return place(median(mine.map(i => x[i])), median(mine.map(i => y[i])), clusterName(data, k), {size: 13, gap: 0, spots}) ?? [];
    });
  }

  // How far the nearest of the listed texts are, at their points.
  distances({listed, centre, asked}, place, x, y) {
    if (centre === null && !asked) return [];
    return listed.filter(([i]) => i !== centre).slice(0, TOLD).flatMap(([i, far]) => place(x[i], y[i], far.toFixed(2), {size: 12, gap: 6}) ?? []);
  }

  // Waypoints that were sent here, numbered in their order.
  way({waypoints, chart}, c) {
    const spots = waypoints?.at[chart];
    if (!spots) return [];
    return [{type: 'scatter', mode: 'lines+markers+text', x: spots.map(p => p[0]), y: spots.map(p => p[1]), text: spots.map((_, i) => String(i + 1)),
      hovertext: waypoints.texts.map((text, i) => (i + 1) + ': ' + plain(short(text, 90))), hoverinfo: 'text', textposition: 'top center', textfont: {family: c.font, size: 13, color: c.accent},
      line: {color: c.accent, width: 2.5}, marker: {size: 9, color: c.accent, line: {color: c.sheet, width: 1.5}}}];
  }

  // The text of the search, a diamond among the dots.
  query({asked, chart}, c) {
    const spot = asked?.at[chart];
    if (!spot) return [];
    return [{type: 'scatter', mode: 'markers', name: 'query', x: [spot[0]], y: [spot[1]], hoverinfo: 'text', hovertext: [plain(short(asked.text, 90))],
      marker: {symbol: 'diamond', size: 17, color: c.accent, line: {color: c.sheet, width: 2}}}];
  }

  // The picture as the address of a file; null while there is none.
  async file(format) {
    return this.Plotly && this.scene().data ? this.Plotly.toImage(this.div, {format, width: 1600, height: 1000}) : null;
  }
}

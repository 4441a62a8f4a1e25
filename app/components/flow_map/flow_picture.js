/* global LabelRoom, decimals, label, percent, unpack */
// The picture of a flow map: the reference cloud and the paths of runs, drawn by Plotly. Knows nothing of the page.

// Plotly reads labels as a little HTML, but for those in a 3D scene: what comes from the model is made plain text.
function plain(text, view) {
  if (view?.dims === 3) return text;
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

function hasWebGL() {
  const canvas = document.createElement('canvas');
  return Boolean(canvas.getContext('webgl2') || canvas.getContext('webgl'));
}

// A point (x, y, z, 1) moved by a matrix of WebGL, column after column.
function transformed(matrix, point) {
  return [0, 1, 2, 3].map(row => point.reduce((sum, value, column) => sum + matrix[4 * column + row] * value, 0));
}

const WIDEST = 2;      // times that a map is drawn wider than to scale
const BANDS = 4;       // colours of a path from noise to word: a line of Plotly's has one, so a path is this many lines
const MARGIN = 6;      // px around a map, where a label may still stand
const [WORD, CHOSEN, SIGN] = [14, 15, 12];  // px of labels

class FlowPicture {
  // div: where to draw. colours(): the colours of the page now. picked(detail): a point was clicked. zoomed(): the
  // map is to be drawn again, for other labels have room now.
  constructor(Plotly, div, data, colours, picked, zoomed = () => {}) {
    Object.assign(this, {Plotly, div, data, colours, picked, zoomed, cloud: null, drawn: '', stretch: 1});
    this.webgl = hasWebGL();
  }

  setCloud(text) {
    this.cloud = text ? JSON.parse(text) : null;
    if (this.cloud) this.cloud.at = Object.fromEntries(Object.entries(this.cloud.at).map(([k, v]) => [k, unpack(v)]));
    this.drawn = '';
  }

  has(chart, dims) { return Boolean(this.cloud?.at[chart === 'pca' ? 'pca' : chart + dims]) && (dims === 2 || this.webgl); }

  // Coordinates of point i among those of this view.
  point(at, i, view) {
    const name = view.chart === 'pca' ? 'pca' : view.chart + view.dims;
    const stride = view.chart === 'pca' ? 3 : view.dims, unit = this.cloud.units[name];
    return Array.from(at[name].subarray(i * stride, i * stride + view.dims), whole => whole * unit);
  }

  // The paths that are drawn: of every place, or of every block (the centre of its places).
  *paths(run, view) {
    for (let b = 0; b < run.blocks.length; b += 1) {
      const count = view.blocks ? 1 : run.places;
      for (let place = 0; place < count; place += 1) {
        if (view.blocks || !this.data.pinned(run, b, place)) yield [b, view.blocks ? null : place];
      }
    }
  }

  where(run, block, index, place, view) {
    const at = run.blocks[block].states[index][view.clean ? 'clean' : 'at'];
    if (place !== null) return this.point(at, place, view);
    const all = Array.from({length: run.places}, (_, i) => this.point(at, i, view));
    return all[0].map((_, axis) => all.reduce((sum, p) => sum + p[axis], 0) / run.places);
  }

  words(run, block, index, place) {
    const state = run.blocks[block].states[index];
    if (!state.words) return place === null ? 'block ' + (block + 1) : '·';
    return place === null ? state.words.join('').trim() : label(state.words[place]);
  }

  // Noise of a place, or of a block, in per cent.
  level(run, block, index, place) {
    const state = run.blocks[block].states[index];
    return place === null ? this.data.noise(run, block, state) : state.noise[place];
  }

  // Several runs have a colour each; a single one shows its time, from noise to word.
  get compared() { return this.data.runs.size > 1; }

  band(level) { return Math.min(BANDS - 1, Math.max(0, Math.floor(BANDS * (1 - level / 100)))); }

  hoverText(run, block, index, place) {
    const state = run.blocks[block].states[index];
    const level = this.level(run, block, index, place);
    const noise = 'noise ' + decimals(level) + ' %, t = ' + Math.round(10 * level);
    const who = this.data.runs.size > 1 ? run.label + ', ' : '';
    const spot = who + 'block ' + (block + 1) + (place === null ? '' : ', place ' + (place + 1));
    const sure = place !== null && state.sure ? '<br>' + percent(state.sure[place]) + ' sure' : '';
    return '<b>' + plain(this.words(run, block, index, place).slice(0, 60)) + '</b>' + sure + '<br>' + noise + '<br>' + plain(spot);
  }

  // What moves from frame to frame. Labels get room in this order: the chosen path, words in flight, signposts.
  scene(frame, view, fresh = false) {
    const room = this.room(view, fresh), chosen = this.chosen(view, room);
    return {chosen, runs: this.arrays(frame, view, room), signs: this.signposts(view, room)};
  }

  // Everything of a frame, as arrays for Plotly: for every run its trails and its heads. The trails of one run are its
  // bands of time, those of several are what has not settled and what has.
  arrays(frame, view, room = this.room(view)) {
    const c = this.colours();
    const runs = this.data.list.map(run => {
      const ink = c.runs[run.index % c.runs.length];
      const trails = Array.from({length: this.compared ? 2 : BANDS}, () => this.empty());
      const heads = {...this.empty(), words: [], text: [], position: [], colour: [], size: [], edge: []};
      for (const [b, place] of this.paths(run, view)) {
        const index = this.data.stateIndex(run, b, frame);
        if (index < 0) continue;
        const block = run.blocks[b];
        const moving = frame.block === null || b === frame.block;
        const settled = block.settled === null ? Infinity
          : place === null ? Math.max(...block.settled) : block.settled[place];
        if (moving || view.trails) {
          this.trail(trails, run, b, place, index, view, until => !this.compared ? this.band(this.level(run, b, until, place)) : until > settled ? 1 : 0);
        }
        const state = block.states[index];
        const sure = !state.sure ? 0.5 : place === null ? state.sure.reduce((s, p) => s + p, 0) / state.sure.length : state.sure[place];
        this.push(heads, run, b, index, place, view);
        heads.words.push(moving && view.words ? this.words(run, b, index, place).slice(0, 24) : '');
        heads.colour.push(sure);
        heads.size.push((moving ? 9 : 6) / (view.dims - 1));
        heads.edge.push(!this.compared ? c.time[index >= settled ? BANDS - 1 : this.band(this.level(run, b, index, place))] : index >= settled ? ink : c.pale);
      }
      return {trails, heads};
    });
    for (const {heads} of runs) room.keepDots(heads);
    for (const {heads} of runs) this.nameHeads(heads, room, view);
    return runs;
  }

  nameHeads(heads, room, view) {
    heads.words.forEach((word, i) => {
      const position = room.at({x: [heads.x[i]], y: [heads.y[i]], z: [heads.z[i]]}, word, WORD, heads.size[i] / 2);
      heads.text.push(position ? plain(word, view) : '');
      heads.position.push(position || 'top center');
    });
  }

  // Room for labels: room.at(points, text, size, radius) is where the label of the point that came last stands beside its
  // dot, as Plotly calls it, or '' where it would cover another or leave the map; room.keepDots(heads) keeps labels that
  // come later off these dots. fresh: this view is not drawn yet, so that its scale is a guess.
  room(view, fresh = false) {
    const {spot, width, height} = this.scale(view, fresh), room = new LabelRoom(this.colours().font, width + 2 * MARGIN, height + 2 * MARGIN);
    if (!this.compared) room.keep({x: width + MARGIN - 70, y: 16, half: 76, high: 16});  // what the colours mean
    room.at = (points, text, size, radius, names = ['top center', 'bottom center', 'middle right', 'middle left']) => {
      if (!text) return '';
      const {half, high} = room.measure(text, size), away = radius / 0.8 + 1;
      const [px, py] = spot(points.x.at(-1), points.y.at(-1), points.z?.at(-1)).map(pixels => MARGIN + pixels);
      const spots = {'top center': [0, -away - 0.6 * size], 'bottom center': [0, away + 0.5 * size], 'middle right': [away + half, 0],
        'middle left': [-away - half, 0], 'middle center': [0, 0]};
      // a scene turns, so that its labels stay where they are beside their dots, and are left out where they have no room
      const usable = view.dims === 3 ? names.slice(0, 1) : names;
      return usable[room.take(usable.map(name => ({x: px + spots[name][0], y: py + spots[name][1], half, high})))] ?? '';
    };
    room.keepDots = ({x, y, z, size}) => x.forEach((value, i) => {
      const [px, py] = spot(value, y[i], z[i]);
      room.keep({x: MARGIN + px, y: MARGIN + py, half: size[i] / 2, high: size[i] / 2});
    });
    return room;
  }

  // Where coordinates lie on the screen, in pixels of the map, and its size: as Plotly has drawn it, so after a zoom or a
  // turn too.
  scale(view, fresh) {
    const axes = this.div?._fullLayout;
    if (!fresh && view.dims === 2 && axes?.xaxis?.d2p) {
      return {spot: (x, y) => [axes.xaxis.d2p(x), axes.yaxis.d2p(y)], width: axes.xaxis._length, height: axes.yaxis._length};
    }
    const camera = axes?.scene?._scene?.glplot?.cameraParams;
    if (!fresh && view.dims === 3 && camera) return this.seen(camera, axes.scene._scene.dataScale, axes._size);
    const {low, high} = this.box ?? this.extent(view), width = this.div?.clientWidth || 700, height = this.div?.clientHeight || 400;
    const share = (value, axis) => (value - low[axis]) / (high[axis] - low[axis] || 1);
    return {spot: (x, y) => [width * (0.05 + 0.9 * share(x, 0)), height * (0.95 - 0.9 * share(y, 1))], width, height};
  }

  // The same for a scene as its camera sees it; Plotly places the annotations of a scene so. size: of the map.
  seen({projection, view, model}, dataScale, {w, h}) {
    const spot = (...point) => {
      const scaled = [...point.map((value, axis) => value * dataScale[axis]), 1];
      const [x, y, , far] = [model, view, projection].reduce((at, matrix) => transformed(matrix, at), scaled);
      return [w * (1 + x / far) / 2, h * (1 - y / far) / 2];
    };
    return {spot, width: w, height: h};
  }

  // A point with its hover text: both are made once for every state and view.
  at(run, block, index, place, view) {
    const kind = view.chart + view.dims + view.clean + (place === null) + this.data.runs.size;
    const state = run.blocks[block].states[index];
    const made = (state.made ??= {})[kind] ??= [];
    return made[place ?? 0] ??= {
      point: this.where(run, block, index, place, view), hover: this.hoverText(run, block, index, place), data: [run.run, block, state.step, place],
    };
  }

  empty() { return {x: [], y: [], z: [], hover: [], data: []}; }

  push(to, run, block, index, place, view) {
    const {point: [x, y, z], hover, data} = this.at(run, block, index, place, view);
    to.x.push(x); to.y.push(y); to.z.push(z ?? 0);
    to.hover.push(hover);
    to.data.push(data);
  }

  // A path until a state, cut into the trails of its steps: which(state) says to which the step belongs that ends there.
  trail(trails, run, block, place, until, view, which) {
    let to = null;
    const cut = () => {
      for (const key of ['x', 'y', 'z']) to?.[key].push(null);
      to?.hover.push(''); to?.data.push(null);
    };
    for (let index = 1; index <= until; index += 1) {
      const next = trails[which(index)];
      if (next !== to) {
        cut();
        to = next;
        this.push(to, run, block, index - 1, place, view);
      }
      this.push(to, run, block, index, place, view);
    }
    cut();
  }

  runColour(run) { return this.colours().runs[run.index % this.colours().runs.length]; }

  // The path that is picked out: thick, with a word wherever it changes and has room.
  chosen(view, room = this.room(view)) {
    const out = {...this.empty(), text: [], position: []};
    const run = view.chosen && this.data.runs.get(view.chosen.run);
    const states = run?.blocks[view.chosen.block]?.states;
    if (!states) return out;
    const words = states.map((_, index) => this.words(run, view.chosen.block, index, view.chosen.place));
    for (let index = states.length - 1; index >= 0; index -= 1) { // from its end, whose word is to stand there
      this.push(out, run, view.chosen.block, index, view.chosen.place, view);
      const word = words[index] === words[index - 1] ? '' : words[index].slice(0, 24);
      const position = room.at(out, word, CHOSEN, (view.dims === 2 ? 7 : 4) / 2, ['bottom center', 'top center', 'middle right', 'middle left']);
      out.text.push(position ? plain(word, view) : '');
      out.position.push(position || 'bottom center');
    }
    return out;
  }

  // A few words of the cloud, spread out, so that the map can be read before anything is pointed at.
  signposts(view, room = this.room(view)) {
    const taken = new Set(), out = {x: [], y: [], z: [], text: [], textposition: []};
    const {low, high} = this.extent(view);
    const cells = view.dims === 2 ? 7 : 3;
    this.cloud.words.forEach((word, i) => {
      const text = label(word);
      if (!/^[\p{L}]{3,12}$/u.test(text)) return;
      const p = this.point(this.cloud.at, i, view);
      const cell = p.map((v, axis) => Math.floor(cells * (v - low[axis]) / (high[axis] - low[axis] || 1))).join();
      if (taken.has(cell) || taken.has(text)) return;
      taken.add(cell).add(text);  // with room or without, so that no other word comes in its place while heads go by
      const share = (p[0] - low[0]) / (high[0] - low[0] || 1);  // at an edge a word stands on the side where there is room
      const position = room.at({x: [p[0]], y: [p[1]], z: [p[2]]}, text, SIGN, 0, [share > 0.85 ? 'middle left' : share < 0.15 ? 'middle right' : 'middle center']);
      if (!position) return;
      out.x.push(p[0]); out.y.push(p[1]); out.z.push(p[2] ?? 0); out.text.push(plain(text)); out.textposition.push(position);
    });
    return out;
  }

  extent(view) {
    const low = Array(view.dims).fill(Infinity), high = Array(view.dims).fill(-Infinity);
    const see = p => p.forEach((v, axis) => { low[axis] = Math.min(low[axis], v); high[axis] = Math.max(high[axis], v); });
    this.cloud?.words.forEach((_, i) => see(this.point(this.cloud.at, i, view)));
    for (const run of this.data.list) {
      run.blocks.forEach((block, b) => block.states.forEach((_, index) => {
        for (let place = 0; place < run.places; place += 1) if (!this.data.pinned(run, b, place)) see(this.at(run, b, index, place, view).point);
      }));
    }
    return {low, high};
  }

  traces(frame, view) {
    const c = this.colours(), flat = view.dims === 2, type = flat ? 'scatter' : 'scatter3d';
    const small = {family: c.font, size: SIGN, color: c.muted}, {chosen: picked, runs, signs} = this.scene(frame, view, true);
    const dots = Array.from({length: view.dims}, () => []);
    this.cloud.words.forEach((_, i) => this.point(this.cloud.at, i, view).forEach((v, axis) => dots[axis].push(v)));
    const traces = [
      {type, mode: 'markers', x: dots[0], y: dots[1], z: dots[2], name: 'words', // in SVG like the paths: WebGL draws above them
        hovertext: this.cloud.words.map(word => plain(label(word))), hoverinfo: 'text',
        marker: {size: flat ? 4 : 1.5, color: c.cloud, opacity: flat ? 1 : 0.5, line: {width: 0}}},
      {type, mode: 'text', ...signs, textfont: small, hoverinfo: 'skip', name: 'signposts'},
    ];
    runs.forEach(({trails, heads}, i) => {
      const run = this.data.list[i];
      const line = (part, colour, width) => ({type, mode: 'lines', x: part.x, y: part.y, z: part.z, hovertext: part.hover,
        hoverinfo: 'text', customdata: part.data, line: {color: colour, width}, connectgaps: false, name: run.label});
      if (this.compared) traces.push(line(trails[0], this.runColour(run) + '77', flat ? 1.25 : 2), line(trails[1], this.runColour(run), flat ? 2 : 3));
      else traces.push(...trails.map((part, band) => line(part, c.time[band], flat ? 2 : 3)));
      traces.push({type, mode: 'markers+text', x: heads.x, y: heads.y, z: heads.z, text: heads.text, hovertext: heads.hover,
        hoverinfo: 'text', customdata: heads.data, name: run.label, textposition: heads.position, cliponaxis: false,
        textfont: {family: c.font, size: WORD, color: c.ink},
        marker: {size: heads.size, color: heads.colour, cmin: 0, cmax: 1, colorscale: [[0, c.unsure], [1, c.sure]],
          line: {color: heads.edge, width: flat ? 1.5 : 2}}});
    });
    traces.push({type, mode: 'lines+markers+text', x: picked.x, y: picked.y, z: picked.z, text: picked.text, hovertext: picked.hover,
      hoverinfo: 'text', customdata: picked.data, name: 'chosen path', textposition: picked.position, cliponaxis: false,
      textfont: {family: c.font, size: CHOSEN, color: c.accent}, line: {color: c.accent, width: flat ? 3 : 6},
      marker: {size: flat ? 7 : 4, color: c.accent}});
    return traces.map(trace => flat ? (({z, ...rest}) => rest)(trace) : (({cliponaxis, ...rest}) => rest)(trace));
  }

  layout(view) {
    const c = this.colours(), name = view.chart + view.dims;
    const {low, high} = this.extent(view);
    const title = axis => view.chart !== 'pca' ? '' : 'component ' + (axis + 1) + ' (' + percent(this.cloud.explained[axis]) + ' of variance)';
    const axis = i => ({range: [low[i] - 0.06 * (high[i] - low[i]), high[i] + 0.06 * (high[i] - low[i])], showticklabels: false,
      zeroline: false, showgrid: false, ticks: '', title: {text: title(i), font: {size: 12, color: c.muted}}, color: c.muted});
    const base = {uirevision: name, showlegend: false, hovermode: 'closest', paper_bgcolor: c.sheet, plot_bgcolor: c.sheet,
      font: {family: c.font, color: c.ink}, margin: {t: MARGIN, r: MARGIN, b: title(0) ? 30 : MARGIN, l: title(0) ? 26 : MARGIN}, dragmode: view.dims === 2 ? 'pan' : 'orbit',
      hoverlabel: {bgcolor: c.sheet, bordercolor: c.line, font: {family: c.font, color: c.ink, size: 14}, align: 'left'}};
    if (view.dims === 2) return {...base, xaxis: axis(0), yaxis: view.chart === 'pca' ? {...axis(1), scaleanchor: 'x', scaleratio: 1 / this.stretch} : axis(1)};
    const lines = i => ({...axis(i), showgrid: true, gridcolor: c.line, backgroundcolor: c.sheet, showspikes: false});
    return {...base, scene: {xaxis: lines(0), yaxis: lines(1), zaxis: lines(2), uirevision: name, bgcolor: c.sheet, camera: {eye: {x: 1.05, y: 1.05, z: 0.8}}}};
  }

  // How many times wider than to scale a PCA is drawn, where its place is wide and low.
  stretched({low, high}) {
    const shape = (high[0] - low[0]) / (high[1] - low[1] || 1), place = this.div.clientWidth / (this.div.clientHeight || 1);
    return Math.min(WIDEST, Math.max(1, place / shape)) || 1;
  }

  // Draws a frame: the arrays that move alone, or everything where the view or the runs have changed.
  async draw(frame, view, anew = false) {
    const key = JSON.stringify([view.chart, view.dims, view.clean, this.data.runs.size, this.colours()]);
    if (!anew && key === this.drawn) return this.move(frame, view);
    this.drawn = key;
    this.box = this.extent(view);
    this.stretch = this.stretched(this.box);
    const config = {responsive: true, displaylogo: false, scrollZoom: false, displayModeBar: false, doubleClick: 'reset'};
    await this.Plotly.react(this.div, this.traces(frame, view), this.layout(view), config);
    if (view.dims === 2) await this.move(frame, view);  // labels are placed by the scale that Plotly has found
    else requestAnimationFrame(() => requestAnimationFrame(() => this.zoomed()));  // the camera looks once a frame is drawn
    if (this.listening) return;
    this.listening = true;
    this.div.on('plotly_relayout', change => { if (Object.keys(change).some(name => /^([xy]axis|scene[.]camera)/.test(name))) this.zoomed(); });
    this.div.on('plotly_click', event => {
      const data = event.points[0]?.customdata ?? this.under(event);
      if (data) this.picked({run: data[0], block: data[1], step: data[2], place: data[3]});
    });
  }

  // The point of a path under a click that Plotly gives to a dot of the cloud: of two, it takes the smaller.
  under({event, points}) {
    const {xaxis, yaxis} = this.div._fullLayout;
    if (points[0]?.z !== undefined || !event) return null;
    const box = this.div.getBoundingClientRect(), x = event.clientX - box.x - xaxis._offset, y = event.clientY - box.y - yaxis._offset;
    let best = null, least = 9;
    for (const trace of this.div.data) {
      trace.customdata?.forEach((data, i) => {
        const far = data ? Math.hypot(xaxis.d2p(trace.x[i]) - x, yaxis.d2p(trace.y[i]) - y) : Infinity;
        if (far < least) [best, least] = [data, far];
      });
    }
    return best;
  }

  // Takes the size of its place. Plotly makes ranges larger to keep the scale, and never smaller: they are to be set anew.
  async resize() {
    await this.Plotly.Plots.resize(this.div);
  }

  // Only the traces that move: in two dimensions Plotly leaves the cloud as it is, which restyle draws anew.
  async move(frame, view) {
    const update = [];
    const {chosen: picked, runs, signs} = this.scene(frame, view);
    for (const {trails, heads} of runs) {
      const marker = {color: heads.colour, size: heads.size, line: {color: heads.edge}};
      update.push(...trails.map(trail => this.moved(trail, view)), {...this.moved(heads, view), text: heads.text, textposition: heads.position, marker});
    }
    update.push({...this.moved(picked, view), text: picked.text, textposition: picked.position});
    const traces = update.map((_, i) => i + 2); // after the cloud and its signposts
    const {x, y, z, text, textposition} = signs, some = values => values.length ? values : [null];
    update.unshift({x: some(x), y: some(y), ...(view.dims === 3 ? {z: some(z)} : {}), text, textposition});
    traces.unshift(1);
    if (view.dims === 2) {
      const still = {duration: 0};
      return this.Plotly.animate(this.div, {data: update, traces}, {mode: 'immediate', frame: {...still, redraw: false}, transition: still});
    }
    const all = key => update.map(trace => trace[key]);
    const marks = {'marker.color': 'color', 'marker.size': 'size'};
    return this.Plotly.restyle(this.div, {x: all('x'), y: all('y'), z: all('z'), hovertext: all('hovertext'), customdata: all('customdata'),
      text: update.map(trace => trace.text ?? ''), textposition: update.map(trace => trace.textposition ?? 'top center'), ...Object.fromEntries(Object.entries(marks).map(([path, key]) =>
        [path, update.map((trace, i) => trace.marker?.[key] ?? this.div.data[traces[i]].marker?.[key] ?? null)])),
      'marker.line.color': update.map((trace, i) => trace.marker?.line.color ?? this.div.data[traces[i]].marker?.line?.color ?? null)}, traces);
  }

  // A trace without a point is one that Plotly leaves as it was drawn last: it gets a point that lies nowhere.
  moved({x, y, z, hover, data}, view) {
    const some = values => values.length ? values : [null];
    return {x: some(x), y: some(y), ...(view.dims === 3 ? {z: some(z)} : {}), hovertext: hover, customdata: data};
  }

  async picture(format) {
    const {data, layout} = this.div, scale = layout.yaxis?.scaleanchor ? {yaxis: {...layout.yaxis, scaleratio: 1}} : {};
    return this.Plotly.toImage({data, layout: {...layout, ...scale}}, {format, width: 1600, height: 1000, scale: 1});
  }
}

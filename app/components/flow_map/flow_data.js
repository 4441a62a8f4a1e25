// Runs on a map, read from lines of JSON (app/trajectories/records.py). Knows nothing of the page or of Plotly.

function unpack(text) {
  const bytes = Uint8Array.from(atob(text), c => c.charCodeAt(0));
  return new Int16Array(bytes.buffer);
}

const TINY = 1e-6;

class FlowData {
  constructor() {
    this.runs = new Map();
    this.text = '';
    this.serial = FlowData.made = (FlowData.made ?? 0) + 1; // tells what was read from one text from what was from another
  }

  // Takes the whole text; reads only what is new. Returns false where it is not a longer form of what was read.
  read(text) {
    if (!text.startsWith(this.text)) return false;
    for (const part of text.slice(this.text.length).split('\n')) {
      if (part) this.add(JSON.parse(part));
    }
    this.text = text;
    return true;
  }

  add(record) {
    if (record.is === 'run') {
      this.runs.set(record.run, {...record, blocks: [], index: this.runs.size});
      return;
    }
    const run = this.runs.get(record.run);
    while (run.blocks.length <= record.block) run.blocks.push({states: [], settled: null, end: null});
    const block = run.blocks[record.block];
    const arrays = packed => Object.fromEntries(Object.entries(packed).map(([name, text]) => [name, unpack(text)]));
    block.states.push({...record, at: arrays(record.at), clean: arrays(record.clean ?? record.at)});
    if (record.last) {
      block.end = block.states.at(-1);
      block.settled = record.words.map((_, place) => this.settled(block, place));
    }
  }

  // The first state from which the chosen word stays; the last one if no earlier state reads it.
  settled(block, place) {
    const same = state => state.ids && state.ids[place].join() === block.end.ids[place].join();
    let from = block.states.length - 1;
    while (from > 0 && same(block.states[from - 1])) from -= 1;
    return from;
  }

  get list() { return [...this.runs.values()]; }
  get steps() {
    return Math.max(1, ...this.list.flatMap(run => run.blocks.flatMap(block => block.states.length ? block.states[0].of : [])));
  }
  get blocks() { return Math.max(0, ...this.list.map(run => run.blocks.length)); }

  // The moments of a film: {block, share}, share of the way from noise to word; block is null where all go at once.
  frames(together) {
    const frames = [];
    for (let block = 0; block < (together ? Math.min(1, this.blocks) : this.blocks); block += 1) {
      for (let step = 0; step <= this.steps; step += 1) {
        const share = step / this.steps;
        if (together || this.reached(block, share)) frames.push({block: together ? null : block, share});
      }
    }
    return frames;
  }

  // Has any run come so far? A run that grows ends at its last state.
  reached(block, share) {
    return this.list.some(run => {
      const last = run.blocks[block]?.states.at(-1);
      return last && last.step / last.of > share - TINY;
    });
  }

  // For a Roll: of each frame a row for every place of every run, null where there is none at that moment. What comes after
  // the end of the text counts as open for good.
  columns(frames) {
    return frames.map(frame => this.list.flatMap(run => {
      const blocks = frame.block === null ? run.blocks.keys() : [frame.block];
      return [...blocks].flatMap(b => {
        const index = this.stateIndex(run, b, frame), state = run.blocks[b]?.states[index];
        return Array.from({length: run.places}, (_, place) => !state || this.pinned(run, b, place) ? null
          : [this.isText(run, b, place) && this.isSettled(run, b, index, place), state.sure?.[place] ?? 0]);
      });
    }));
  }

  // The frames with which a block begins.
  starts(frames) {
    return frames.flatMap(({block}, i) => i === 0 || frames[i - 1].block !== block ? [i] : []);
  }

  // Index of the state that a block of a run shows in a frame, or -1 before it has begun.
  stateIndex(run, block, frame) {
    const states = run.blocks[block]?.states ?? [];
    if (!states.length || (frame.block !== null && block > frame.block)) return -1;
    if (frame.block !== null && block < frame.block) return states.length - 1;
    let index = -1;
    while (index + 1 < states.length && states[index + 1].step / states[index + 1].of < frame.share + TINY) index += 1;
    return index;
  }

  // Index of the frame that shows a step of a block of a run, or -1.
  frameOf(frames, run, block, step) {
    const state = run.blocks[block]?.states.find(s => s.step === step);
    if (!state) return -1;
    return frames.findIndex(f => (f.block === null || f.block === block) && f.share > state.step / state.of - TINY);
  }

  // Mean noise of the places of a state that are not pinned, in per cent.
  noise(run, block, state) {
    const free = state.noise.filter((_, place) => state.last || !this.pinned(run, block, place));
    return free.length ? free.reduce((sum, n) => sum + n, 0) / free.length : 0;
  }

  pinned(run, block, place) {
    const first = run.blocks[block].states[0];
    return first !== undefined && !first.last && first.noise[place] === 0;
  }

  // Does a place belong to the text? What a block holds after its end, or after as many tokens as were asked for, does not.
  isText(run, block, place) {
    const end = run.blocks[block].end;
    return end === null || end.text === undefined || place < end.text;
  }

  isSettled(run, block, index, place) {
    const settled = run.blocks[block].settled;
    return settled !== null && index >= settled[place];
  }

  // How many places of a run have settled by a frame, of how many that have begun; how many of these are after the text.
  count(run, frame) {
    let settled = 0, begun = 0, after = 0;
    run.blocks.forEach((block, b) => {
      const index = this.stateIndex(run, b, frame);
      if (index < 0) return;
      for (let place = 0; place < run.places; place += 1) {
        if (this.pinned(run, b, place)) continue;
        begun += 1;
        settled += this.isSettled(run, b, index, place);
        after += !this.isText(run, b, place);
      }
    });
    return {settled, begun, after};
  }
}

// A run as its card needs it, from what the page shows: {prompt, facts, words: [{text, block, path}]}, a path the states of
// a word from noise on: {x, y, t, word, sure}, where it lies from its end in units of the latent space, its share of noise,
// what is read there and how surely. Knows nothing of the page.

class CardRun {
  // Without names of special tokens, and without characters that no SVG can hold.
  static text(word) { return word.replace(/<\|[^|<>]*\|>/g, '∎').replace(/(?![\t\n\r])\p{Cc}|\p{Cs}|[\ufffe\uffff]/gu, '\ufffd'); }

  static word(block, states) {
    const end = states.at(-1);
    const path = states.map(state => ({...state, x: CardRun.round(state.x - end.x), y: CardRun.round(state.y - end.y), word: CardRun.text(state.word)}));
    return {text: path.at(-1).word, block, path};
  }

  static round(value) { return Math.round(value * 1000) / 1000; }

  // A word that has no path, because it was given.
  static given(block, text) { return {text: CardRun.text(text), block, path: []}; }

  // Of the value of a FlowView with lines; `unpack` gives the places of a state. prompt: as the TokenStrip shows it.
  static fromPaths(value, unpack, prompt) {
    const blocks = new Map();
    for (const line of value.lines.split('\n')) {
      if (!line) continue;
      const state = JSON.parse(line);
      if (!blocks.has(state.block)) blocks.set(state.block, []);
      blocks.get(state.block).push({...state, at: unpack(state.at)});
    }
    const words = [...blocks].flatMap(([block, states]) => states.at(-1).words.map((_, i) => CardRun.word(block,
      states.filter(state => i < state.words.length).map(({at, t, words: read, sure}) =>
        ({x: at[2 * i], y: at[2 * i + 1], t: t[i] / 100, word: read[i], sure: sure[i] / 100})))));
    return {prompt: CardRun.text(prompt), facts: value.facts ?? {}, words};
  }

  // Of a run of a FlowMap's data. unit: of the coordinates of PCA.
  static fromFlow(data, run, unit) {
    const words = [];
    let given = '';      // what was given at the start of the run, until a word of its own comes
    run.blocks.forEach((block, b) => {
      const states = block.states.filter(state => state.words);
      if (!states.length) return;
      states.at(-1).words.forEach((text, place) => {
        if (!data.isText(run, b, place)) return;
        if (data.pinned(run, b, place)) return void words.push(CardRun.given(b, text));
        words.push(CardRun.word(b, states.map(state => ({x: state.at.pca[3 * place] * unit, y: state.at.pca[3 * place + 1] * unit,
          t: state.noise[place] / 100, word: state.words[place], sure: state.sure[place]}))));
      });
    });
    let first = 0;
    while (first < words.length && !words[first].path.length) given += words[first++].text;
    return {prompt: CardRun.text(run.prompt), facts: run.facts ?? {}, words: CardRun.text(run.prompt).endsWith(given) ? words.slice(first) : words};
  }

  // The run as a file's name says it.
  static fileName({prompt, words, facts}) {
    const beginning = (prompt + words.map(word => word.text).join('')).normalize('NFC').toLowerCase();
    const name = beginning.split(/[^\p{L}\p{M}\p{N}]+/u).filter(Boolean).slice(0, 5).map(word => word.slice(0, 24)).join('-');
    return [name || 'run', ...(facts.seed === undefined ? [] : ['seed-' + facts.seed])].join('-');
  }
}

/* global CardFilm, CardLayout, CardPicture */
// A card as one HTML file: it plays in any browser without a network, light or dark as its reader has it.

class CardPage {
  static escaped(text) { return text.replace(/[&<>"']/g, letter => '&#' + letter.charCodeAt(0) + ';'); }

  // Data as a script element can hold it: no text of it ends the element.
  static data(value) { return JSON.stringify(value).replace(/</g, '\\u003c').replace(/\u2028/g, '\\u2028').replace(/\u2029/g, '\\u2029'); }

  static EXPLAINED = 'Each line is a word on its way: its latent, seen on two principal components, from noise (grey) along the flow (blue) to where it is that word (amber).';

  // font: the page's font as a data: address, '' for one that the reader has.
  static of(run, font = '') {
    const {title = 'Cola-DLM Explorer', caption = '', model = '', line = '', link = ''} = run.facts, text = run.prompt + run.words.map(word => word.text).join('');
    const made = [model, line, run.facts.fresh ? caption : ''].filter(Boolean).join(', ');
    const e = CardPage.escaped, colours = name => {
      const {page, ink, muted, flow} = CardPicture.THEMES[name];
      return `--page: ${page}; --ink: ${ink}; --muted: ${muted}; --flow: ${flow};`;
    };
    return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
<title>${e(text.trim().slice(0, 60))} - ${e(title)}</title>
<style>
${font && `@font-face { font-family: "Source Sans Pro"; src: url(${font}) format("woff2"); }\n`}:root { ${colours('light')} }
@media (prefers-color-scheme: dark) { :root { ${colours('dark')} } }
body { margin: 0 auto; padding: 16px; max-width: 1200px; background: var(--page); color: var(--ink); font: 400 1rem/1.5 ${CardPicture.FONT}; }
figure { margin: 0; }
canvas { display: block; width: 100%; height: auto; aspect-ratio: ${CardLayout.WIDTH} / ${CardLayout.HEIGHT}; }
figcaption, .text { max-width: 46rem; margin: 12px 0; }
figcaption, summary { color: var(--muted); }
.text { white-space: pre-wrap; overflow-wrap: anywhere; unicode-bidi: plaintext; font-size: 1.125rem; }
button { min-height: 44px; padding: 0 16px; font: inherit; color: var(--ink); background: none; border: 1px solid var(--muted); border-radius: 6px; cursor: pointer; }
a { color: var(--flow); overflow-wrap: anywhere; }
</style></head>
<body>
<main>
<h1 hidden>${e(title)}</h1>
<figure><canvas role="img" aria-label="${e(text)}"></canvas>
<figcaption>${e(CardPage.EXPLAINED)} ${made ? 'Model and settings: ' + e(made) + '.' : ''}${link ? ` <a href="${e(link)}">The same run on its page</a>` : ''}</figcaption></figure>
<button type="button">Play</button>
<details><summary>The text</summary><p class="text" dir="auto" lang="">${e(text)}</p></details>
</main>
<script>
'use strict';
${[CardLayout, CardPicture, CardFilm, 'function ' + CardPage.play].map(String).join('\n')}
document.fonts.load('20px "Source Sans Pro"').finally(() => play(${CardPage.data(run)}));
</script>
</body></html>
`;
  }

  // What runs on that page.
  static play(run) {
    const canvas = document.querySelector('canvas'), button = document.querySelector('button'), dark = matchMedia('(prefers-color-scheme: dark)');
    const ruler = document.createElement('canvas').getContext('2d');
    const card = new CardLayout(run, (text, bold) => {
      ruler.font = (bold ? 'bold ' : '') + '100px ' + CardPicture.FONT;
      return ruler.measureText(text).width / 100;
    });
    const width = CardLayout.WIDTH * Math.min(2, Math.max(1, window.devicePixelRatio || 1)), pause = 70;
    let film = null, moment = 0, timer = null;
    const begin = () => { film = new CardFilm(card, CardPicture.THEMES[dark.matches ? 'dark' : 'light']).on(canvas, document.createElement('canvas'), width); };
    const draw = () => moment < film.length ? film.show(moment) : film.last();
    const stop = () => {
      clearTimeout(timer);
      timer = null;
      button.textContent = 'Play';
    };
    const step = () => {
      draw();
      if (moment >= film.length) return stop();
      moment += 1;
      timer = setTimeout(step, pause);
    };
    const start = () => {
      if (moment >= film.length) moment = 0;
      button.textContent = 'Pause';
      step();
    };
    begin();
    moment = film.length;
    draw();
    button.hidden = !film.length;
    button.addEventListener('click', () => timer ? stop() : start());
    dark.addEventListener('change', () => {
      begin();
      draw();
    });
    if (film.length && !matchMedia('(prefers-reduced-motion: reduce)').matches) start();
  }
}

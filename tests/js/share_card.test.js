import assert from 'node:assert/strict';
import {readFileSync} from 'node:fs';
import {test} from 'node:test';
import {Window} from 'happy-dom';
import {defined, pack} from './snippets.js';

const FILES = ['card_run', 'card_layout', 'card_picture', 'card_film', 'card_page'].map(name => `components/share_card/${name}.js`);
const {document} = new Window();
const {CardRun, CardLayout, CardPicture, CardFilm, CardPage, FlowData} = defined([...FILES, 'components/flow_map/flow_data.js'],
  ['CardRun', 'CardLayout', 'CardPicture', 'CardFilm', 'CardPage', 'FlowData'], {document});

// letters of half their size
const measure = text => Array.from(text).length / 2;
const path = (...noise) => noise.map((t, i) => ({x: noise.length - 1 - i, y: 0, t, word: 'w' + i, sure: 1 - t}));
const word = (text, block = 0) => ({text, block, path: path(1, 0.5, 0)});
const run = (prompt, texts, facts = {}) => ({prompt, facts, words: texts.map((text, i) => word(text, Math.floor(i / 4)))});
const card = (prompt, texts, facts) => new CardLayout(run(prompt, texts, facts), measure);
const texts = one => one.items.map(item => item.text);
const box = ({x, y, width}, size) => ({left: x - width / 2, right: x + width / 2, top: y - size, bottom: y + size / 3});

function overlapping({items, size}) {
  const boxes = items.map(item => box(item, size));
  return boxes.some((a, i) => boxes.slice(i + 1).some(b => a.left < b.right - 0.01 && b.left < a.right - 0.01 && a.top < b.bottom && b.top < a.bottom));
}

test('the tokens of a word are drawn as one, with a place for each', () => {
  const one = card('Once', [' up', 'on', ' a', ' time', '.']);
  assert.deepEqual(texts(one), ['Once', 'upon', 'a', 'time.']);
  const [{tokens: [up, on]}] = one.items.slice(1);
  assert.deepEqual([up.word, on.word, up.text, on.text], [0, 1, 'up', 'on']);
  assert.equal(on.x - up.x, one.size);
});

test('a word that the prompt begins is drawn in two colours, without a gap', () => {
  const one = card('A play', ['ing']), [, given, own] = one.items;
  assert.deepEqual([given.pale, own.pale], [true, false]);
  assert.equal(given.x + given.width / 2, own.x - own.width / 2);
});

for (const [name, count] of [['a short text', 5], ['a text of 128 words', 128], ['a text of 256 words', 256]]) {
  test(`the words of ${name} lie beside each other, all of them on the card`, () => {
    const one = card('Once upon a time', Array.from({length: count}, (_, i) => ' ' + 'word'.repeat(1 + i % 2).slice(i % 3)));
    assert.equal(one.items.length, count + 4);
    assert.equal(overlapping(one), false);
    for (const item of one.items) {
      const {left, right, top, bottom} = box(item, one.size);
      assert.ok(left >= CardLayout.MARGIN - 1 && right <= CardLayout.WIDTH - CardLayout.MARGIN + 1 && top > 0 && bottom < CardLayout.BOTTOM + one.size);
    }
  });
}

test('a word at which a run was stopped is as pale as the prompt', () => {
  const stopped = run('Go', [' on', ' now']);
  stopped.words[1].path = path(1, 0.4);
  assert.deepEqual(new CardLayout(stopped, measure).items.map(item => item.pale), [true, false, true]);
});

test('a short text has large letters, a long one small ones', () => {
  assert.ok(card('', ['One']).size > card('', Array(128).fill(' words')).size);
});

test('of a long prompt its end stays, after an ellipsis, and all of the text', () => {
  const one = card('given '.repeat(900), [' text', ' end']);
  assert.equal(one.items[0].text, '…');
  assert.deepEqual(texts(one).slice(-2), ['text', 'end']);
  assert.equal(overlapping(one), false);
});

test('a text that is too long is cut with an ellipsis, and paths lead to the words that stand there', () => {
  const one = card('Go', Array(2000).fill(' letters'));
  assert.equal(texts(one).at(-1), '…');
  assert.ok(one.cut);
  assert.equal(one.paths.length, one.items.filter(item => item.tokens.length).length);
});

test('a word longer than a line is cut where it fills one', () => {
  const one = card('', ['x'.repeat(500)]);
  assert.equal(texts(one).join(''), 'x'.repeat(500));
  assert.ok(one.items.every(item => item.width <= CardLayout.WIDTH - 2 * CardLayout.MARGIN));
});

test('a line ends where the text has one', () => {
  const one = card('A', ['\n', 'B']);
  assert.ok(one.items[1].y > one.items[0].y);
  assert.equal(one.items[1].x - one.items[1].width / 2, CardLayout.MARGIN);
});

test('a text from right to left begins at the right, whole words at a time', () => {
  const one = card('', ['مر', 'حبا', ' بكم']), [first, second] = one.items;
  assert.deepEqual(texts(one), ['مرحبا', 'بكم']);
  assert.equal(first.x + first.width / 2, CardLayout.WIDTH - CardLayout.MARGIN);
  assert.ok(second.x < first.x && first.rtl);
  const [start, end] = first.tokens;
  assert.ok(start.x > end.x);
});

test('letters that are joined are drawn as one, also where the prompt ends between them', () => {
  assert.deepEqual(texts(card('مر', ['حبا'])), ['مرحبا']);
});

test('words of both directions stand as a reader of either expects them', () => {
  const places = (...words) => card('', words.map(text => ' ' + text)).items.toSorted((a, b) => a.x - b.x).map(item => item.text).join(' ');
  assert.equal(places('the', 'שלום', 'עולם', 'end'), 'the עולם שלום end');
  assert.equal(places('שלום', 'the', 'end', 'עולם'), 'עולם the end שלום');
});

test('a sign without a direction goes with its neighbours, on whatever line', () => {
  const line = Array(30).fill(' word');
  const one = card('', [' שלום', ...line, ' 🦊', ...line]), fox = one.items.findIndex(item => item.text === '🦊');
  assert.deepEqual([one.items[fox - 1].rtl, one.items[fox].rtl], [false, false]);
});

test('an emoji of several characters is one, and paths of all its tokens lead to it', () => {
  const one = card('', ['', '👩', '\u200d', '💻']);
  assert.deepEqual(texts(one), ['👩‍💻']);
  assert.equal(new Set(one.paths.map(path => path.end)).size, 1);
  assert.equal(one.paths.length, 4);
});

test('a script without spaces breaks between its signs', () => {
  const one = card('', ['漢字'.repeat(60)]);
  assert.ok(new Set(one.items.map(item => item.y)).size > 1);
});

test('a path ends at its word and stays on the card', () => {
  const one = new CardLayout({prompt: '', facts: {}, words: [{text: 'far', block: 0, path: [{x: 99, y: -99, t: 1, word: '', sure: 0}, {x: 0, y: 0, t: 0, word: 'far', sure: 1}]}]}, measure);
  const [{points: [start, end]}] = one.paths, [{tokens: [token]}] = one.items;
  assert.ok(start.x < CardLayout.WIDTH && start.y < 577 - 18);
  assert.deepEqual([end.x, end.t], [token.x, 0]);
});

test('the foot says title, model, settings and link, each cut where it has no room', () => {
  const foot = card('', ['x'], {caption: 'how', model: 'm', line: 'seed 1', link: 'https://host/?r=' + 'x'.repeat(500)}).foot;
  assert.deepEqual(foot.slice(0, 3).map(row => row.text), ['Cola-DLM Explorer', 'how', 'm, seed 1']);
  assert.match(foot[3].text, /^host\/\?r=x+…$/);
  assert.equal(foot[3].link.length, 516);
  const long = card('', ['x'], {line: 'many settings, '.repeat(40)}).foot.at(-1);
  assert.ok(long.text.endsWith('…') && long.width <= CardLayout.WIDTH - 2 * CardLayout.MARGIN);
});

test('the data of a stage are read as paths from noise to each word', () => {
  const unpack = at => at, line = state => JSON.stringify(state);
  const lines = [{block: 2, step: 0, of: 1, t: [100, 50], at: [3, 4, 5, 6], words: [' a', 'b<|end|>'], sure: [10, 20]},
    {block: 2, step: 1, of: 1, t: [0, 0], at: [1, 1, 2, 2], words: [' c', 'd<|end|>'], sure: [99, 98]}].map(line).join('\n') + '\n';
  const read = CardRun.fromPaths({lines, facts: {seed: 3}}, unpack, 'Go');
  assert.deepEqual(read.words.map(one => [one.text, one.block]), [[' c', 2], ['d∎', 2]]);
  assert.deepEqual(read.words[0].path, [{x: 2, y: 3, t: 1, word: ' a', sure: 0.1}, {x: 0, y: 0, t: 0, word: ' c', sure: 0.99}]);
});

test('the data of a flow map are read without what belongs to the prompt or lies after the end', () => {
  const data = new FlowData(), at = (...values) => ({pca: pack(values.flatMap(value => [value, value, 0]))});
  const state = given => JSON.stringify({is: 'state', block: 0, of: 1, run: 'r', ids: [[1], [2], [3]], sure: [1, 0.5, 0.5], ...given}) + '\n';
  data.read(JSON.stringify({is: 'run', run: 'r', label: 'R', prompt: 'Say', places: 3, facts: {seed: 7}}) + '\n'
    + state({step: 0, last: false, noise: [0, 100, 100], at: at(5, 8, 9), words: ['Say', ' x', ' y']})
    + state({step: 1, last: true, noise: [0, 0, 0], at: at(5, 2, 3), words: ['Say', ' it', ' no'], text: 2}));
  const read = CardRun.fromFlow(data, data.list[0], 0.5);
  assert.deepEqual(read.words.map(one => one.text), [' it']);
  assert.deepEqual(read.words[0].path[0], {x: 3, y: 3, t: 1, word: ' x', sure: 0.5});
  assert.equal(read.facts.seed, 7);
});

test('characters that no SVG can hold are replaced, of a prompt too, and names of special tokens by a sign', () => {
  assert.equal(CardRun.text('a\u0000b\ud800c\n<|end|>'), 'a\ufffdb\ufffdc\n∎');
  assert.equal(CardRun.fromPaths({lines: ''}, at => at, '\u0001').prompt, '\ufffd');
});

test('a file is named after the beginning of the text and the seed', () => {
  assert.equal(CardRun.fileName(run('Once upon a time, there', [' was'], {seed: 4})), 'once-upon-a-time-there-seed-4');
  assert.equal(CardRun.fileName(run('../..\\<b>', [])), 'b');
  assert.equal(CardRun.fileName(run('', ['…'])), 'run');
});

test('the SVG has every word, its width, and text that is only text', () => {
  const one = card('<b>', [' & "x"'], {link: 'https://host/?r=1'}), svg = CardPicture.svg(one, CardPicture.THEMES.dark, document, 'all');
  assert.deepEqual([...svg.querySelectorAll('text')].slice(0, 3).map(node => node.textContent), ['<b>', '&', '"x"']);
  assert.equal(svg.querySelector('b'), null);
  assert.equal(svg.querySelector('a').getAttribute('href'), 'https://host/?r=1');
  assert.equal(svg.querySelector('rect').getAttribute('fill'), CardPicture.THEMES.dark.page);
  assert.ok([...svg.querySelectorAll('text')].every(node => Number(node.getAttribute('textLength')) > 0));
});

test('a path is grey in noise, blue on its way and amber at its word', () => {
  const theme = CardPicture.THEMES.light;
  assert.deepEqual([1, 0.5, 0].map(t => CardPicture.colour(theme, t)), [theme.noise, theme.flow, theme.word]);
});

test('part of a curve ends on the curve', () => {
  const curve = {from: {x: 0, y: 0}, a: {x: 1, y: 0}, b: {x: 2, y: 0}, to: {x: 3, y: 0}, t: 0};
  assert.deepEqual(CardPicture.until(curve, 0.5).to, {x: 1.5, y: 0});
  assert.deepEqual(CardPicture.until(curve, 1).to, curve.to);
});

test('the colours of cards are those of the page', () => {
  const css = readFileSync(new URL('../../app/theme/page.css', import.meta.url), 'utf8');
  const names = {page: 'page', ink: 'ink', muted: 'ink-muted', noise: 'path-noise', flow: 'path-flow', word: 'path-word'};
  for (const [theme, start] of [['light', ':root {'], ['dark', '.dark {']]) {
    const rules = css.slice(css.indexOf(start));
    for (const [name, variable] of Object.entries(names)) {
      assert.equal(CardPicture.THEMES[theme][name], rules.match(new RegExp(`--${variable}: (#[0-9a-f]+)`))[1], `${theme} ${name}`);
    }
  }
});

test('a film goes through the blocks in order, and a word comes from noise to where it stands', () => {
  const one = card('Go', Array(8).fill(' on')), film = new CardFilm(one, CardPicture.THEMES.light);
  assert.deepEqual([...new Set(film.moments.map(([block]) => block))], [0, 1]);
  assert.ok(film.length <= CardFilm.MOMENTS && film.length >= 2 * CardFilm.A_BLOCK[0]);
  const states = one.run.words[0].path;
  assert.equal(CardFilm.state(states, 3, 1).t, 0);
  assert.equal(CardFilm.state(states, 3, 0.25).t, 0.75);
});

test('a page of one file holds its text as text, asks nobody for anything and has code that runs', () => {
  const html = CardPage.of(run('</script><b>', [' & é'], {model: 'm', link: 'https://host/?r="x"'}));
  const opened = new Window().document;
  opened.write(html.replace(/<script>[^]*<\/script>/, ''));
  assert.equal(opened.querySelector('.text').textContent, '</script><b> & é');
  assert.equal(opened.querySelector('b'), null);
  assert.equal(opened.querySelector('a').getAttribute('href'), 'https://host/?r="x"');
  assert.equal(html.match(/<\/script>/g).length, 1);
  assert.doesNotMatch(html, /src=|url\(|@import/);
  assert.doesNotThrow(() => Function(html.match(/<script>([^]*)<\/script>/)[1]));
});

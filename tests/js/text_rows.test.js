import assert from 'node:assert/strict';
import {test} from 'node:test';
import {mount} from './snippets.js';

const ROW = {label: 'seed 1', score: '', lead: '', tail: '', text: '', settled: '', live: [], final: null};
const VALUE = {state: 'running', run: 'r', rows: [], notes: []};

function rows(...parts) {
  const value = {...VALUE, rows: parts.map(part => ({...ROW, ...part}))};
  const page = mount('text_rows', {value, part: 'rows', heading: 'Variations', empty_text: '', changed_words: 'changed', action: 'Use'}, {parts: ['step_text.js', 'playhead.js']});
  return {...page, texts: () => [...page.element.querySelectorAll('.text')].map(node => node.textContent)};
}

test('a row that nothing leads begins without a gap, one after a prompt keeps it', () => {
  const settled = JSON.stringify([[' One', 0.5, false], [' day', 0.5, false]]);
  assert.deepEqual(rows({settled}, {settled, lead: 'Say:'}).texts(), ['One day', 'Say: One day']);
});

test('a token that stays has no confidence of its own', () => {
  const [kept, new_] = rows({live: [['a', -1, false], ['b', 0.5, false]]}).element.querySelectorAll('.live .token');
  assert.deepEqual([kept.className, kept.title, new_.title], ['token kept', 'stays', '50 %']);
});

test('finished pieces are marked by what has changed in them', () => {
  const page = rows({final: [['He ', 2], ['ran', 1], [' off', 0], [' here', 3]]});
  const nodes = [...page.at('.answer').children];
  assert.deepEqual(nodes.map(node => [node.tagName, ...node.classList]), [['SPAN', 'prompt'], ['MARK', 'changed'], ['SPAN'], ['MARK', 'changed', 'prompt']]);
});

test('rows come and go with the value, and those that stay are the same', () => {
  const page = rows({label: 'a'}, {label: 'b'});
  const first = page.at('.list').firstChild;
  page.update({...VALUE, rows: [{...ROW, label: 'c'}], notes: ['One was left out.']});
  assert.equal(page.at('.list').children.length, 1);
  assert.equal(page.at('.list').firstChild, first);
  assert.deepEqual([page.at('.label').textContent, page.at('.notes').textContent], ['c', 'One was left out.']);
});

test('a row has room for the text that is to come, as long as the value says so', () => {
  const page = rows({}, {});
  const room = () => [...page.at('.list').children].map(row => row.dataset.room);
  assert.deepEqual(room(), [undefined, undefined]);
  page.update({...VALUE, rows: [ROW, ROW], room: 'The cat ran.'});
  assert.deepEqual([room(), page.texts()], [['The cat ran.', 'The cat ran.'], ['', '']]);
  page.update({...VALUE, rows: [ROW, ROW]});
  assert.deepEqual(room(), [undefined, undefined]);
});

test('the button of a row that has a text gives that text on', () => {
  const page = rows({}, {text: 'One day'});
  const [without, with_] = page.element.querySelectorAll('.act');
  assert.deepEqual([without.hidden, with_.hidden, with_.getAttribute('aria-label')], [true, false, 'Use: seed 1']);
  with_.click();
  assert.deepEqual(page.triggered, [['select', {text: 'One day', row: 1}]]);
});

for (const [how, tops, followed] of [['stand in one row', [0, 0, 0], true], ['stand in two rows', [0, 0, 90], false]]) {
  test(`three texts under way that ${how} are ${followed ? '' : 'not '}followed in a place that is shorter`, () => {
    const page = rows({}, {}, {}), list = page.at('.list');
    Object.defineProperties(list, {clientHeight: {value: 100}, scrollHeight: {value: 300}});
    [...list.children].forEach((row, i) => Object.defineProperty(row, 'offsetTop', {value: tops[i]}));
    [...list.querySelectorAll('.text')].forEach(text => { text.getBoundingClientRect = () => ({bottom: 150}); });
    list.getBoundingClientRect = () => ({bottom: 100});
    page.update({...VALUE, rows: [ROW, ROW, ROW]});
    assert.equal(list.scrollTop, followed ? 58 : 0);
  });
}

test('Stop keeps what there is', () => {
  const page = rows({label: 'a'});
  page.bench.dispatchEvent(new page.window.CustomEvent('run-state', {detail: {name: 'stopping'}}));
  assert.equal(page.at('.rows').dataset.state, 'stopped');
  assert.equal(page.at('.label').textContent, 'a');
});

// Texts of two and of four steps, one token a block.
function played(...counts) {
  const steps = n => ({
    lead: 'Say:', settled: Array.from({length: n}, (_, i) => JSON.stringify([[' w' + i, 1, 0]])).join('\n'),
    look: JSON.stringify(Array.from({length: n}, (_, i) => (
      {block: i, first: 0, count: 1, steps: [0], of: 1, words: [[' x' + i, 0]], ids: [0], sure: [50], t: [40], noise: [40]}))),
  });
  return rows(...counts.map((n, i) => ({label: 'no. ' + i, lead: 'Say:', final: [[' end ' + i, 0]], steps: n ? steps(n) : null})));
}
const shown = page => [...page.element.querySelectorAll('.text')].map(text => text.querySelector('.answer').textContent + '|' + text.querySelector('.live').textContent);

function scrub(page, at) {
  page.at('.thumb').value = at;
  page.at('.thumb').dispatchEvent(new page.window.Event('input'));
}

function done(page) {
  page.update({...page.props.value, state: 'done'});
  return page;
}

test('one player shows every text at the same share of its steps, which its tooltip says', () => {
  const page = done(played(2, 4));
  assert.equal(page.at('.player').hidden, false);
  assert.deepEqual([page.at('.thumb').max, shown(page)], ['4', [' end 0|', ' end 1|']]);
  scrub(page, 2);
  assert.deepEqual(shown(page), [' w0| x1', ' w0 w1| x2']);
  assert.match(page.at('.player').title, /share of its steps: no\. 0 has 2, no\. 1 has 4\.$/);
  scrub(page, 4);
  assert.deepEqual(shown(page), [' end 0|', ' end 1|']);
});

test('a text without steps stays as it is, and alone has no player', () => {
  const page = done(played(2, 0));
  scrub(page, 0);
  assert.deepEqual(shown(page), ['| x0', ' end 1|']);
  assert.equal(done(played(0)).at('.player').hidden, true);
});

test('another player of the workbench moves these texts, and these move it', () => {
  const page = done(played(4)), told = [];
  page.bench.addEventListener('moment', event => told.push(event.detail.share));
  page.bench.dispatchEvent(new page.window.CustomEvent('moment', {detail: {share: 0.5, by: null}}));
  assert.deepEqual([page.at('.thumb').value, shown(page)], ['2', [' w0 w1| x2']]);
  scrub(page, 1);
  assert.deepEqual(told, [0.5, 0.25]);
});

test('while a text is written, one that is over stands at the same share of its steps', () => {
  const page = played(4, 0);
  page.update({...page.props.value, share: 0.25});
  assert.deepEqual([page.at('.player').hidden, shown(page)], [true, [' w0| x1', ' end 1|']]);
});

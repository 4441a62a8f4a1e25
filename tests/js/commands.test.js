import assert from 'node:assert/strict';
import {test} from 'node:test';
import {defined, mount} from './snippets.js';

const {curlCommand, pythonScript} = defined(['components/share_link/commands.js'], ['curlCommand', 'pythonScript']);
const API = {key: false, options: {generate: ['towards', 'pull', 'direction'], fill: ['towards']}, new_tokens: 100, steps: 32, texts: 2, variations: 3, prompt: 40};
const BASE = 'https://example.org/explorer/';

function recipe(more = {}) {
  const {settings, ...rest} = more;
  const whole = {operation: 'generate', texts: ['One day'], settings: {steps: 8, max_new_tokens: 48, seed: 1, ...settings}, variations: 1, options: {}, model: '', version: 1, ...rest};
  return JSON.stringify(whole);
}

test('the command goes to where the page is', () => {
  assert.match(curlCommand(recipe(), BASE, API), /^curl -sS 'https:\/\/example\.org\/explorer\/v1\/completions' /);
  assert.match(curlCommand(recipe(), BASE, null), /'https:\/\/example\.org\/explorer\/gradio_api\/call\/replay'/);
});

test('a key is named only where the server asks for one', () => {
  assert.ok(!curlCommand(recipe(), BASE, API).includes('KEY'));
  assert.ok(curlCommand(recipe(), BASE, {...API, key: true}).includes('-H "Authorization: Bearer $COLADLM_API_KEY"'));
});

test('what completions do not take as it is, is replayed', () => {
  const takes = more => curlCommand(recipe(more), BASE, API).includes('/v1/completions');
  assert.ok(takes({}) && takes({variations: 3, texts: ['a', 'b'], settings: {steps: 32, max_new_tokens: 100}}));
  const others = [
    {operation: 'edit'}, {options: {pinned: [1]}}, {options: {towards: 'x', pinned: [1]}}, {operation: 'fill', options: {direction: 'x'}}, {variations: 4}, {texts: ['a', 'b', 'c']}, {texts: ['🌙'.repeat(11)]}, {settings: {steps: 33}},
    {settings: {max_new_tokens: 101}},
  ];
  assert.deepEqual(others.map(takes), others.map(() => false));
});

test('holes are filled by completions, with as many tokens in each as the recipe says', () => {
  const holed = more => curlCommand(recipe({operation: 'fill', texts: ['A ___.'], ...more}), BASE, API);
  assert.match(holed({}), /"max_tokens": 2/);
  assert.match(holed({options: {longest: 5}}), /"max_tokens": 5/);
});

test('options that completions take are fields of theirs', () => {
  const body = more => JSON.parse(/-d '([^]*)'/.exec(curlCommand(recipe(more), BASE, API))[1]);
  const {prompt, n, max_tokens, ...rest} = body({options: {towards: 'x', pull: -0.5, direction: [1]}});
  assert.deepEqual(rest, {steps: 8, seed: 1, towards: 'x', pull: -0.5, direction: [1]});
  const holed = body({operation: 'fill', texts: ['A ___.'], options: {longest: 3, towards: 'x'}});
  assert.deepEqual([holed.max_tokens, holed.towards, 'longest' in holed], [3, 'x', false]);
});

test('completions go on from what a steered answer has already', () => {
  assert.match(curlCommand(recipe({options: {steered: ' a cat'}}), BASE, API), /"prompt": "One day a cat"/);
  assert.ok(!curlCommand(recipe({options: {steered: 'x'.repeat(40)}}), BASE, API).includes('/v1/completions'));
});

test('a script says what it needs, and ranks filled texts', () => {
  assert.match(pythonScript(recipe()), /^# Runs where .* coladlm is installed/);
  assert.match(pythonScript(recipe({operation: 'fill', texts: ['A ___.']})), /print\(rank, f"\(misfit \{found\.misfit:\.2f\}\)", found\.text\)/);
});

test('a text that no command line holds is refused in words', () => {
  assert.throws(() => curlCommand(recipe({texts: ['x'.repeat(120000)]}), BASE, API), /too long for a command, save the recipe/);
});

test('the command of a result is copied by the button beside it', async () => {
  const page = mount('share_link', {value: null}, {parts: ['clipboard.js', 'share_link/commands.js']}), copied = [];
  page.window.isSecureContext = true;
  Object.defineProperty(globalThis.navigator, 'clipboard', {value: {writeText: async text => copied.push(text)}, configurable: true});
  page.element.innerHTML = ['a', 'b'].map(name => `<div class="result"><pre class="command"><code>run ${name}</code></pre>
    <button class="copy-command"></button><span></span></div>`).join('');
  defined(['components/clipboard.js', 'bench/commands.js'], [], {element: page.element, window: page.window, document: page.document});
  page.element.querySelectorAll('.copy-command')[1].click();
  await new Promise(setImmediate);
  assert.deepEqual([copied, page.element.querySelectorAll('span')[1].textContent], [['run b'], 'Copied']);
});

test('the button copies what the page says that its server takes', async () => {
  const parts = ['clipboard.js', 'share_link/commands.js'];
  const page = mount('share_link', {value: {query: '?r=1', recipe: recipe()}}, {parts});
  const copied = [];
  page.window.isSecureContext = true;
  globalThis.navigator ??= {};
  Object.defineProperty(globalThis.navigator, 'clipboard', {value: {writeText: async text => copied.push(text)}, configurable: true});
  page.at('.curl').click();
  page.document.head.innerHTML = '<meta name="coladlm-api">';
  page.document.querySelector('meta').content = JSON.stringify(API);
  page.at('.curl').click();
  await new Promise(resolve => setTimeout(resolve));
  assert.deepEqual(copied.map(text => /(replay|completions)'/.exec(text)[1]), ['replay', 'completions']);
  assert.equal(page.at('.outcome').textContent, 'Copied');
});

test('the history gets what stands on the stage, whichever tab it is', async () => {
  const stages = [
    '<div class="strip"><p>One day <span class="answer"> a cat ran.</span></p></div>',
    '<div class="walk"><p class="now">a cat ran.</p></div>',
    '<div class="edited"><ol class="list"><li><p class="text">a cat ran.</p></li><li><p class="text">another</p></li></ol></div>',
    '<div class="flow"><p class="line"><span class="token">older</span></p><p class="line">One day <span class="token"> a cat</span><span class="token"> ran.</span></p></div>',
  ];
  const results = await Promise.all(stages.map(stage => {
    const page = mount('share_link', {value: {query: '?r=1', recipe: recipe()}}, {parts: ['share_link/commands.js']});
    page.bench.insertAdjacentHTML('afterbegin', stage);
    return new Promise(resolve => {
      page.window.addEventListener('coladlm-ran', event => event.detail.result && resolve(event.detail.result));
      page.bench.dataset.run = 'done';
    });
  }));
  assert.deepEqual(results, stages.map(() => 'a cat ran.'));
});

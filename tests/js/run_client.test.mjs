// What the run client does with the decisions of its machine.

import assert from 'node:assert/strict';
import {describe, test} from 'node:test';
import {Window} from 'happy-dom';
import {Page, RunClient} from '../../app/runs/run_client.js';
import {SILENCE} from '../../app/runs/run_state.js';

const RUN = {type: 'run', id: 'one', view: 'v', controls: {prompt: 'x'}};
const SNAPSHOT = {type: 'snapshot', id: 'one', version: 1, parts: {text: 'a'}};
const END = {type: 'end', id: 'one', version: 2, outcome: 'done', message: ''};
const of = (type, id = 'one') => ({type, id});

describe('the client', () => {
  test('has one timer for silence, wound up by every sign of life, and none after the end', t => {
    t.mock.timers.enable({apis: ['setTimeout']});
    const said = [];
    let notify;
    const view = {draw() {}, say: state => said.push(state.name), keep() {}, forget() {}};
    const silent = {put() {}, delete() {}, open() {}, close() {}};
    const runs = new RunClient(tell => { notify = tell; return silent; }, view);
    runs.dispatch(RUN);
    notify(of('accepted'));
    t.mock.timers.tick(SILENCE - 1);
    notify(of('beat'));
    t.mock.timers.tick(SILENCE - 1);
    assert.deepEqual(said, ['starting', 'running']);
    t.mock.timers.tick(1);
    assert.equal(said.at(-1), 'lost');
    notify(SNAPSHOT);
    notify(END);
    t.mock.timers.tick(10 * SILENCE);
    assert.deepEqual(said.slice(-2), ['running', 'ended']);
  });
});

test('a run under way is kept by the address that its first frame gives the page', () => {
  const window = new Window({url: 'http://localhost/'}), given = globalThis.CustomEvent;
  window.document.body.innerHTML = '<div class="workbench" id="generate"><div data-run-part="link"></div></div>';
  const part = window.document.querySelector('[data-run-part]');
  part.addEventListener('frame', ({detail}) => window.history.replaceState(null, '', detail.query));
  const page = new Page(window, 'http://localhost/runs/'), client = page.client('generate');
  globalThis.CustomEvent = window.CustomEvent;
  try {
    client.state = {...client.state, name: 'running', id: 'one'};
    client.view.keep('one', 'running');
    client.view.draw(['link'], {link: {query: '?r=recipe'}});
  } finally {
    globalThis.CustomEvent = given;
  }
  assert.deepEqual(page.recall('coladlm-run-generate'), {id: 'one', was: 'running', link: '?r=recipe'});
});

test('a text of another run that has come back to the stage is written anew by its link, others are found again', () => {
  const window = new Window({url: 'http://localhost/?r=before&tab=generate'}), page = new Page(window, 'http://localhost/runs/');
  window.sessionStorage.setItem('coladlm-link', '"?r=before&tab=generate"');
  for (const [bench, query] of [['generate', '?r=steered'], ['trajectories', '?r=other']]) {
    const client = page.client(bench);
    client.state = {...client.state, name: 'ended', id: bench, parts: {link: {query}}};
  }
  page.leave();
  const [text, run, link] = ['run-generate', 'run-trajectories', 'link'].map(key => page.recall('coladlm-' + key));
  assert.deepEqual([text, run.id, link], [null, 'trajectories', null]);
  window.history.replaceState(null, '', '?r=steered&tab=generate');
  page.leave();
  assert.deepEqual([page.recall('coladlm-run-generate').id, page.recall('coladlm-link')], ['generate', '?r=steered&tab=generate']);
});

for (const [type, went] of [['reload', ['http://localhost/?r=recipe']], ['navigate', []]]) {
  test(`a page that ends as the first frame of its run comes ${went.length ? 'takes that address' : 'stays where it is'} after a ${type}`, () => {
    const {sessionStorage, document, addEventListener} = new Window({url: 'http://localhost/'}), replaced = [];
    const location = {search: '', href: 'http://localhost/', replace: address => replaced.push(address)};
    const performance = {getEntriesByType: () => [{type}]};
    sessionStorage.setItem('coladlm-run-generate', JSON.stringify({id: 'one', was: 'running', link: '?r=recipe'}));
    const page = new Page({sessionStorage, document, addEventListener, location, performance}, 'http://localhost/runs/');
    assert.deepEqual([replaced, page.recall('coladlm-run-generate') !== null], [went, went.length > 0]);
  });
}

// What the run client does with the decisions of its machine.

import assert from 'node:assert/strict';
import {describe, test} from 'node:test';
import {RunClient} from '../../app/runs/run_client.js';
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

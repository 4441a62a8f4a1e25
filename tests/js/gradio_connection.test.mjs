// Requests of gradio over a connection that breaks: what gradio is told, which would load the page anew otherwise.

import assert from 'node:assert/strict';
import {readFileSync} from 'node:fs';
import {describe, test} from 'node:test';

const source = readFileSync(new URL('../../app/runs/gradio_connection.js', import.meta.url));
const {SENTENCE, withoutReloads} = await import('data:text/javascript;base64,' + source.toString('base64'));
console.warn = () => {};

const ROOT = 'http://page/gradio_api/';
const bytes = text => new TextEncoder().encode(text);
const message = data => `data: ${JSON.stringify(data)}\n\n`;
const fails = () => Promise.reject(new TypeError('Failed to fetch'));

// An answer whose body comes in these parts; an Error among them breaks it off there.
function streamed(...parts) {
  return async () => new Response(new ReadableStream({
    pull(controller) {
      const part = parts.shift();
      if (part === undefined) controller.close();
      else if (part instanceof Error) controller.error(part);
      else controller.enqueue(bytes(part));
    },
  }));
}

async function messages(request, signal) {
  const answer = await withoutReloads(request)(new Request(ROOT + 'queue/data?session_hash=a', {signal}));
  return (await answer.text()).split('\n\n').filter(Boolean).map(line => JSON.parse(line.replace('data: ', '')));
}

describe('the stream of the queue', () => {
  const progress = {msg: 'progress', event_id: '1'};
  const close = {msg: 'close_stream'};

  test('comes as it is where nothing breaks', async () => {
    assert.deepEqual(await messages(streamed(message(progress), message(close))), [progress, close]);
  });

  test('comes as it is however it is cut into parts', async () => {
    const whole = message(progress) + message({msg: 'log', log: 'é\n'}) + message(close);
    for (let at = 1; at < whole.length; at++) {
      assert.equal((await messages(streamed(whole.slice(0, at), whole.slice(at)))).length, 3);
    }
  });

  for (const [name, request] of Object.entries({
    'breaks off': streamed(message(progress), new Error('network')),
    'breaks off in a message': streamed(message(progress), 'data: {"msg":', new Error('network')),
    'ends too early': streamed(message(progress)),
    'ends in a message': streamed(message(progress), 'data: {"ms'),
  })) test(`that ${name}: all events fail with a sentence, and the stream is closed`, async () => {
    const [first, failed, last, ...more] = await messages(request);
    assert.deepEqual([first, last, more], [progress, close, []]);
    assert.deepEqual([failed.msg, failed.event_id, failed.output.error], ['process_completed', undefined, SENTENCE]);
  });

  for (const [name, request] of Object.entries({
    'cannot be opened': fails,
    'is refused': async () => new Response('bad gateway', {status: 502}),
  })) test(`that ${name}: the same`, async () => {
    assert.deepEqual((await messages(request)).map(one => one.msg), ['process_completed', 'close_stream']);
  });

  test('of a session that the server does not know: gradio hears an error, not a lost connection', async () => {
    const lost = {msg: 'unexpected_error', message: 'Session not found', session_not_found: true};
    const [first] = await messages(streamed(message(lost)));
    assert.deepEqual(first, {...lost, session_not_found: false});
  });

  test('that gradio itself has closed stays closed', async () => {
    const leaving = new AbortController();
    leaving.abort();
    await assert.rejects(messages(fails, leaving.signal));
  });
});

describe('requests', () => {
  for (const path of ['queue/join', 'run/predict', 'run/predict/']) {
    test(`${path} without a connection is an error with a sentence`, async () => {
      const answer = await withoutReloads(fails)(ROOT + path, {method: 'POST'});
      assert.equal(answer.status, 502);
      assert.deepEqual(await answer.json(), {error: SENTENCE, detail: SENTENCE});
    });
  }

  test('an answer that breaks off is the same', async () => {
    const answer = await withoutReloads(streamed('{"event_id": ', new Error('network')))(ROOT + 'queue/join');
    assert.equal((await answer.json()).error, SENTENCE);
  });

  test('a proxy that does not reach the server is the same', async () => {
    const answer = await withoutReloads(async () => new Response('<h1>502</h1>', {status: 502}))(ROOT + 'queue/join');
    assert.equal((await answer.json()).error, SENTENCE);
  });

  test("the server's own errors come as they are", async () => {
    const own = () => Promise.resolve(Response.json({detail: 'full'}, {status: 503}));
    const answer = await withoutReloads(own)(ROOT + 'queue/join');
    assert.deepEqual([answer.status, await answer.json()], [503, {detail: 'full'}]);
  });

  test('all others are handed on, and fail as they fail', async () => {
    await assert.rejects(withoutReloads(fails)('http://page/runs/abcdefgh'));
    await assert.rejects(withoutReloads(fails)(new URL(ROOT + 'upload')));
  });
});

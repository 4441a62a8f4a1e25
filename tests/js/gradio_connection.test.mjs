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

describe('an event that is asked for while the stream closes', () => {
  const close = message({msg: 'close_stream'});
  const completed = id => message({msg: 'process_completed', event_id: id, output: {data: ['"process_completed"']}});
  const joined = id => Promise.resolve(Response.json({event_id: id}));

  // What gradio hears of events, where the server opens these streams one after another and answers joins as `joins` says.
  function page(streams, joins) {
    const opened = [];
    const ask = withoutReloads(async input => {
      if (String(input.url ?? input).includes('join')) return joins.shift();
      opened.push(input);
      return streamed(...streams.shift())();
    });
    return {
      opened,
      join: () => ask(ROOT + 'queue/join', {method: 'POST'}),
      hear: async () => (await (await ask(ROOT + 'queue/data?session_hash=a')).text()).split('\n\n').filter(Boolean)
        .map(line => JSON.parse(line.replace('data: ', ''))).map(({msg, event_id: id}) => id ? `${msg} ${id}` : msg),
    };
  }

  test('is heard of by the stream after it, and gradio sees one stream', async () => {
    const {opened, join, hear} = page([[completed('1'), close], [completed('2') + close]], [joined('1'), joined('2')]);
    await join();
    await join();
    assert.deepEqual(await hear(), ['process_completed 1', 'process_completed 2', 'close_stream']);
    assert.equal(opened.length, 2);
  });

  test('is waited for where its request is not answered yet', async () => {
    let answer;
    const late = new Promise(resolve => { answer = () => resolve(Response.json({event_id: '2'})); });
    const {join, hear} = page([[completed('1') + close], [completed('2'), close]], [joined('1'), late]);
    await join();
    const second = join(), heard = hear();
    setTimeout(answer, 10);
    assert.deepEqual(await heard, ['process_completed 1', 'process_completed 2', 'close_stream']);
    assert.deepEqual(await (await second).json(), {event_id: '2'});
  });

  test('that is over before its request is answered is over', async () => {
    let answer;
    const late = new Promise(resolve => { answer = () => resolve(Response.json({event_id: '1'})); });
    const {opened, join, hear} = page([[completed('1') + close]], [late]);
    const first = join(), heard = hear();
    setTimeout(answer, 10);
    assert.deepEqual(await heard, ['process_completed 1', 'close_stream']);
    await first;
    assert.equal(opened.length, 1);
  });

  test('that nothing more is heard of, or that is refused, does not keep the stream for ever', async () => {
    const {opened, join, hear} = page([[close], [close]], [joined('1'), Promise.resolve(Response.json({}, {status: 503}))]);
    await join();
    await join();
    assert.deepEqual(await hear(), ['close_stream']);
    assert.equal(opened.length, 2);
  });

  test('fails with a sentence where the next stream cannot be had', async () => {
    const {join, hear} = page([[close], [new Error('network')]], [joined('1')]);
    await join();
    assert.deepEqual(await hear(), ['process_completed', 'close_stream']);
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

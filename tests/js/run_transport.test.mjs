// How the run client speaks with the server.

import assert from 'node:assert/strict';
import {describe, test} from 'node:test';
import {Transport, eventParser} from '../../app/runs/run_transport.js';

const of = (type, id = 'one') => ({type, id});

describe('the stream', () => {
  test('is read however it is cut into pieces', () => {
    const stream = 'event: snapshot\ndata: {"a": 1}\nid: 3\n\n: still here\n\nevent: end\ndata: x\ndata: y\nid: 4\n\n';
    for (let size = 1; size < stream.length; size++) {
      const heard = [];
      const parse = eventParser(event => heard.push(event));
      for (let at = 0; at < stream.length; at += size) parse(stream.slice(at, at + size));
      assert.deepEqual(heard, [{event: 'snapshot', data: '{"a": 1}', id: '3'}, {}, {event: 'end', data: 'x\ny', id: '4'}]);
    }
  });
});

// A transport on answers made here, and what it tells.
function speaking(answer) {
  const told = [], asked = [];
  const transport = new Transport('http://page/runs/', event => told.push(event), async (url, options) => {
    asked.push([options.method || 'GET', url]);
    return answer(url, options);
  });
  return {transport, told, asked};
}
const json = (status, value) => new Response(JSON.stringify(value), {status});

describe('the transport', () => {
  test('starts a run and tells of the answer', async () => {
    const {transport, told, asked} = speaking(() => json(201, {}));
    await transport.put('one', 'v', {});
    assert.deepEqual([told, asked], [[of('accepted')], [['PUT', 'http://page/runs/one']]]);
  });

  test('a refusal brings its sentence; a proxy without the server behind it, and no network, are no refusals', async () => {
    for (const [answer, expected] of [
      [() => json(429, {error: {message: 'full'}}), {type: 'refused', id: 'one', message: 'full'}],
      [() => new Response('<html>', {status: 502}), of('unreached')],
      [() => { throw new TypeError('network'); }, of('unreached')],
    ]) {
      const {transport, told} = speaking(answer);
      await transport.put('one', 'v', {});
      assert.deepEqual(told, [expected]);
    }
  });

  test('a stream tells its events, then that it is over; a run that is not there is unknown', async () => {
    const {transport, told} = speaking(() => new Response('event: delta\nid: 2\ndata: {"parts": {}}\n\n: x\n\n'));
    await transport.open('one', 1);
    assert.deepEqual(told, [{type: 'delta', version: 2, parts: {}, id: 'one'}, of('beat'), of('cut')]);
    const gone = speaking(() => json(404, {}));
    await gone.transport.open('one', null);
    assert.deepEqual(gone.told, [of('unknown')]);
  });

  test('a stream that was closed here tells nothing more', async () => {
    const {transport, told} = speaking(async () => { transport.close(); return new Response('event: end\nid: 1\ndata: {}\n\n'); });
    await transport.open('one', null);
    assert.deepEqual(told, []);
  });

  test('a part of a character at the end of a piece is no error', async () => {
    const bytes = new TextEncoder().encode('event: snapshot\nid: 1\ndata: {"parts": {"t": "é🌙"}}\n\n');
    const body = new ReadableStream({start(c) { for (const byte of bytes) c.enqueue(new Uint8Array([byte])); c.close(); }});
    const {transport, told} = speaking(() => new Response(body));
    await transport.open('one', null);
    assert.equal(told[0].parts.t, 'é🌙');
  });
});

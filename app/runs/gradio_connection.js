// What gradio hears of a connection that breaks, or that its server closes too early.
//
// Left to itself, gradio 6.31 loads the page anew when a request of its own has failed and the server answers again, and
// with the page goes what was written. Here such a request fails as an event whose handler has failed: gradio shows a
// sentence, the page stays as it is and goes on. The streams of runs are run_client.js's own.
//
// Its server closes the stream of messages as soon as all events it knows are answered. An event that is asked for at that
// moment is handled, but gradio, which takes the stream for open, never hears of it (seen with two clicks within 0.2 s on a
// busy machine). So a stream goes on here until nothing is asked for.

export const SENTENCE = 'The connection to the server was lost. What is on the page stays: try again in a moment.';

// Goes to every event that the stream would have told of, as it names none.
const FAILED = {msg: 'process_completed', success: false, output: {title: 'Connection', error: SENTENCE, visible: true}};
const BROKEN = [FAILED, {msg: 'close_stream'}].map(message => `data: ${JSON.stringify(message)}\n\n`).join('');
const [STREAM, JOIN, POSTS] = [/\/queue\/data$/, /\/queue\/join\/?$/, /\/gradio_api\/(?:queue\/join|run\/\w+)\/?$/];
const CLOSE = /^data: \{"msg":\s*"close_stream"/;
const COMPLETED = /^data: \{"msg":\s*"process_completed"/;

// A fetch that answers requests of gradio however the connection fares, and hands on all others.
export function withoutReloads(request) {
  const events = new Events();
  return async (input, options) => {
    const path = new URL(input.url ?? input, globalThis.location?.href).pathname;
    const ask = () => request(input, options);
    if (STREAM.test(path)) return stream(ask, options?.signal ?? input.signal, events);
    if (JOIN.test(path)) return events.join(post(ask));
    if (POSTS.test(path)) return post(ask);
    return request(input, options);
  };
}

// The events that gradio has asked for and not heard the end of.
class Events {
  asking = new Set();     // requests that are not answered
  open = new Set();       // ids
  completed = new Set();  // ids of those that were over before the request was answered

  join(request) {
    const answered = this.#answered(request).finally(() => this.asking.delete(answered));
    this.asking.add(answered);
    return answered;
  }

  async #answered(request) {
    const answer = await request;
    const {event_id: id} = answer.ok ? await answer.clone().json() : {};
    if (id && !this.completed.delete(id)) this.open.add(id);
    return answer;
  }

  hear(message) {
    const id = COMPLETED.test(message) && /"event_id":\s*"([^"]+)"/.exec(message)?.[1];
    if (id && !this.open.delete(id)) this.completed.add(id);
  }

  // Has anything been asked for that the stream which is closing has not told of? Each event is one reason to go on, no
  // more: one that was given up would be a reason for ever.
  async left() {
    while (this.asking.size) await Promise.allSettled(this.asking);
    const some = this.open.size > 0;
    this.open.clear();
    return some;
  }
}

async function post(ask) {
  try {
    const answer = await ask();
    const {status, headers} = answer;
    const body = await answer.arrayBuffer();  // all of it, as it may break off
    // a proxy that does not reach the server has a page of its own to say so
    if (status < 500 || headers.get('content-type')?.includes('json')) return new Response(body, {status, headers});
  } catch (error) {
    console.warn(error);
  }
  return Response.json({error: SENTENCE, detail: SENTENCE}, {status: 502});
}

async function stream(ask, signal, events) {
  const reader = await opened(ask, signal);
  return new Response(toStream(reader, ask, signal, events), {headers: {'Content-Type': 'text/event-stream'}});
}

// What reads the answer of the server; null where there is none.
async function opened(ask, signal) {
  try {
    const answer = await ask();
    return answer.ok ? answer.body.getReader() : null;
  } catch (error) {
    if (signal?.aborted) throw error;
    console.warn(error);
    return null;
  }
}

function toStream(reader, ask, signal, events) {
  const open = {reader}, messages = withAnEnd(open, ask, signal, events);
  return new ReadableStream({
    async pull(controller) {
      const {done, value} = await messages.next();
      if (done) controller.close();
      else controller.enqueue(new TextEncoder().encode(value));
    },
    cancel: reason => open.reader?.cancel(reason),
  });
}

// The messages of a stream, and of the one after it where events are left; where it breaks off, what ends it for gradio.
async function* withAnEnd(open, ask, signal, events) {
  for (;;) {
    let closing = '';
    try {
      for await (const message of whole(open.reader)) {
        events.hear(message);
        if (CLOSE.test(message)) closing = message;
        // a server that was started anew does not know this page's session; the next event begins another
        else yield message.replace(/"session_not_found":\s*true/, '"session_not_found":false');
      }
    } catch (error) {
      if (signal?.aborted) throw error;
      console.warn(error);
    }
    if (!closing || !await events.left()) {
      events.open.clear();
      yield closing || BROKEN;
      return;
    }
    open.reader = await opened(ask, signal);
  }
}

// The messages of a reader; what is left of one that breaks off is left out.
async function* whole(reader) {
  const decoder = new TextDecoder();
  let rest = '';
  for (let part = await reader?.read(); part && !part.done; part = await reader.read()) {
    const messages = (rest + decoder.decode(part.value, {stream: true})).split('\n\n');
    rest = messages.pop();   // a message ends with an empty line
    for (const message of messages) yield message + '\n\n';
  }
}

if (globalThis.document) globalThis.fetch = withoutReloads(globalThis.fetch.bind(globalThis));

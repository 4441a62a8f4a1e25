// What gradio hears of a connection that breaks.
//
// Left to itself, gradio 6.31 loads the page anew when a request of its own has failed and the server answers again, and
// with the page goes what was written. Here such a request fails as an event whose handler has failed: gradio shows a
// sentence, the page stays as it is and goes on. The streams of runs are run_client.js's own.

export const SENTENCE = 'The connection to the server was lost. What is on the page stays: try again in a moment.';

// Goes to every event that the stream would have told of, as it names none.
const FAILED = {msg: 'process_completed', success: false, output: {title: 'Connection', error: SENTENCE, visible: true}};
const BROKEN = [FAILED, {msg: 'close_stream'}].map(message => `data: ${JSON.stringify(message)}\n\n`).join('');
const [STREAM, POSTS] = [/\/queue\/data$/, /\/gradio_api\/(?:queue\/join|run\/\w+)\/?$/];

// A fetch that answers requests of gradio however the connection fares, and hands on all others.
export function withoutReloads(request) {
  return async (input, options) => {
    const path = new URL(input.url ?? input, globalThis.location?.href).pathname;
    if (STREAM.test(path)) return stream(() => request(input, options), options?.signal ?? input.signal);
    if (POSTS.test(path)) return post(() => request(input, options));
    return request(input, options);
  };
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

async function stream(ask, signal) {
  let answer = null;
  try {
    answer = await ask();
  } catch (error) {
    if (signal?.aborted) throw error;
    console.warn(error);
  }
  const body = answer?.ok ? answer.body : null;
  return new Response(toStream(body, signal), {headers: {'Content-Type': 'text/event-stream'}});
}

function toStream(body, signal) {
  const reader = body?.getReader();
  const messages = withAnEnd(reader, signal);
  return new ReadableStream({
    async pull(controller) {
      const {done, value} = await messages.next();
      if (done) controller.close();
      else controller.enqueue(new TextEncoder().encode(value));
    },
    cancel: reason => reader?.cancel(reason),
  });
}

// The messages of a stream, and where it breaks off what ends it for gradio.
async function* withAnEnd(reader, signal) {
  const decoder = new TextDecoder();
  let rest = '', ended = false;
  try {
    for (let part = await reader?.read(); part && !part.done; part = await reader.read()) {
      rest += decoder.decode(part.value, {stream: true});
      const whole = rest.lastIndexOf('\n\n') + 2;   // a message ends with an empty line
      if (whole < 2) continue;
      ended ||= rest.includes('"close_stream"');
      // a server that was started anew does not know this page's session; the next event begins another
      yield rest.slice(0, whole).replace(/"session_not_found":\s*true/, '"session_not_found":false');
      rest = rest.slice(whole);
    }
  } catch (error) {
    if (signal?.aborted) throw error;
    console.warn(error);
  }
  if (!ended) yield BROKEN;
}

if (globalThis.document) globalThis.fetch = withoutReloads(globalThis.fetch.bind(globalThis));

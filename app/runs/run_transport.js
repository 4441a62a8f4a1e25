// Speaks with the run endpoints of the server; see app/runs/routes.py.

// Server-sent events out of the chunks of a response: calls heard({id, event, data}) for each, and heard({}) for a
// comment, which is a sign of life.
export function eventParser(heard) {
  let rest = '', current = {};
  return text => {
    const lines = (rest + text).split('\n');
    rest = lines.pop();
    for (const line of lines) {
      if (!line) {
        if (current.data !== undefined) heard(current);
        current = {};
      } else if (line.startsWith(':')) heard({});
      else {
        const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line.replace(/\r$/, ''));
        current[field] = field === 'data' && current.data !== undefined ? current.data + '\n' + value : value;
      }
    }
  };
}

// Speaks with the server. Everything is told by an event of the machine: notify(event).
export class Transport {
  constructor(base, notify, request = globalThis.fetch.bind(globalThis)) {
    this.base = base;
    this.notify = notify;
    this.request = request;
    this.stream = null;
  }

  url(id, rest = '') {
    return new URL(encodeURIComponent(id) + rest, this.base).href;
  }

  async put(id, view, controls) {
    let answer;
    try {
      answer = await this.request(this.url(id), {
        method: 'PUT', headers: {'Content-Type': 'application/json'}, body: JSON.stringify({view, controls}),
      });
    } catch {
      return this.notify({type: 'unreached', id});
    }
    if (answer.ok) return this.notify({type: 'accepted', id});
    const sentence = await sentenceOf(answer);
    // A proxy that does not reach the server says so without a sentence of ours.
    if (answer.status >= 500 && !sentence) return this.notify({type: 'unreached', id});
    this.notify({type: 'refused', id, message: sentence || `The server refused the run (${answer.status}).`});
  }

  async delete(id) {
    try {
      const answer = await this.request(this.url(id), {method: 'DELETE', keepalive: true});
      this.notify(answer.status < 500 ? {type: 'deleted', id} : {type: 'unreached', id});
    } catch {
      this.notify({type: 'unreached', id});
    }
  }

  async open(id, after) {
    this.close();
    const stream = this.stream = new AbortController();
    const notify = event => this.stream === stream && this.notify({...event, id});
    try {
      const query = after === null ? '' : `?after=${after}`;
      const headers = {Accept: 'text/event-stream'};
      const answer = await this.request(this.url(id, '/events' + query), {signal: stream.signal, headers, cache: 'no-store'});
      if (answer.status === 404) return notify({type: 'unknown'});
      if (!answer.ok) return notify({type: 'cut'});
      await this.read(answer.body.getReader(), notify);
    } catch {
      // told below: it broke off
    }
    notify({type: 'cut'});
  }

  async read(reader, notify) {
    const decoder = new TextDecoder();
    const parse = eventParser(({event, id, data}) => {
      if (event === undefined) return notify({type: 'beat'});
      notify({type: event, version: Number(id), ...JSON.parse(data)});
    });
    while (true) {
      const {done, value} = await reader.read();
      if (done) return;
      parse(decoder.decode(value, {stream: true}));
    }
  }

  close() {
    if (this.stream) this.stream.abort();
    this.stream = null;
  }
}

async function sentenceOf(answer) {
  try {
    return (await answer.json()).error.message;
  } catch {
    return '';
  }
}

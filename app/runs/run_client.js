// Runs in the browser: one state machine for each bench (an element of the class `workbench` or `beside`).
//
// `reduce` is the whole logic, without a browser: (state, event) -> [state, effects]. `RunClient` carries out the effects
// with a transport, and `Page` connects the clients with the document:
//
// - A part of a frame reaches the element with data-run-part="NAME" inside the bench as an event `frame`, whose detail is
//   the part's whole value. An element that starts later dispatches a bubbling `frame-ready` and gets the latest. One with
//   data-run-also="ID" shows that part of the runs of another bench as well.
// - The bench gets an event `run-state` with {name, id, outcome, message} and carries the name as data-run-state.

export const BACKOFF = [250, 500, 1000, 2000, 4000];  // ms between attempts to reach the server
export const SILENCE = 20000;                         // ms without a sign of life after which a run counts as lost
export const MOST_ATTEMPTS = 60;                      // attempts to find a lost run again: some minutes

export const SENTENCES = {
  unreached: 'The server does not answer. Run tries again.',
  lost: 'The connection to the server was lost. What is written stays; the run is looked for, and Run starts a new one.',
  unknown: 'The server does not know this run any more. What is written stays; Run starts a new one.',
};

export const IDLE = Object.freeze({
  name: 'idle',        // idle, starting, running, stopping, ended, lost
  id: null,            // of the run that this bench shows
  request: null,       // {view, controls}, to ask again for it; null for one that was found after a reload
  accepted: false,     // the server has the run
  streaming: false,    // a stream of its events is open
  stopped: false,      // the server has heard of Stop
  version: null,       // of the parts
  parts: {},           // what the run shows, by name
  attempt: 0,          // attempts since anything was heard
  found: '',           // after a reload: what the run was then, 'running' or 'ended'
  outcome: '',
  message: '',
});

const UNDER_WAY = ['starting', 'running', 'stopping'];

// The state and the effects that follow from an event. Events of another run than the bench's own change nothing.
export function reduce(state, event) {
  if (event.type === 'run') return onRun(state, event);
  if (event.type === 'found') return onFound(state, event);
  if (event.id !== undefined && event.id !== state.id) return [state, []];
  const handler = HANDLERS[event.type];
  return handler ? handler(state, event) : [state, []];
}

function onRun(state, {id, view, controls}) {
  const request = {view, controls};
  if (state.name === 'starting' && JSON.stringify(state.request) === JSON.stringify(request)) return [state, []];
  const effects = [{do: 'unwatch'}];
  if (state.streaming) effects.push({do: 'close'});
  if (['starting', 'running', 'lost'].includes(state.name)) effects.push({do: 'delete', id: state.id});
  effects.push({do: 'put', id, ...request}, {do: 'watch'}, {do: 'keep', id, was: 'running'}, {do: 'say'});
  return [{...IDLE, name: 'starting', id, request}, effects];
}

function onFound(state, {id, was}) {
  if (state.name !== 'idle') return [state, []];
  const next = {...IDLE, name: 'running', id, accepted: true, streaming: true, found: was};
  return [next, [{do: 'open', id, after: null}, {do: 'watch'}, {do: 'say'}]];
}

const HANDLERS = {
  stop(state) {
    if (!['starting', 'running', 'lost'].includes(state.name)) return [state, []];
    if (state.name === 'lost') return over(state, 'stopped', '', [{do: 'delete', id: state.id}]);
    return [{...state, name: 'stopping'}, [{do: 'delete', id: state.id}, {do: 'watch'}, {do: 'say'}]];
  },

  accepted(state) {
    if (state.accepted || !['starting', 'stopping', 'lost'].includes(state.name)) return [state, []];
    const name = state.name === 'stopping' ? 'stopping' : 'running';
    const next = {...state, name, accepted: true, streaming: true, attempt: 0};
    return [next, [{do: 'open', id: state.id, after: null}, {do: 'watch'}, ...saying(state, next)]];
  },

  refused(state, {message}) {
    if (state.name === 'stopping') return over(state, 'stopped', '');
    if (state.accepted || !['starting', 'lost'].includes(state.name)) return [state, []];
    return over(state, 'error', message);
  },

  deleted(state) {
    return [state.name === 'stopping' ? {...state, stopped: true} : state, []];
  },

  snapshot(state, {version, parts}) {
    return drawn(state, {version, parts}, Object.keys(parts));
  },

  delta(state, {version, parts}) {
    if (state.version === null || version <= state.version) return [state, []];
    return drawn(state, {version, parts: mergePatch(state.parts, parts)}, Object.keys(parts));
  },

  beat(state) {
    if (!UNDER_WAY.includes(state.name) && !looking(state)) return [state, []];
    const next = {...state, name: state.name === 'lost' ? 'running' : state.name, attempt: 0, message: ''};
    return [next, [{do: 'watch'}, ...saying(state, next)]];
  },

  end(state, {outcome, message}) {
    if (!UNDER_WAY.includes(state.name) && !looking(state)) return [state, []];
    const draw = state.name === 'stopping' ? [{do: 'draw', names: Object.keys(state.parts)}] : [];
    return over(state, outcome, message || '', draw);
  },

  cut(state) {
    if (!UNDER_WAY.includes(state.name) && !looking(state)) return [state, []];
    return again({...state, streaming: false});
  },

  unreached(state) {
    if (!['starting', 'stopping'].includes(state.name)) return [state, []];
    return again(state);
  },

  retry(state) {
    if (state.name === 'stopping' && !state.stopped) {
      const [next, effects] = reach(state);
      return [next, [{do: 'delete', id: state.id}, ...effects]];
    }
    if (UNDER_WAY.includes(state.name) || looking(state)) return reach(state);
    return [state, []];
  },

  unknown(state) {
    if (!UNDER_WAY.includes(state.name) && !looking(state)) return [state, []];
    if (state.name === 'stopping') return over(state, 'stopped', '');
    if (state.found === 'ended' && state.version === null) return [IDLE, [{do: 'unwatch'}, {do: 'forget'}, {do: 'say'}]];
    const next = {...state, name: 'lost', streaming: false, accepted: false, outcome: 'lost', message: SENTENCES.unknown};
    return [next, [{do: 'unwatch'}, {do: 'forget'}, {do: 'say'}]];
  },

  silence(state) {
    if (!UNDER_WAY.includes(state.name)) return [state, []];
    const message = state.accepted ? SENTENCES.lost : SENTENCES.unreached;
    const effects = [...(state.streaming ? [{do: 'close'}] : []), {do: 'unwatch'}, {do: 'say'}];
    if (state.accepted) effects.push({do: 'wait', after: BACKOFF[0]});
    return [{...state, name: 'lost', streaming: false, attempt: 0, message}, effects];
  },

  // The page is seen again, or the network is back: what waits for its next attempt need not wait.
  wake(state) {
    if (!state.streaming && (looking(state) || (UNDER_WAY.includes(state.name) && state.attempt))) return reach(state);
    return [state, []];
  },
};

// A lost run that may still be there.
function looking(state) {
  return state.name === 'lost' && state.accepted;
}

function drawn(state, changes, names) {
  if (!UNDER_WAY.includes(state.name) && !looking(state)) return [state, []];
  const next = {...state, ...changes, name: state.name === 'lost' ? 'running' : state.name, attempt: 0, message: ''};
  // What comes after Stop is drawn with the end: until then the text stands as it was when Stop was pressed.
  const draw = next.name === 'stopping' ? [] : [{do: 'draw', names}];
  return [next, [{do: 'watch'}, ...draw, ...saying(state, next)]];
}

function saying(state, next) {
  return state.name === next.name && state.message === next.message ? [] : [{do: 'say'}];
}

function over(state, outcome, message, before = []) {
  const next = {...state, name: 'ended', streaming: false, outcome, message};
  const close = state.streaming ? [{do: 'close'}] : [];
  return [next, [...close, {do: 'unwatch'}, ...before, {do: 'keep', id: state.id, was: 'ended'}, {do: 'say'}]];
}

function again(state) {
  const attempt = state.attempt + 1;
  if (attempt > MOST_ATTEMPTS) return [{...state, attempt, accepted: false, name: 'lost'}, [{do: 'unwatch'}, {do: 'say'}]];
  return [{...state, attempt}, [{do: 'wait', after: BACKOFF[Math.min(attempt, BACKOFF.length) - 1]}]];
}

function reach(state) {
  if (state.streaming) return [state, []];
  if (!state.accepted) return [state, [{do: 'put', id: state.id, ...state.request}]];
  return [{...state, streaming: true}, [{do: 'open', id: state.id, after: state.version}]];
}

// A value with a patch of app/runs/deltas.py applied; neither is changed.
export function mergePatch(value, patch) {
  if ('$set' in patch) return patch.$set;
  if ('$append' in patch) return value + patch.$append;
  if ('$items' in patch) {
    const items = [...value];
    for (const [index, change] of Object.entries(patch.$items)) items[index] = mergePatch(items[index], change);
    return items;
  }
  const merged = {...value};
  for (const [key, change] of Object.entries(patch)) merged[key] = mergePatch(merged[key], change);
  return merged;
}

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

// Carries out what the machine decides, for one bench. view: {draw(names, parts), say(state), keep(id, was), forget()}.
export class RunClient {
  constructor(makeTransport, view, timers = globalThis) {
    this.state = IDLE;
    this.view = view;
    this.timers = timers;
    this.silence = this.attempt = null;
    this.transport = makeTransport(event => this.dispatch(event));
    this.effects = {
      put: ({id, view, controls}) => this.transport.put(id, view, controls),
      delete: ({id}) => this.transport.delete(id),
      open: ({id, after}) => this.transport.open(id, after),
      close: () => this.transport.close(),
      draw: ({names}) => view.draw(names, this.state.parts),
      say: () => view.say(this.state),
      keep: ({id, was}) => view.keep(id, was),
      forget: () => view.forget(),
      watch: () => this.time('silence', 'silence', SILENCE),
      wait: ({after}) => this.time('attempt', 'retry', after),
      unwatch: () => ['silence', 'attempt'].forEach(timer => this.clear(timer)),
    };
  }

  dispatch(event) {
    const [state, effects] = reduce(this.state, event);
    this.state = state;
    for (const effect of effects) this.effects[effect.do](effect);
  }

  time(timer, type, milliseconds) {
    this.clear(timer);
    const id = this.state.id;
    this[timer] = this.timers.setTimeout(() => this.dispatch({type, id}), milliseconds);
  }

  clear(timer) {
    this.timers.clearTimeout(this[timer]);
    this[timer] = null;
  }
}

const BENCH = '.beside, .workbench';
const RUN_KEY = 'coladlm-run-';
const LINK_KEY = 'coladlm-link';

// The runs of a document.
export class Page {
  constructor(window, base) {
    this.window = window;
    this.document = window.document;
    this.base = base;
    this.clients = new Map();
    this.document.addEventListener('frame-ready', event => this.ready(event.target));
    this.document.addEventListener('visibilitychange', () => this.document.hidden || this.wake());
    window.addEventListener('online', () => this.wake());
    window.addEventListener('pageshow', () => this.wake());
    window.addEventListener('pagehide', () => this.leave());
    this.find();
  }

  // A run of a view for a bench. names: of the values, "settings.seed" for one inside of another.
  run(bench, view, names, values) {
    const controls = {};
    names.forEach((name, i) => put(controls, name.split('.'), values[i]));
    this.client(bench).dispatch({type: 'run', id: newId(), view, controls});
  }

  stop(bench) {
    this.client(bench).dispatch({type: 'stop'});
  }

  // Presses Run for a link that brings its result, once: not when the page is loaded anew.
  follow(bench) {
    const link = this.window.location.search;
    if (this.client(bench).state.name !== 'idle' || this.recall(LINK_KEY) === link) return;
    this.store(LINK_KEY, link);
    this.document.querySelector('#' + bench + ' button.run').click();
  }

  client(bench) {
    if (!this.clients.has(bench)) {
      const view = {
        draw: (names, parts) => this.draw(bench, names, parts),
        say: state => this.say(bench, state),
        keep: (id, was) => this.store(RUN_KEY + bench, {id, was, link: this.window.location.search}),
        forget: () => this.store(RUN_KEY + bench, null),
      };
      this.clients.set(bench, new RunClient(notify => new Transport(this.base, notify), view));
    }
    return this.clients.get(bench);
  }

  draw(bench, names, parts) {
    const place = this.document.getElementById(bench);
    const inside = place ? [...place.querySelectorAll('[data-run-part]')].filter(part => part.closest(BENCH) === place) : [];
    for (const part of [...inside, ...this.guests(bench)]) {
      const name = part.dataset.runPart;
      if (names.includes(name)) give(part, parts[name]);
    }
  }

  // Elements outside of a bench that show parts of its runs.
  guests(bench) {
    return this.document.querySelectorAll(`[data-run-also="${bench}"]`);
  }

  say(bench, {name, id, outcome, message, parts}) {
    const place = this.document.getElementById(bench);
    if (place) place.dataset.runState = name;
    const detail = {name, id, outcome, message, shown: Object.keys(parts).length > 0};
    for (const target of [...(place ? [place] : []), ...this.guests(bench)]) target.dispatchEvent(new CustomEvent('run-state', {detail}));
  }

  // A component has started, perhaps after the run that it shows.
  ready(part) {
    for (const bench of [part.closest(BENCH)?.id, part.dataset.runAlso]) {
      const client = this.clients.get(bench);
      if (!client || client.state.name === 'idle') continue;
      const name = part.dataset.runPart;
      if (name in client.state.parts) give(part, client.state.parts[name]);
      this.say(bench, client.state);
    }
  }

  // Runs of this tab of the browser, from before the page was loaded anew.
  find() {
    const storage = attempt(() => this.window.sessionStorage);
    for (const key of Object.keys(storage || {}).filter(key => key.startsWith(RUN_KEY))) {
      const kept = this.recall(key);
      if (kept && kept.link === this.window.location.search) {
        this.client(key.slice(RUN_KEY.length)).dispatch({type: 'found', id: kept.id, was: kept.was});
      } else this.store(key, null);
    }
  }

  wake() {
    for (const client of this.clients.values()) client.dispatch({type: 'wake'});
  }

  // The page may be loaded anew, which finds its runs again; if not, the server need not wait for long.
  leave() {
    for (const [bench, {state}] of this.clients) {
      if (state.name === 'idle') continue;
      const underWay = UNDER_WAY.includes(state.name);
      this.store(RUN_KEY + bench, {id: state.id, was: underWay ? 'running' : 'ended', link: this.window.location.search});
      this.store(LINK_KEY, this.window.location.search);
      if (underWay) this.window.navigator.sendBeacon(new URL(state.id + '/leave', this.base).href);
    }
  }

  recall(key) {
    return attempt(() => JSON.parse(this.window.sessionStorage.getItem(key)));
  }

  // The browser may refuse storage; then a page that is loaded anew begins without its runs.
  store(key, value) {
    attempt(() => value === null ? this.window.sessionStorage.removeItem(key) : this.window.sessionStorage.setItem(key, JSON.stringify(value)));
  }
}

function attempt(act) {
  try {
    return act();
  } catch {
    return null;
  }
}

function give(part, value) {
  part.dispatchEvent(new CustomEvent('frame', {detail: value}));
}

function put(target, [first, ...rest], value) {
  if (rest.length) put(target[first] ??= {}, rest, value);
  else target[first] = value;
}

// 132 random bits: who knows the id of a run may follow it where a browser keeps no cookies.
function newId() {
  const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  return [...crypto.getRandomValues(new Uint8Array(22))].map(byte => letters[byte & 63]).join('');
}

if (globalThis.document) globalThis.window.runs = new Page(globalThis.window, new URL('.', import.meta.url));

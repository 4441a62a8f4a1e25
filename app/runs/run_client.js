// Runs in the browser: one state machine for each workbench (an element of the class `workbench` or `beside`).
//
// What follows from an event is decided in run_state.js. `RunClient` carries that out with the transport of
// run_transport.js, and `Page` connects the clients with the document:
//
// - A part of a frame reaches the element with data-run-part="NAME" inside the workbench as an event `frame`, whose
//   detail is the part's whole value. An element that starts later dispatches a bubbling `frame-ready` and gets the
//   latest. One with data-run-also="ID" shows that part of the runs of another workbench as well.
// - The workbench gets an event `run-state` with {name, id, outcome, message} and carries the name as data-run-state.

import {IDLE, SILENCE, UNDER_WAY, reduce} from './run_state.js';
import {Transport} from './run_transport.js';

// Carries out what the machine decides, for one workbench. view: {draw(names, parts), say(state), keep(id, was),
// forget()}.
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

  // A run of a view for a workbench. names: of the values, "settings.seed" for one inside of another.
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
        draw: (names, parts) => {
          this.draw(bench, names, parts);
          // the address is that of the run now, and by it a page that ends without a word finds the run again
          if (names.includes('link')) view.keep(this.client(bench).state.id, 'running');
        },
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

  // Elements outside of a workbench that show parts of its runs.
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
    const keys = Object.keys(storage || {}).filter(key => key.startsWith(RUN_KEY));
    // A page that is loaded anew has the address that it had when that was asked for: the first frame of a run may have
    // changed it since.
    const late = keys.map(key => this.recall(key)).find(kept => kept?.was === 'running' && kept.link !== this.window.location.search);
    if (late?.link && this.window.performance.getEntriesByType('navigation')[0]?.type === 'reload') {
      return void this.window.location.replace(new URL(late.link, this.window.location.href).href);
    }
    for (const key of keys) {
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
    const link = this.window.location.search, begun = [...this.clients].filter(([, {state}]) => state.name !== 'idle');
    for (const [bench, {state}] of begun) {
      const underWay = UNDER_WAY.includes(state.name), was = underWay ? 'running' : 'ended';
      this.store(RUN_KEY + bench, this.showsAnother(bench, state) ? null : {id: state.id, was, link});
      if (underWay) this.window.navigator.sendBeacon(new URL(state.id + '/leave', this.base).href);
    }
    if (begun.length) this.store(LINK_KEY, begun.some(([bench, {state}]) => this.showsAnother(bench, state)) ? null : link);
  }

  // Does the stage show a text of another run, from before this one? Then the address is that of the text, and brings it
  // anew.
  showsAnother(bench, {name, parts}) {
    const [here, own] = [this.window.location.search, parts.link?.query].map(query => new URLSearchParams(query));
    return !UNDER_WAY.includes(name) && own.has('r') && here.get('tab') === bench && here.get('r') !== own.get('r');
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

if (globalThis.document) {
  const {calls = []} = globalThis.window.runs ?? {};
  const runs = globalThis.window.runs = new Page(globalThis.window, new URL('.', import.meta.url));
  for (const [name, values] of calls) runs[name](...values);
}

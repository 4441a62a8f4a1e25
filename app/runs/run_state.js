// The state of a run in the browser, and what follows from an event: the whole logic of the run client, without a browser.
// `reduce` is (state, event) -> [state, effects]; RunClient of run_client.js carries out the effects.

export const BACKOFF = [250, 500, 1000, 2000, 4000];  // ms between attempts to reach the server
export const SILENCE = 8000;                          // ms without a sign of life after which a run counts as lost
export const MOST_ATTEMPTS = 60;                      // attempts to find a lost run again: some minutes

export const SENTENCES = {
  unreached: 'The server does not answer. Run tries again.',
  lost: 'The connection to the server was lost. What is written stays; the run is looked for, and Run starts a new one.',
  unknown: 'The server does not know this run any more. What is written stays; Run starts a new one.',
};

export const IDLE = Object.freeze({
  name: 'idle',        // idle, starting, running, stopping, ended, lost
  id: null,            // of the run that this workbench shows
  request: null,       // {view, controls}, to ask again for it; null for one that was found after a reload
  accepted: false,     // the server has the run
  streaming: false,    // a stream of its events is open
  stopped: false,      // the server has heard of Stop
  version: null,       // of the parts
  parts: {},           // what the run shows, by name
  attempt: 0,          // attempts since anything was heard
  found: '',           // after a reload: what the run was then, 'running' or 'ended'
  before: null,        // of a run under way whose place it takes once it has begun; until then that goes on
  refusal: '',         // why the run that was to take the place of this one was refused
  outcome: '',
  message: '',
});

export const UNDER_WAY = ['starting', 'running', 'stopping'];

// The state and the effects that follow from an event. Events of another run than the workbench's own change nothing.
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
  // What may still be refused ends nothing: a run that the server has goes on until this one has begun.
  const before = state.before ?? (UNDER_WAY.includes(state.name) && state.accepted ? state.id : null);
  if (['starting', 'running', 'lost'].includes(state.name) && before !== state.id) effects.push({do: 'delete', id: state.id});
  effects.push({do: 'put', id, ...request}, {do: 'watch'}, {do: 'keep', id, was: 'running'}, {do: 'say'});
  return [{...IDLE, name: 'starting', id, request, before}, effects];
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
    const gone = state.before ? [{do: 'delete', id: state.before}] : [];
    return [{...state, name: 'stopping', before: null}, [{do: 'delete', id: state.id}, ...gone, {do: 'watch'}, {do: 'say'}]];
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
    return refused(state, message);
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
    const next = {...state, name: state.name === 'lost' ? 'running' : state.name, attempt: 0, message: state.refusal};
    return [next, [{do: 'watch'}, ...saying(state, next)]];
  },

  end(state, {outcome, message}) {
    if (!UNDER_WAY.includes(state.name) && !looking(state)) return [state, []];
    const draw = state.name === 'stopping' ? [{do: 'draw', names: Object.keys(state.parts)}] : [];
    if (state.refusal && state.name !== 'stopping' && outcome !== 'done') return over(state, 'error', state.refusal, draw);
    if (outcome === 'error' && (state.before || !Object.keys(state.parts).length)) return refused(state, message || '');
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
    if (state.refusal) return over(state, 'error', state.refusal);
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
  const name = state.name === 'lost' ? 'running' : state.name, shows = begun(names, changes.parts);
  const next = {...state, ...changes, name, attempt: 0, message: state.refusal, before: shows ? null : state.before};
  const gone = shows && state.before ? [{do: 'delete', id: state.before}] : [];
  // What comes after Stop is drawn with the end: until then the text stands as it was when Stop was pressed.
  const draw = next.name === 'stopping' ? [] : [{do: 'draw', names}];
  return [next, [...gone, {do: 'watch'}, ...draw, ...saying(state, next)]];
}

// Has the run begun, or a place in the queue, which it takes over? Its address and a word of its start, or that it never
// began, come also where it is refused, for one of several texts that is empty say.
function begun(names, parts) {
  return names.some(name => name !== 'link' && !(name === 'progress' && parts.progress?.state !== 'waiting'));
}

function saying(state, next) {
  return state.name === next.name && state.message === next.message ? [] : [{do: 'say'}];
}

function over(state, outcome, message, before = []) {
  const next = {...state, name: 'ended', streaming: false, outcome, message};
  const close = state.streaming ? [{do: 'close'}] : [];
  return [next, [...close, {do: 'unwatch'}, ...before, {do: 'keep', id: state.id, was: 'ended'}, {do: 'say'}]];
}

// A run that shows nothing but why it was refused: that whose place it would have taken comes back, and goes on.
function refused(state, message) {
  if (!state.before) return over(state, 'error', message);
  const close = state.streaming ? [{do: 'close'}] : [], id = state.before;
  const next = {...IDLE, name: 'running', id, accepted: true, streaming: true, refusal: message, message};
  return [next, [...close, {do: 'open', id, after: null}, {do: 'watch'}, {do: 'keep', id, was: 'running'}, {do: 'say'}]];
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

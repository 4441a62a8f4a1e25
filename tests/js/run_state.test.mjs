// The logic of the run client: every transition of its machine, and every order in which things may arrive.

import assert from 'node:assert/strict';
import {describe, test} from 'node:test';
import {BACKOFF, IDLE, MOST_ATTEMPTS, SENTENCES, mergePatch, reduce} from '../../app/runs/run_state.js';

const RUN = {type: 'run', id: 'one', view: 'v', controls: {prompt: 'x'}};
const SNAPSHOT = {type: 'snapshot', id: 'one', version: 1, parts: {text: 'a'}};
const DELTA = {type: 'delta', id: 'one', version: 2, parts: {text: {$append: 'b'}}};
const END = {type: 'end', id: 'one', version: 2, outcome: 'done', message: ''};
const of = (type, id = 'one') => ({type, id});

// The state after these events, and the effects of the last one.
function after(...events) {
  let state = IDLE, effects = [];
  for (const event of events) [state, effects] = reduce(state, event);
  return {state, effects, did: effects.map(effect => effect.do)};
}

// The runs that the server was asked to end, in order.
function deleted(events) {
  let state = IDLE, effects = [];
  return events.flatMap(event => {
    [state, effects] = reduce(state, event);
    return effects.filter(effect => effect.do === 'delete').map(effect => effect.id);
  });
}

const STARTING = [RUN];
const RUNNING = [RUN, of('accepted'), SNAPSHOT];
const STOPPING = [...RUNNING, {type: 'stop'}];
const ENDED = [...RUNNING, END];
const LOST = [...RUNNING, of('silence')];
const STATES = {idle: [], starting: STARTING, running: RUNNING, stopping: STOPPING, ended: ENDED, lost: LOST};

describe('a run from click to end', () => {
  test('Run asks the server at once and keeps the id for a reload', () => {
    const {state, effects} = after(RUN);
    assert.equal(state.name, 'starting');
    assert.deepEqual(effects.find(e => e.do === 'put'), {do: 'put', id: 'one', view: 'v', controls: {prompt: 'x'}});
    assert.deepEqual(effects.find(e => e.do === 'keep'), {do: 'keep', id: 'one', was: 'running'});
  });

  test('the answer opens the stream', () => {
    const {state, effects} = after(RUN, of('accepted'));
    assert.equal(state.name, 'running');
    assert.deepEqual(effects[0], {do: 'open', id: 'one', after: null});
  });

  test('a snapshot and what follows are drawn, the changed parts alone', () => {
    const first = after(...RUNNING);
    assert.deepEqual(first.effects.find(e => e.do === 'draw'), {do: 'draw', names: ['text']});
    const two = after(RUN, of('accepted'), {...SNAPSHOT, parts: {text: 'a', line: 1}}, DELTA);
    assert.deepEqual(two.effects.find(e => e.do === 'draw'), {do: 'draw', names: ['text']});
    assert.deepEqual(two.state.parts, {text: 'ab', line: 1});
  });

  test('the end closes the stream, which is not opened again', () => {
    const {state, did} = after(...ENDED);
    assert.equal(state.name, 'ended');
    assert.equal(state.outcome, 'done');
    assert.ok(did.includes('close') && did.includes('unwatch'));
    assert.deepEqual(after(...ENDED, of('cut')).effects, []);
    assert.deepEqual(after(...ENDED, of('retry')).effects, []);
  });

  test('an error and its sentence come with the end', () => {
    const {state} = after(...RUNNING, {...END, outcome: 'error', message: 'Seed is too low.'});
    assert.deepEqual([state.name, state.outcome, state.message], ['ended', 'error', 'Seed is too low.']);
  });

  test('a refusal is the end, with its sentence', () => {
    const {state, did} = after(RUN, {type: 'refused', id: 'one', message: 'The queue is full.'});
    assert.deepEqual([state.name, state.outcome, state.message], ['ended', 'error', 'The queue is full.']);
    assert.ok(!did.includes('open'));
  });
});

describe('a run that is refused while another one is under way', () => {
  const other = {...RUN, id: 'two', controls: {prompt: 'y'}};
  const wrong = {type: 'end', id: 'two', version: 1, outcome: 'error', message: 'Seed is too low.'};
  const refusals = {
    'by its view': [...RUNNING, other, of('accepted', 'two'), {type: 'snapshot', id: 'two', version: 0, parts: {}}, wrong],
    'by its view, with its address and that it starts': [
      ...RUNNING, other, of('accepted', 'two'),
      {type: 'snapshot', id: 'two', version: 0, parts: {link: 'a', progress: {state: 'running'}}},
      {type: 'delta', id: 'two', version: 1, parts: {progress: {state: {$set: 'stopped'}}}}, wrong,
    ],
    'at the door': [...RUNNING, other, {type: 'refused', id: 'two', message: 'Seed is too low.'}],
  };

  for (const [how, events] of Object.entries(refusals)) {
    test(`${how}: what was under way comes back and goes on, with the sentence`, () => {
      const {state, effects} = after(...events);
      assert.deepEqual([state.name, state.id, state.message], ['running', 'one', 'Seed is too low.']);
      assert.deepEqual(effects.find(e => e.do === 'open'), {do: 'open', id: 'one', after: null});
      assert.deepEqual(deleted(events), []);
      const on = after(...events, {...SNAPSHOT, version: 3}, of('beat'));
      assert.deepEqual([on.state.name, on.state.message], ['running', 'Seed is too low.']);
      const end = after(...events, {...SNAPSHOT, version: 3}, {...END, version: 3});
      assert.deepEqual([end.state.name, end.state.outcome, end.state.parts], ['ended', 'done', {text: 'a'}]);
    });

    test(`${how}: what was under way and did not last ends with the sentence`, () => {
      const end = after(...events, {...SNAPSHOT, version: 3}, {...END, version: 3, outcome: 'lost'});
      assert.deepEqual([end.state.name, end.state.outcome, end.state.message], ['ended', 'error', 'Seed is too low.']);
    });

    test(`${how}: what was under way can be stopped`, () => {
      const end = after(...events, {...SNAPSHOT, version: 3}, {type: 'stop'}, {...END, version: 3, outcome: 'stopped'});
      assert.deepEqual([end.state.name, end.state.outcome], ['ended', 'stopped']);
    });
  }

  test('the run before is let go as soon as the new one shows something, once', () => {
    const events = [...RUNNING, other, of('accepted', 'two'), {type: 'snapshot', id: 'two', version: 0, parts: {}}];
    assert.deepEqual(deleted(events), []);
    events.push({...DELTA, id: 'two', version: 1, parts: {text: {$set: 'b'}}}, {...DELTA, id: 'two', version: 2});
    assert.deepEqual(deleted(events), ['one']);
  });

  test('the run before is let go as soon as the new one waits in the queue, where its place is needed', () => {
    const events = [...RUNNING, other, of('accepted', 'two')];
    const shown = state => ({type: 'snapshot', id: 'two', version: 0, parts: {link: 'a', progress: {state}}});
    assert.deepEqual(deleted([...events, shown('running')]), []);
    assert.deepEqual(deleted([...events, shown('waiting')]), ['one']);
  });

  test('Stop before that ends both', () => {
    assert.deepEqual(deleted([...RUNNING, other, {type: 'stop'}]), ['two', 'one']);
  });

  test('a third run before that leaves none behind', () => {
    const third = {...other, id: 'three', controls: {prompt: 'z'}};
    const shown = [of('accepted', 'three'), {...SNAPSHOT, id: 'three'}];
    assert.deepEqual(deleted([...RUNNING, other, third, ...shown]), ['two', 'one']);
    assert.deepEqual(deleted([...RUNNING, other, of('accepted', 'two'), third, ...shown]), ['two', 'one']);
  });

  test('where the server has forgotten it, the sentence stands alone', () => {
    const {state} = after(...refusals['by its view'], of('unknown'));
    assert.deepEqual([state.name, state.outcome, state.message], ['ended', 'error', 'Seed is too low.']);
  });

  test('a run that has shown something ends where it is', () => {
    const {state} = after(...RUNNING, other, of('accepted', 'two'), {...SNAPSHOT, id: 'two'}, {...wrong, version: 2});
    assert.deepEqual([state.name, state.id, state.message], ['ended', 'two', 'Seed is too low.']);
  });
});

describe('what comes late, twice or of another run', () => {
  test('a second answer opens no second stream', () => {
    assert.deepEqual(after(...RUNNING, of('accepted')).effects, []);
  });

  test('an event that comes twice, or after a later one, changes nothing', () => {
    const once = after(...RUNNING, DELTA).state;
    assert.deepEqual(after(...RUNNING, DELTA, DELTA).state, once);
    assert.deepEqual(after(...RUNNING, {...DELTA, version: 5}, DELTA).effects, []);
  });

  test('what came before the first snapshot is not taken for a change', () => {
    assert.deepEqual(after(RUN, of('accepted'), DELTA).effects, []);
  });

  test('an answer after the end, a second end and frames after the end change nothing', () => {
    for (const event of [of('accepted'), END, SNAPSHOT, DELTA, of('beat'), of('unknown'), of('silence')]) {
      assert.deepEqual(after(...ENDED, event).effects, [], event.type);
      assert.deepEqual(after(...ENDED, event).state, after(...ENDED).state, event.type);
    }
  });

  for (const [name, events] of Object.entries(STATES)) {
    test(`nothing of another run reaches a bench that is ${name}`, () => {
      const types = ['accepted', 'refused', 'unreached', 'deleted', 'snapshot', 'delta', 'beat', 'end', 'cut', 'unknown', 'silence', 'retry'];
      for (const type of types) {
        const {state, effects} = after(...events, {...SNAPSHOT, ...END, type, id: 'another'});
        assert.deepEqual([state, effects], [after(...events).state, []], type);
      }
    });
  }
});

describe('Stop', () => {
  test('before the answer: the server hears of it at once', () => {
    const {state, effects} = after(RUN, {type: 'stop'});
    assert.equal(state.name, 'stopping');
    assert.deepEqual(effects[0], {do: 'delete', id: 'one'});
  });

  test('before the answer: the answer that comes late opens the stream for the last frame, and nothing is drawn before', () => {
    const late = after(RUN, {type: 'stop'}, of('accepted'));
    assert.equal(late.state.name, 'stopping');
    assert.deepEqual(late.effects[0], {do: 'open', id: 'one', after: null});
    assert.ok(!after(RUN, {type: 'stop'}, of('accepted'), SNAPSHOT).did.includes('draw'));
    const end = after(RUN, {type: 'stop'}, of('accepted'), SNAPSHOT, {...END, outcome: 'stopped'});
    assert.deepEqual([end.state.name, end.state.outcome], ['ended', 'stopped']);
    assert.deepEqual(end.effects.find(e => e.do === 'draw'), {do: 'draw', names: ['text']});
  });

  test('frames that come after it are drawn with the end', () => {
    assert.ok(!after(...STOPPING, DELTA).did.includes('draw'));
    const {state, effects} = after(...STOPPING, DELTA, {...END, outcome: 'stopped'});
    assert.deepEqual(effects.find(e => e.do === 'draw'), {do: 'draw', names: ['text']});
    assert.equal(state.parts.text, 'ab');
  });

  test('a second time asks for nothing more; after the end it does nothing', () => {
    assert.deepEqual(after(...STOPPING, {type: 'stop'}).effects, []);
    assert.deepEqual(after(...ENDED, {type: 'stop'}).effects, []);
    assert.deepEqual(after({type: 'stop'}).effects, []);
  });

  test('a refused run that was stopped is stopped, and no error', () => {
    assert.equal(after(RUN, {type: 'stop'}, {type: 'refused', id: 'one', message: 'full'}).state.outcome, 'stopped');
  });

  test('that the server did not hear is said again', () => {
    const {effects} = after(...STOPPING, of('unreached'));
    assert.deepEqual(effects, [{do: 'wait', after: BACKOFF[0]}]);
    assert.deepEqual(after(...STOPPING, of('unreached'), of('retry')).effects, [{do: 'delete', id: 'one'}]);
    assert.deepEqual(after(...STOPPING, of('deleted'), of('retry')).effects, []);
  });

  test('that came before the run, both lost on their way, are both said again', () => {
    const {effects} = after(RUN, {type: 'stop'}, of('unreached'), of('retry'));
    assert.deepEqual(effects.map(e => e.do), ['delete', 'put']);
  });

  test('in the moment of the end: what the run came to stands', () => {
    assert.equal(after(...STOPPING, END).state.outcome, 'done');
  });

  test('while the run is looked for gives it up', () => {
    const {state, effects} = after(...LOST, {type: 'stop'});
    assert.deepEqual([state.name, state.outcome], ['ended', 'stopped']);
    assert.deepEqual(effects.find(e => e.do === 'delete'), {do: 'delete', id: 'one'});
  });

  test('of a run that the server has forgotten is the end', () => {
    assert.deepEqual([after(...STOPPING, of('unknown')).state.name, after(...STOPPING, of('unknown')).state.outcome], ['ended', 'stopped']);
  });
});

describe('Run once more', () => {
  const SECOND = {...RUN, id: 'two'};

  for (const [name, events] of Object.entries(STATES)) {
    test(`is taken at once by a bench that is ${name}, and a run that the server has goes on until it shows something`, () => {
      const {state, effects} = after(...events, {...SECOND, controls: {prompt: 'y'}});
      assert.deepEqual([state.name, state.id, state.version], ['starting', 'two', null]);
      assert.deepEqual(effects.filter(e => e.do === 'put').map(e => e.id), ['two']);
      const gone = effects.filter(e => e.do === 'delete').map(e => e.id);
      assert.deepEqual(gone, ['starting', 'lost'].includes(name) ? ['one'] : []);
      assert.equal(effects.some(e => e.do === 'close'), ['running', 'stopping'].includes(name));
    });
  }

  test('a double click is one run', () => {
    assert.deepEqual(after(RUN, SECOND).effects, []);
    assert.equal(after(RUN, SECOND).state.id, 'one');
  });

  test('Run, Stop, Run while the first answer is still on its way: the second can be stopped', () => {
    const {state, effects} = after(RUN, {type: 'stop'}, SECOND, of('accepted', 'one'), of('accepted', 'two'), {type: 'stop'});
    assert.equal(state.name, 'stopping');
    assert.deepEqual(effects[0], {do: 'delete', id: 'two'});
  });

  test('frames and the end of the run before are not drawn', () => {
    const events = [...STOPPING, SECOND, DELTA, {...END, outcome: 'stopped'}];
    assert.deepEqual([after(...events).state.name, after(...events).effects], ['starting', []]);
  });
});

describe('a connection that breaks', () => {
  test('is opened again where it stopped', () => {
    const cut = after(...RUNNING, DELTA, of('cut'));
    assert.equal(cut.state.name, 'running');
    assert.deepEqual(cut.effects, [{do: 'wait', after: BACKOFF[0]}]);
    assert.deepEqual(after(...RUNNING, DELTA, of('cut'), of('retry')).effects, [{do: 'open', id: 'one', after: 2}]);
  });

  test('goes on with what is new, or with a snapshot', () => {
    const cut = [...RUNNING, of('cut'), of('retry')];
    assert.deepEqual(after(...cut, DELTA).state.parts, {text: 'ab'});
    const snapshot = {type: 'snapshot', id: 'one', version: 7, parts: {text: 'abc'}};
    assert.deepEqual(after(...cut, snapshot).state.parts, {text: 'abc'});
  });

  test('is tried again at growing intervals, which are short again once something was heard', () => {
    const waits = [];
    const events = [...RUNNING];
    for (let i = 0; i < 7; i++) {
      events.push(of('cut'));
      waits.push(after(...events).effects[0].after);
      events.push(of('retry'));
    }
    assert.deepEqual(waits, [250, 500, 1000, 2000, 4000, 4000, 4000]);
    assert.equal(after(...events, of('beat'), of('cut')).effects[0].after, 250);
  });

  test('while stopping goes on until the end is heard', () => {
    const events = [...STOPPING, of('deleted'), of('cut'), of('retry')];
    assert.deepEqual(after(...events).effects, [{do: 'open', id: 'one', after: 1}]);
    assert.equal(after(...events, {...END, outcome: 'stopped'}).state.name, 'ended');
  });

  test('a request to start that does not arrive is sent again under the same id', () => {
    const {effects} = after(RUN, of('unreached'), of('retry'));
    assert.deepEqual(effects, [{do: 'put', id: 'one', view: 'v', controls: {prompt: 'x'}}]);
    assert.equal(after(RUN, of('unreached'), of('retry'), of('accepted')).state.name, 'running');
  });

  test('the page that is seen again, or is on the network again, tries at once', () => {
    assert.deepEqual(after(...RUNNING, of('cut'), {type: 'wake'}).effects, [{do: 'open', id: 'one', after: 1}]);
    assert.deepEqual(after(...RUNNING, {type: 'wake'}).effects, []);
    assert.deepEqual(after(RUN, {type: 'wake'}).effects, []);
    assert.deepEqual(after(...ENDED, {type: 'wake'}).effects, []);
  });
});

describe('silence', () => {
  test('of a run under way is a lost connection: a sentence, the text stays, and it is looked for', () => {
    const {state, did} = after(...LOST);
    assert.deepEqual([state.name, state.message, state.parts], ['lost', SENTENCES.lost, {text: 'a'}]);
    assert.ok(did.includes('close') && did.includes('wait') && did.includes('say'));
  });

  test('of a server that never answered says so', () => {
    const {state, did} = after(RUN, of('silence'));
    assert.deepEqual([state.name, state.message], ['lost', SENTENCES.unreached]);
    assert.ok(!did.includes('wait'));
  });

  test('that is broken by an answer after all leads into the run', () => {
    const {state, effects} = after(RUN, of('silence'), of('accepted'));
    assert.equal(state.name, 'running');
    assert.deepEqual(effects[0], {do: 'open', id: 'one', after: null});
  });

  for (const [what, event, name] of [['a snapshot', {...SNAPSHOT, version: 3}, 'running'], ['news', DELTA, 'running'],
    ['a sign of life', of('beat'), 'running'], ['its end', END, 'ended']]) {
    test(`a lost run is found again with ${what}`, () => {
      const {state} = after(...LOST, of('retry'), event);
      assert.deepEqual([state.name, state.message], [name, '']);
    });
  }

  test('a lost run that the server does not know is lost for good, and is not looked for any more', () => {
    const {state, did} = after(...LOST, of('retry'), of('unknown'));
    assert.deepEqual([state.name, state.message, state.parts], ['lost', SENTENCES.unknown, {text: 'a'}]);
    assert.ok(did.includes('forget'));
    for (const event of [of('retry'), of('cut'), {type: 'wake'}]) {
      assert.deepEqual(after(...LOST, of('retry'), of('unknown'), event).effects, []);
    }
  });

  test('the search for a lost run comes to an end', () => {
    const events = [...LOST];
    for (let i = 0; i <= MOST_ATTEMPTS; i++) events.push(of('retry'), of('cut'));
    assert.ok(!after(...events).did.includes('wait'));
    assert.deepEqual(after(...events, {type: 'wake'}).effects, []);
  });

  test('every sign of life of a run under way is heard as one', () => {
    for (const event of [SNAPSHOT, {...DELTA, version: 9}, of('beat')]) {
      assert.ok(after(...RUNNING, event).did.includes('watch'), event.type);
    }
  });
});

describe('a page that is loaded anew', () => {
  const FOUND = {type: 'found', id: 'one', was: 'running'};

  test('asks for its run from the beginning, and shows it', () => {
    assert.deepEqual(after(FOUND).effects[0], {do: 'open', id: 'one', after: null});
    assert.ok(after(FOUND, SNAPSHOT).did.includes('draw'));
    assert.equal(after(FOUND, SNAPSHOT, END).state.name, 'ended');
    assert.deepEqual(after(FOUND, SNAPSHOT, {type: 'stop'}).effects[0], {do: 'delete', id: 'one'});
  });

  test('says so when a run that was under way is gone, and nothing when it was over', () => {
    assert.deepEqual([after(FOUND, of('unknown')).state.name, after(FOUND, of('unknown')).state.message], ['lost', SENTENCES.unknown]);
    assert.equal(after({...FOUND, was: 'ended'}, of('unknown')).state, IDLE);
  });

  test('does not touch a run that was started meanwhile', () => {
    assert.deepEqual(after({...RUN, id: 'two'}, FOUND).effects, []);
  });
});

describe('patches', () => {
  test('set, append, items and keys', () => {
    const old = {a: 1, text: 'ab', rows: [{t: 'x'}, {t: 'y'}]};
    const patch = {a: {$set: 2}, text: {$append: 'c'}, rows: {$items: {1: {t: {$append: '!'}}, 2: {$set: {t: 'z'}}}}};
    assert.deepEqual(mergePatch(old, patch), {a: 2, text: 'abc', rows: [{t: 'x'}, {t: 'y!'}, {t: 'z'}]});
    assert.deepEqual(old, {a: 1, text: 'ab', rows: [{t: 'x'}, {t: 'y'}]});
  });

  test('no name of a value reaches the prototype of objects', () => {
    mergePatch({}, JSON.parse('{"__proto__": {"$set": {"polluted": true}}}'));
    assert.equal({}.polluted, undefined);
  });
});

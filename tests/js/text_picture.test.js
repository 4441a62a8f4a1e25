import assert from 'node:assert/strict';
import {test} from 'node:test';
import {defined} from './snippets.js';

const {clusterName} = defined(['components/text_map/text_picture.js'], ['clusterName']);

test('a cluster is called by its words', () => {
  const data = {names: [['cat', 'dog'], []]};
  assert.deepEqual([clusterName(data, 0), clusterName(data, 1)], ['cat, dog', 'no word in common']);
});

test('clusters of vectors without texts, of which none has words, are called by their numbers', () => {
  const data = {names: [[], []]};
  assert.deepEqual([clusterName(data, 0), clusterName(data, 1)], ['cluster 1', 'cluster 2']);
});

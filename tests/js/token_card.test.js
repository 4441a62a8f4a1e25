import assert from 'node:assert/strict';
import {test} from 'node:test';
import {mount} from './snippets.js';

const WORD = {title: 'sun', where: 'token 1 of block 1', note: '', read: [[' sun', 0.9, 1, 4]], noise: 40, latent: [1], size: '1.00', point: [0, 0]};

// A card, with what it says when so much has been typed into the box for another word and sent.
function card() {
  const page = mount('token_card', {value: WORD, part: ''}, {parts: ['elements.js', 'quoted_words.js']});
  const box = page.at('.other input'), event = name => new page.window.Event(name, {bubbles: true, cancelable: true});
  const write = text => {
    box.value = text;
    box.dispatchEvent(event('input'));
    page.at('.other').dispatchEvent(event('submit'));
    return page.at('.refused').textContent;
  };
  return {...page, box, write};
}

test('an empty box for another word and a hole in it are refused in a sentence, a word is not', () => {
  const page = card();
  assert.equal(page.write(''), 'Write a word into the box first.');
  assert.equal(page.write('   '), 'Write a word into the box first.');
  assert.equal(page.write('a ____ b'), 'A hole goes into the prompt, not here: write a word.');
  assert.deepEqual([page.box.value, page.triggered], ['a ____ b', []]);
  assert.equal(page.write('moon'), '');
  assert.deepEqual([page.props.value.pin, page.triggered], [{text: 'moon'}, [['input', undefined]]]);
});

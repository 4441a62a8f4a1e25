// Keys that belong to an input method: while a word of Japanese, Chinese or Korean is being composed, Enter takes what is
// proposed and the arrows choose among proposals. None of them is meant for the page.

// Safari ends the composition before it tells of the Enter that ended it, and tells of it with keyCode 229. A keypress
// says nothing by that number: there it is the character å.
function isComposing(event) {
  return event.isComposing || (event.type !== 'keypress' && event.keyCode === 229);
}

// Stands before every other listener of `target`'s tree, gradio's own among them. The field itself still takes the key.
function keepCompositionFromListeners(target) {
  for (const type of ['keydown', 'keypress', 'keyup']) {
    target.addEventListener(type, event => { if (isComposing(event)) event.stopImmediatePropagation(); }, true);
  }
}

keepCompositionFromListeners(window);

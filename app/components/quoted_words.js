// Puts a sentence of the page into an element. What it quotes in “ ” are words of the model or of the visitor: a browser
// that translates the page leaves them as they are, and the direction of their script is their own.
function sayQuoting(node, sentence) {
  if (node.textContent === sentence) return;
  node.replaceChildren(...sentence.split(/(?<=“)([^”]*)(?=”)/).map((part, i) => {
    if (i % 2 === 0) return document.createTextNode(part);
    const words = Object.assign(document.createElement('bdi'), {textContent: part});
    words.translate = false;
    return words;
  }));
}

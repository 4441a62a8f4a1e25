/* global sayQuoting */
const card = element.querySelector('.card');

function rows(table, pairs) {
  table.hidden = !pairs.length;
  table.querySelector('tbody').replaceChildren(...pairs.map(pair => {
    const row = document.createElement('tr');
    row.append(...pair.map(text => Object.assign(document.createElement('td'), {textContent: text})));
    return row;
  }));
}

function draw() {
  const v = props.value;
  card.hidden = !v;
  if (!v) return;
  card.querySelector('.title').textContent = v.title;
  sayQuoting(card.querySelector('.about'), v.about);
  rows(card.querySelector('.read'), v.read);
  rows(card.querySelector('.near'), v.near);
}

watch('value', () => {
  draw();
  if (!props.value) return;
  card.querySelector('.title').focus({preventScroll: true});
});
draw();

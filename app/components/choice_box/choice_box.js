const select = element.querySelector('select');

function draw() {
  select.value = props.value ?? '';
}

select.addEventListener('change', () => {
  props.value = select.value;
  trigger('select');
});
watch('value', draw);
draw();

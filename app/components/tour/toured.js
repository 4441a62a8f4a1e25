// In the head of the page: who has seen the tour, or keeps nothing, is offered none, and no room is kept for the offer.
try {
  if (localStorage.getItem('coladlm-tour') !== null) document.documentElement.classList.add('toured');
} catch {
  document.documentElement.classList.add('toured');
}

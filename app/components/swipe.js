// A finger that goes over a text from side to side moves its player: to the right forwards, to the left back, by its whole
// length over the width of the text. Up and down it scrolls as ever, which `touch-action: pan-y` of the surface leaves to
// the browser, and a tap stays a tap.

const SWIPE_LEAST = 12;  // px

function isSideways(from, to) {
  const across = Math.abs(to.clientX - from.clientX);
  return across >= SWIPE_LEAST && across > Math.abs(to.clientY - from.clientY);
}

// A slider of a player, under a finger. The browser moves it to where the finger comes down, before it is known whether
// that scrolls the page: here it moves when the finger has gone sideways, or at the end of a tap.
function heldUntilSideways(slider) {
  let from = null;      // where the finger came down, until it is known what it does
  slider.addEventListener('pointerdown', event => {
    from = event.pointerType === 'touch' && event.isPrimary ? {clientX: event.clientX, clientY: event.clientY, value: slider.value, wanted: slider.value} : null;
  });
  // before those who hear of the slider itself
  slider.parentElement.addEventListener('input', event => {
    if (!from || event.target !== slider) return;
    event.stopPropagation();
    from.wanted = slider.value;
    slider.value = from.value;
  }, true);
  const move = () => {
    const {wanted, value} = from;
    from = null;
    if (wanted === value) return;
    slider.value = wanted;
    slider.dispatchEvent(new Event('input', {bubbles: true}));
  };
  slider.addEventListener('pointermove', event => {
    if (from && event.isPrimary && isSideways(from, event)) move();
  });
  slider.addEventListener('pointerup', () => { if (from) move(); });
  slider.addEventListener('pointercancel', () => { from = null; });
}

// A row of cells of which a pointer seeks one: a mouse at once, a finger as it does with a slider. seek(event): where it is.
function soughtByPointer(cells, seek) {
  let from = null;
  cells.addEventListener('pointerdown', event => {
    from = event.pointerType === 'touch' ? {clientX: event.clientX, clientY: event.clientY} : null;
    if (from) return;
    cells.setPointerCapture(event.pointerId);
    seek(event);
  });
  cells.addEventListener('pointermove', event => {
    if (from && isSideways(from, event)) from = null;
    if (event.buttons && !from) seek(event);
  });
  cells.addEventListener('pointerup', event => {
    if (from) seek(event);
    from = null;
  });
  cells.addEventListener('pointercancel', () => { from = null; });
}

// player: {at, length, go(at)}.
function movedBySwipe(surface, player) {
  let from = null;
  surface.addEventListener('pointerdown', event => {
    const counts = event.pointerType === 'touch' && event.isPrimary && player.length > 0;
    from = counts ? {x: event.clientX, at: player.at, moving: false} : null;
  });
  surface.addEventListener('pointermove', event => {
    if (!from || !event.isPrimary) return;
    const across = event.clientX - from.x;
    from.moving ||= Math.abs(across) >= SWIPE_LEAST;
    if (!from.moving) return;
    const to = Math.round(from.at + across / (surface.clientWidth || 1) * player.length);
    player.go(Math.min(player.length, Math.max(0, to)));
  });
  for (const end of ['pointerup', 'pointercancel']) surface.addEventListener(end, () => { from = null; });
}

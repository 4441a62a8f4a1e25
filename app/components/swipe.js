// A finger that goes over a text from side to side moves its player: to the right forwards, to the left back, by its whole
// length over the width of the text. Up and down it scrolls as ever, which `touch-action: pan-y` of the surface leaves to
// the browser, and a tap stays a tap.

const SWIPE_LEAST = 12;  // px

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

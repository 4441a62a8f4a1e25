// Which of the names on the map of a run have room, and where: first those of the words on their way, then those of the
// block before, then those of the cloud. None covers another; one that has no room is left out, its dot stays.
const [HEAD_SIZE, BEFORE_SIZE, CLOUD_SIZE] = [14, 12.5, 12];   // px

// Where a name may stand around its dot: above it first, as far to the side as the edges of the map ask for.
function placesAround({x, y}, {half, high}, width) {
  const line = 2 * high + 0.5, above = -13, below = 15;
  const rows = [above, below, above - line, below + line].map(dy => [0, 1, -1].map(side => ({x: x + side * half, y: y + dy})));
  const beside = [1, -1].map(side => ({x: x + side * (half + 5), y}));
  const order = [rows[0][0], rows[1][0], ...beside, ...rows.flat()];
  return order.map(at => ({x: Math.min(width - half, Math.max(half, at.x)), y: at.y, half, high}));
}

// room: a LabelRoom of the map. heads: {x, y, word, bold, key}, `bold` those on their way. cloud: [word, x, y]. last: where
// a head stood around its dot in the picture before, by key; it is to stay there while it can. Answers {heads: [head, x,
// y], cloud: [word, x, y]}, and notes in `last` where the heads stand now.
function placedNames(room, heads, cloud, last = new Map()) {
  const found = {heads: [], cloud: []}, before = new Map(last);
  last.clear();
  for (const head of [...heads.filter(one => one.bold), ...heads.filter(one => !one.bold)]) {
    const places = placesAround(head, room.measure(head.word, head.bold ? HEAD_SIZE : BEFORE_SIZE, head.bold ? 700 : 400), room.width);
    const kept = before.get(head.key) ?? 0;
    const at = room.take([places[kept], ...places]), index = at > 0 ? at - 1 : kept;
    if (at < 0) continue;
    last.set(head.key, index);
    found.heads.push([head, places[index].x, places[index].y]);
  }
  for (const [word, x, y] of cloud) {
    if (room.take([{x, y, ...room.measure(word, CLOUD_SIZE)}]) === 0) found.cloud.push([word, x, y]);
  }
  return found;
}

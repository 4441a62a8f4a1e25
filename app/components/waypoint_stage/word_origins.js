// Which of two texts a word comes from, and where a waypoint lies between them.

const WORDS = new Intl.Segmenter(undefined, {granularity: 'word'});

// A text in pieces: [text, is it a word].
function piecesOf(text) {
  return Array.from(WORDS.segment(text), piece => [piece.segment, Boolean(piece.isWordLike)]);
}

const plain = word => word.normalize('NFKC').toLowerCase();

function wordsOf(text) {
  return new Set(piecesOf(text).filter(([, word]) => word).map(([piece]) => plain(piece)));
}

// A text in pieces with where each comes from: 'first', 'second', 'both', 'own' for neither; '' for what is no word.
function originsOf(text, first, second) {
  const [inFirst, inSecond] = [wordsOf(first), wordsOf(second)];
  return piecesOf(text).map(([piece, word]) => {
    if (!word) return [piece, ''];
    const [a, b] = [inFirst.has(plain(piece)), inSecond.has(plain(piece))];
    return [piece, a && b ? 'both' : a ? 'first' : b ? 'second' : 'own'];
  });
}

// How far a waypoint has come from the first text to the second, 0 to 1, by its distances to both.
function shareOf([first, second]) {
  return first + second > 0 ? first / (first + second) : 0;
}

// The point of the plane that has these distances to (0, 0) and to (apart, 0), or the nearest to that: x is along the
// line between the texts, y off it.
function pointOf([first, second], apart) {
  if (!(apart > 0)) return [0, first];
  const x = (first * first + apart * apart - second * second) / (2 * apart);
  return [x, Math.sqrt(Math.max(0, first * first - x * x))];
}

// Which waypoints read as the one before them does.
function repeatsOf(waypoints) {
  return waypoints.map((waypoint, i) => i > 0 && Boolean(waypoint.text) && waypoint.text === waypoints[i - 1].text);
}

// The error of the flow at a waypoint as a multiple of that at the two texts it lies between; null where it is not known.
function misfitRatio(waypoints, at) {
  const {misfit, leg} = waypoints[at];
  const [first, second] = leg.map(text => waypoints.find(waypoint => waypoint.end === text)?.misfit ?? null);
  if (misfit === null || first === null || second === null || !(first + second > 0)) return null;
  return misfit / ((first + second) / 2);
}

// The places of the waypoints between two texts, those at the texts counted.
function placesOn(leg, waypoints) {
  return waypoints.flatMap(({leg: own, end}, i) => own.join() === leg.join() || (end !== null && leg.includes(end)) ? [i] : []);
}

// Lets a text be scrolled by keys where it is longer than its place.
function scrolledByKeys(text) {
  if (text.scrollHeight > text.clientHeight) text.tabIndex = 0;
  else text.removeAttribute('tabindex');
}

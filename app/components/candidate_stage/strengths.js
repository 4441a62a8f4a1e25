// What a stage of candidates says of their texts: each by itself, and all along the strip of strengths.

const CHANGED = 1;     // the flag of a new piece

// The rows of each place of the strip, in the order in which they stand.
function rowsByPlace(rows, places) {
  return Array.from({length: Math.max(1, places)}, (_, place) => rows.filter(row => row.place === place));
}

// For each place: how many places from here on have the same first text; 0 where it is that of the place before.
function joined(texts) {
  const runs = texts.map(() => 0);
  let first = 0;
  texts.forEach((text, i) => {
    if (i === 0 || !text || text !== texts[i - 1]) first = i;
    runs[first] += 1;
  });
  return runs;
}

// Where the thumb begins: the least strength from 0 upwards whose text is another than before, else the greatest one.
function firstPlace(strengths, changed) {
  const upwards = strengths.map(([value], place) => [value, place]).filter(([value]) => value >= 0).sort(([a], [b]) => a - b);
  const found = upwards.find(([, place]) => changed[place] > 0) ?? upwards.at(-1);
  return found ? found[1] : Math.max(0, strengths.length - 1);
}

// What stands in the span of a row, also while it forms: of the tokens under way those that do not stay.
function wordsOf(row) {
  if (row.final) return row.words;
  return partsOf(row).filter(part => part.of).map(part => part.text).join('').trim();
}

// A text in parts: {text, of: 'changed' for what is new in a finished one, 'settled' and 'live' for tokens of one under way,
// '' for what stays, confidence: of a token}.
function partsOf(row) {
  if (row.final) return row.final.map(([text, flags]) => ({text, of: flags & CHANGED ? 'changed' : ''}));
  const settled = row.settled.split('\n').filter(Boolean).flatMap(line => JSON.parse(line));
  const token = of => ([text, confidence, special]) => confidence < 0 || special ? {text: special ? '' : text, of: ''} : {text, of, confidence};
  return [{text: row.lead, of: ''}, ...settled.map(token('settled')), ...row.live.map(token('live')), {text: row.tail, of: ''}];
}

// The same parts with no more than so many characters of what stays before the first that is new and after the last.
function briefly(parts, around) {
  const first = parts.findIndex(part => part.of), last = parts.findLastIndex(part => part.of);
  if (first < 0) return [{text: 'as it was', of: 'same'}];
  const text = some => some.map(part => part.text).join('');
  const before = text(parts.slice(0, first)), after = text(parts.slice(last + 1));
  const head = before.length > around + 2 ? '… ' + before.slice(-around).replace(/^\S*\s+/, '') : before;
  const tail = after.length > around + 2 ? after.slice(0, around).replace(/\s+\S*$/, '') + ' …' : after;
  return [{text: head, of: ''}, ...parts.slice(first, last + 1), {text: tail, of: ''}];
}

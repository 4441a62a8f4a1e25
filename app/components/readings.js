// How words and numbers of a run read on a map and in what stands beside it.

// A word, where spaces cannot be seen.
function label(word) {
  const trimmed = word.trim();
  if (trimmed) return trimmed;
  if (word.includes('\n')) return '⏎';
  return word ? '␣' : '∅';
}

function percent(share) { return Math.round(share * 100) + ' %'; }

function decimals(value) { return value.toFixed(value < 10 ? 1 : 0); }

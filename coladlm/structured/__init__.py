"""Tasks with strict rules for a pair of tiny models: symbols, generators by seed, validators. Knows no network."""

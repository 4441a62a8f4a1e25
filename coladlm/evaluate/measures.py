"""Measures of texts as pure functions: variety, repetition, copying, length. Nothing here knows of a model.

All of them count in units (`units`): words and punctuation marks in small letters, so that no tokenizer decides and a
string of dots counts as the repetition that it is. An n-gram is n neighbouring units of one text, never across two.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

UNIT = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")
SENTENCE_ENDS = (".", "!", "?")
CLOSING = "\"'”’)"


def units(text: str) -> list[str]:
    """Words (with the apostrophes inside them) and punctuation marks, in small letters, in order."""
    return UNIT.findall(text.lower())


def ngrams(items: Sequence[str], n: int) -> list[tuple[str, ...]]:
    """Every run of n neighbouring items, in order; none where there are fewer than n."""
    return [tuple(items[i : i + n]) for i in range(len(items) - n + 1)]


def distinct_share(texts: Iterable[str], n: int = 2, limit: int | None = None) -> float | None:
    """Different n-grams over all n-grams of the texts together (distinct-n, Li et al. 2016, arXiv:1510.03055).

    It falls as texts get more, since there are only so many n-grams: compare counts of one size. limit: how many
    n-grams to look at, the first of them. None where there is no n-gram.
    """
    grams = list(itertools.islice(itertools.chain.from_iterable(ngrams(units(text), n) for text in texts), limit))
    return len(set(grams)) / len(grams) if grams else None


def count_ngrams(texts: Iterable[str], n: int) -> int:
    """How many n-grams the texts have together."""
    return sum(max(0, len(units(text)) - n + 1) for text in texts)


def repeated_share(texts: Iterable[str], n: int = 4) -> float | None:
    """Share of n-grams that came before in the same text, over all texts together. None where there is no n-gram."""
    repeated = total = 0
    for text in texts:
        grams = ngrams(units(text), n)
        total += len(grams)
        repeated += len(grams) - len(set(grams))
    return repeated / total if total else None


def complete_share(texts: Sequence[str]) -> float | None:
    """Share of texts whose last mark ends a sentence (. ! ?, with a closing quote or bracket after it or not)."""
    ended = [text.rstrip().rstrip(CLOSING).endswith(SENTENCE_ENDS) for text in texts]
    return sum(ended) / len(ended) if ended else None


class NgramSet:
    """The n-grams of a corpus as sorted 64-bit hashes: 8 bytes each, and the same on every machine.

    Two of a few million n-grams share a hash with probability 1e-6, so a text is found in the corpus only if it is.
    """

    def __init__(self, texts: Iterable[str], n: int = 8):
        self.n = n
        self.vocabulary: dict[str, int] = {}
        hashes = [self._hashes([self.vocabulary.setdefault(unit, len(self.vocabulary)) for unit in units(text)])
                  for text in texts]  # fmt: skip
        self.hashes = np.unique(np.concatenate(hashes)) if hashes else np.empty(0, np.uint64)

    def __len__(self) -> int:
        return len(self.hashes)

    def copied_share(self, texts: Iterable[str]) -> float | None:
        """Share of the texts' n-grams that the corpus has, over all texts together. None where there is no n-gram."""
        copied = total = 0
        for text in texts:
            found = self.contains(text)
            copied, total = copied + int(found.sum()), total + len(found)
        return copied / total if total else None

    def contains(self, text: str) -> NDArray[np.bool_]:
        """For each n-gram of the text whether the corpus has it."""
        unknown = len(self.vocabulary)  # a unit that the corpus lacks gets a number that none of its n-grams has
        hashes = self._hashes([self.vocabulary.get(unit, unknown) for unit in units(text)])
        if not len(self.hashes):
            return np.zeros(len(hashes), np.bool_)
        places = np.searchsorted(self.hashes, hashes).clip(max=len(self.hashes) - 1)
        return self.hashes[places] == hashes

    def _hashes(self, numbers: list[int]) -> NDArray[np.uint64]:
        """The hashes of all n-grams of numbered units: each unit is mixed into what came before (splitmix64)."""
        count = max(0, len(numbers) - self.n + 1)
        units, hashes = np.array(numbers, np.uint64), np.zeros(count, np.uint64)
        for i in range(self.n if count else 0):
            hashes = _mixed(hashes + np.uint64(0x9E3779B97F4A7C15) + units[i : i + count])
        return hashes


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """splitmix64's finaliser (Steele et al. 2014), a bijection of 64 bits; arithmetic wraps."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))

"""The first number of many numpy generators at once.

numpy makes a `Generator(Philox(SeedSequence(key)))` in some ten microseconds, most of which is Python. Where a batch
needs one number from each of hundreds, the same arithmetic on arrays is many times faster. SeedSequence is O'Neill's
`seed_seq_fe` (pcg-random.org, "Developing a seed_seq Alternative", 2015); Philox is Salmon et al. 2011 ("Parallel
Random Numbers: As Easy as 1, 2, 3"). Both are frozen in numpy (NEP 19), and tests compare with it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Words: TypeAlias = NDArray[np.uint32]
Wide: TypeAlias = NDArray[np.uint64]

# SeedSequence
POOL = 4  # words
INIT_A, MULTIPLIER_A = 0x43B0D7E5, 0x931E8875
INIT_B, MULTIPLIER_B = 0x8B51F9DD, 0x58F38DED
MIX_LEFT, MIX_RIGHT = 0xCA01F9DD, 0x4973F715
SHIFT = np.uint32(16)
WORD = 0xFFFFFFFF

# Philox 4x64, ten rounds
ROUNDS = 10
FACTORS = 0xD2E7470EE14C6C93, 0xCA5A826395121157
WEYL = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBB67AE8584CAA73B)
HALF, LOW = np.uint64(32), np.uint64(WORD)


def first_doubles(keys: Sequence[tuple[int, ...]]) -> NDArray[np.float64]:
    """`Generator(Philox(SeedSequence(key))).random()` of each key, (keys,). Keys are tuples of integers from 0."""
    words = [[word for number in key for word in _words(number)] for key in keys]
    found = np.empty(len(keys))
    for length in {len(entropy) for entropy in words}:  # keys of equal length are seeded together
        places = [place for place, entropy in enumerate(words) if len(entropy) == length]
        pool = _mixed(np.array([words[place] for place in places], dtype=np.uint32).T)
        found[places] = _first_double(*_state(pool))
    return found


def _words(number: int) -> Iterator[int]:
    """The number in words of 32 bits, the lowest first."""
    yield number & WORD
    while number := number >> 32:
        yield number & WORD


class _Hash:
    """A hash of words whose constant changes with every use."""

    def __init__(self, constant: int, multiplier: int) -> None:
        self.constant, self.multiplier = constant, multiplier

    def __call__(self, words: Words) -> Words:
        words = words ^ np.uint32(self.constant)
        self.constant = self.constant * self.multiplier & WORD
        words *= np.uint32(self.constant)
        return words ^ (words >> SHIFT)


def _mixed(entropy: Words) -> list[Words]:
    """Entropy (words, keys) -> the pool of a SeedSequence: POOL arrays of one word for each key."""
    hashed = _Hash(INIT_A, MULTIPLIER_A)

    def mixed(one: Words, other: Words) -> Words:
        words = np.uint32(MIX_LEFT) * one - np.uint32(MIX_RIGHT) * other
        return words ^ (words >> SHIFT)

    none = np.zeros_like(entropy[0])
    pool = [hashed(entropy[i] if i < len(entropy) else none) for i in range(POOL)]
    for source, place in itertools.permutations(range(POOL), 2):
        pool[place] = mixed(pool[place], hashed(pool[source]))
    for words in entropy[POOL:]:
        for place in range(POOL):
            pool[place] = mixed(pool[place], hashed(words))
    return pool


def _state(pool: list[Words]) -> tuple[Wide, Wide]:
    """The key of Philox that a SeedSequence with this pool gives: two words of 64 bits for each key."""
    hashed = _Hash(INIT_B, MULTIPLIER_B)
    a, b, c, d = (hashed(words).astype(np.uint64) for words in pool)
    return a | b << HALF, c | d << HALF


def _first_double(key: Wide, other: Wide) -> NDArray[np.float64]:
    """The first number in [0, 1) of Philox with these keys: 53 bits of the first word of its first block."""
    zero = np.zeros_like(key)
    a, b, c, d = zero + np.uint64(1), zero, zero, zero  # numpy counts before it draws
    for _ in range(ROUNDS):
        (high_a, low_a), (high_c, low_c) = _product(FACTORS[0], a), _product(FACTORS[1], c)
        a, b, c, d = high_c ^ b ^ key, low_c, high_a ^ d ^ other, low_a
        key, other = key + WEYL[0], other + WEYL[1]
    return (a >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _product(factor: int, words: Wide) -> tuple[Wide, Wide]:
    """The 128 bits of a product of 64 by 64, as its high and its low word."""
    high, low = np.uint64(factor >> 32), np.uint64(factor & WORD)
    words_high, words_low = words >> HALF, words & LOW
    lowest = low * words_low
    first = high * words_low + (lowest >> HALF)
    second = low * words_high + (first & LOW)
    return high * words_high + (first >> HALF) + (second >> HALF), np.uint64(factor) * words

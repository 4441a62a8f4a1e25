"""Randomness as an argument: every number drawn in a run depends on its key alone.

A key is (seed, purpose, sequence, block, ...); Philox is counter-based, so streams of different keys are independent
and the same on every machine. Nothing here touches a global seed, and what other sequences of a batch draw changes
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .philox import first_doubles

NOISE, STEP, TOKEN, FIT, OTHER = 0, 1, 2, 4, 5  # purposes in keys; FIT stays 4, so that old seeds keep their meaning

SequenceKey = tuple[int, int, int]  # seed, sequence, block


def _generator(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))


def block_noise(seed: int, sequence: int, block: int, shape: tuple[int, int]) -> Tensor:
    """Standard normal noise (b, d) that a block starts from, float32 on the CPU."""
    return torch.from_numpy(_generator(seed, NOISE, sequence, block).standard_normal(shape, dtype=np.float32))


def other_noise(seed: int, sequence: int, block: int, number: int, shape: tuple[int, int]) -> Tensor:
    """The noise (b, d) of this number, from 1 on, that a block may start from in place of its `block_noise`."""
    return torch.from_numpy(_generator(seed, OTHER, sequence, block, number).standard_normal(shape, dtype=np.float32))


def step_noise(seed: int, sequence: int, block: int, step: int, shape: tuple[int, int]) -> Tensor:
    """Fresh standard normal noise (b, d) of a stochastic step, float32 on the CPU."""
    return torch.from_numpy(_generator(seed, STEP, sequence, block, step).standard_normal(shape, dtype=np.float32))


def token_uniforms(keys: Sequence[SequenceKey], positions: int) -> Tensor:
    """One number in [0, 1] for the token choice at each position of a block of each sequence, (keys, positions),
    float32 on the CPU. keys: seed, sequence and block of each. Each position has a generator of its own, so that a
    number does not depend on the size of the block.
    """
    numbers = first_doubles([(seed, TOKEN, sequence, block, p) for seed, sequence, block in keys
                             for p in range(positions)])  # fmt: skip
    return torch.from_numpy(numbers.astype(np.float32)).view(len(keys), positions)


def fit_noise(seed: int, index: int, block: int, shape: tuple[int, int]) -> Tensor:
    """Noise (b, d) at the `index`-th time at which a text's fit is measured, the same for all texts; float32, CPU."""
    return torch.from_numpy(_generator(seed, FIT, index, block).standard_normal(shape, dtype=np.float32))

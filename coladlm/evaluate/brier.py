"""BrierLM (Shao et al. 2025, arXiv:2510.27688): how well the samples of a text model forecast real text.

The Brier score of a distribution P for the outcome y is 2 P(y) - sum over x of P(x)^2: at most 1, and on average
highest for the law that y is drawn from, so it rewards neither certainty nor variety alone. Two independent samples x
and x' give it without any probability being known, as 1[x = y] + 1[x' = y] - 1[x = x']. Brier-n takes the next n tokens
as one outcome, and BrierLM is 100 times the geometric mean of Brier-1 to Brier-4. Knows no network.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

ORDERS = 4
DECIMALS = 12  # of a mean: the estimates are shares of pairs of samples, whose sum may miss 0 by a rounding error


def brier_scores(samples: Sequence[Sequence[int]], truth: Sequence[int]) -> list[float]:
    """Unbiased estimates of Brier-1 to Brier-4 for one context, from two or more independent samples.

    samples: token ids that go on after the context; what ends before n tokens is another outcome than any that does
    not. truth: the real ones, of at least four tokens. All pairs of samples count. Raises ValueError.
    """
    if len(samples) < 2 or len(truth) < ORDERS:
        raise ValueError(f"there are {len(samples)} samples and {len(truth)} tokens, expected 2 and {ORDERS} or more")
    found = []
    for n in range(1, ORDERS + 1):
        outcomes, wanted = [tuple(sample[:n]) for sample in samples], tuple(truth[:n])
        right = sum(outcome == wanted for outcome in outcomes) / len(outcomes)
        pairs = list(itertools.combinations(outcomes, 2))
        found.append(2 * right - sum(a == b for a, b in pairs) / len(pairs))
    return found


def brier_means(scores: np.ndarray) -> np.ndarray:
    """Brier-1 to Brier-4 on average over contexts (..., contexts, n) -> (..., n)."""
    return scores.mean(-2).round(DECIMALS)


def brier_lm(scores: np.ndarray) -> np.ndarray:
    """BrierLM of contexts (..., contexts, 4): 0 where one of the four is not above 0 on average."""
    return 100.0 * np.maximum(brier_means(scores), 0.0).prod(-1) ** (1 / ORDERS)

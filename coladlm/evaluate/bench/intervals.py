"""Confidence intervals by the bootstrap: the items of a bench are drawn again, with replacement, many times."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95


@dataclasses.dataclass(frozen=True)
class Interval:
    """A figure, the ends of its 95 % interval, and how many items it rests on. Ends are equal to it for one item."""

    value: float
    low: float
    high: float
    count: int


def mean_interval(values: Sequence[float], seed: int = 0) -> Interval:
    """The mean of one value an item and its percentile bootstrap interval. Raises ValueError for none or not finite."""
    return interval(np.asarray(values, np.float64)[:, None], lambda drawn: drawn[..., 0].mean(-1), seed)


def ratio_interval(numerators: Sequence[float], denominators: Sequence[float], seed: int = 0) -> Interval:
    """Sum over sum, as in nats a token over texts of different length. Raises ValueError as `mean_interval`."""
    items = np.stack([np.asarray(numerators, np.float64), np.asarray(denominators, np.float64)], 1)
    return interval(items, lambda drawn: drawn[..., 0].sum(-1) / drawn[..., 1].sum(-1), seed)


def share_interval(hits: Sequence[bool], whole: float = 1.0, seed: int = 0) -> Interval:
    """The share of items that hit, of `whole`, and its bootstrap interval.

    A bootstrap of items that all agree has no width; there the interval is the exact one (Clopper and Pearson 1934).
    Raises ValueError for no items.
    """
    return mean_share_interval([whole * hit for hit in hits], whole, seed)


def mean_share_interval(shares: Sequence[float], whole: float = 1.0, seed: int = 0) -> Interval:
    """The mean of shares, each from 0 to `whole`. Raises ValueError as `mean_interval`. See `exact_at_the_ends`."""
    return exact_at_the_ends(mean_interval(shares, seed), whole)


def exact_at_the_ends(found: Interval, whole: float = 1.0) -> Interval:
    """The exact interval in place of one without width, where all items have 0 or all have `whole`.

    It is that of the share of items that do not have it, so it is wide enough for any figure from 0 to `whole`.
    """
    if found.low < found.high or found.value not in (0.0, whole):
        return found
    edge = ((1 - LEVEL) / 2) ** (1 / found.count)  # so likely is it to see n of n alike, at the end of the interval
    ends = {"low": whole * edge} if found.value else {"high": whole * (1 - edge)}
    return dataclasses.replace(found, **ends)


def mean_of_means_interval(groups: Sequence[Sequence[float]], seed: int = 0) -> Interval:
    """The mean of the means of several groups, each of which is drawn again by itself. Raises as `mean_interval`."""
    random = np.random.default_rng(seed)
    draws, means = np.zeros(RESAMPLES), []
    for group in groups:
        values = np.asarray(group, np.float64)
        means.append(mean_interval(group).value)
        n = len(values)
        draws += np.concatenate([values[random.integers(n, size=(100, n))].mean(1) for _ in range(RESAMPLES // 100)])
    if not means:
        raise ValueError("there are no groups, expected at least one")
    low, high = np.quantile(draws / len(means), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(np.mean(means)), float(low), float(high), sum(len(group) for group in groups))


def interval(items: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], seed: int = 0) -> Interval:
    """A percentile bootstrap interval (Efron 1979) of any statistic.

    items: (n, k), a row for each item. statistic: (..., n, k) -> (...), the figure of those rows. seed: of the draws,
    so that the same items give the same interval. Raises ValueError for no items or for numbers that are not finite.
    """
    if items.ndim != 2 or not len(items) or not np.isfinite(items).all():
        raise ValueError(f"the items have shape {items.shape}, expected (n, k) of finite numbers with n at least 1")
    n = len(items)
    random = np.random.default_rng(seed)
    drawn = np.concatenate([statistic(items[random.integers(n, size=(100, n))]) for _ in range(RESAMPLES // 100)])
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(statistic(items)), float(low), float(high), n)


def jackknife_interval(items: Sequence[Any], statistic: Callable[[Sequence[Any]], float],
                       least: float = -np.inf, most: float = np.inf) -> Interval:  # fmt: skip
    """An interval of a figure that counts what items have in common, such as their distinct n-grams.

    The bootstrap draws items twice, which such a figure takes for repetition; the jackknife (Tukey 1958) leaves each
    out once. least, most: between which the figure lies, and so its interval. Raises ValueError for no items.
    """
    n = len(items)
    if not n:
        raise ValueError("there are no items, expected at least one")
    value = float(statistic(items))
    if n == 1:
        return Interval(value, value, value, 1)
    left_out = np.array([statistic([*items[:i], *items[i + 1 :]]) for i in range(n)])
    half = 1.96 * float(np.sqrt((n - 1) / n * np.square(left_out - left_out.mean()).sum()))
    return Interval(value, max(least, value - half), min(most, value + half), n)

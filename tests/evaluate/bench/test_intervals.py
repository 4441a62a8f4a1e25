"""Intervals of shares and of means over groups; the other intervals are in test_results.py."""

import numpy as np
import pytest

from coladlm.evaluate.bench.intervals import (
    Interval,
    jackknife_interval,
    mean_interval,
    mean_of_means_interval,
    mean_share_interval,
    share_interval,
)


def test_a_share_has_the_bootstraps_interval():
    hits = [True] * 30 + [False] * 70
    assert share_interval(hits) == mean_interval([float(hit) for hit in hits])
    assert share_interval(hits, 100.0).value == 30 and share_interval(hits, 100.0).low == 100 * share_interval(hits).low


@pytest.mark.parametrize("count", [1, 4, 100])
def test_items_that_all_agree_have_an_exact_interval(count):
    """Where the share is at its end, so many items alike come with a probability of 2.5 %."""
    none, every = share_interval([False] * count), share_interval([True] * count)
    assert (none.value, none.low, every.value, every.high) == (0, 0, 1, 1)
    assert (1 - none.high) ** count == pytest.approx(0.025) == pytest.approx(every.low**count)


def test_shares_have_the_bootstraps_interval_but_at_the_ends():
    assert mean_share_interval([0.2, 0.2]) == Interval(0.2, 0.2, 0.2, 2)  # nothing is known of such an interval
    assert mean_share_interval([0.0, 1.0, 0.5]) == mean_interval([0.0, 1.0, 0.5])
    assert mean_share_interval([0.0] * 12).high == share_interval([False] * 12).high == pytest.approx(0.2646, abs=1e-4)
    assert mean_share_interval([100.0] * 12, 100.0).low == pytest.approx(73.54, abs=1e-2)


def test_the_jackknife_of_a_share_stays_within_it():
    texts = [["a", "b"], ["c", "d"], ["a", "b"], ["e", "f"]]

    def distinct(some):
        words = [word for text in some for word in text]
        return len(set(words)) / len(words)

    free, held = jackknife_interval(texts, distinct), jackknife_interval(texts, distinct, 0.0, 1.0)
    assert free.high > 1 == held.high and free.low == held.low and free.value == held.value == 0.75


def test_the_mean_of_means_weighs_groups_alike_and_has_the_error_of_the_normal_law():
    random = np.random.default_rng(3)
    groups = [random.normal(1, 2, 4000), random.normal(5, 1, 500)]
    found = mean_of_means_interval(groups)
    error = sum(group.var() / len(group) for group in groups) ** 0.5 / 2
    assert found.value == pytest.approx((groups[0].mean() + groups[1].mean()) / 2) and found.count == 4500
    # 2,000 resamples give an end of the interval to about 0.06 standard errors
    assert found.low == pytest.approx(found.value - 1.96 * error, abs=0.25 * error)
    assert found.high == pytest.approx(found.value + 1.96 * error, abs=0.25 * error)


def test_the_mean_of_a_single_group_is_its_mean():
    assert mean_of_means_interval([[2.0]]) == Interval(2, 2, 2, 1)


@pytest.mark.parametrize("groups", [[], [[]], [[1.0], []]])
def test_a_mean_of_nothing_is_refused(groups):
    with pytest.raises(ValueError, match="expected"):
        mean_of_means_interval(groups)

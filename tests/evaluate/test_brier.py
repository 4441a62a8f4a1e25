"""BrierLM from samples against the Brier score of known distributions."""

import itertools

import numpy as np
import pytest

from coladlm.evaluate.brier import brier_lm, brier_means, brier_scores


def test_the_estimate_is_unbiased():
    """Over all pairs of samples, each as often as its law has it, the estimate is 2 P(y) - sum of P^2, exactly."""
    law = {(1, 1, 1, 1): 0.5, (1, 2, 1, 1): 0.3, (2, 1, 1, 1): 0.2}
    for truth in [*law, (3, 3, 3, 3)]:
        found = np.zeros(4)
        for (a, p), (b, q) in itertools.product(law.items(), repeat=2):
            found += p * q * np.array(brier_scores([a, b], truth))
        for n in range(1, 5):
            marginal: dict[tuple[int, ...], float] = {}
            for outcome, p in law.items():
                marginal[outcome[:n]] = marginal.get(outcome[:n], 0.0) + p
            assert found[n - 1] == pytest.approx(2 * marginal.get(truth[:n], 0) - sum(p**2 for p in marginal.values()))


def test_more_samples_count_in_all_their_pairs():
    samples = [[1, 2, 3, 4], [1, 2, 3, 9], [5, 6, 7, 8]]
    # right: 2 of 3, and 1 of 3 pairs alike, for one to three tokens
    assert brier_scores(samples, [1, 2, 3, 4]) == pytest.approx([4 / 3 - 1 / 3] * 3 + [2 / 3])


def test_a_sample_that_has_ended_is_another_outcome():
    assert brier_scores([[1], [1]], [1, 2, 3, 4]) == [1, -1, -1, -1]
    assert brier_scores([[1, 2], [1]], [1, 2, 3, 4]) == [1, 1, 0, 0]


def test_the_score_is_a_geometric_mean_and_nothing_where_a_part_is():
    assert brier_lm(np.ones((3, 4))) == pytest.approx(100)
    assert brier_lm(np.array([[0.4, 0.2, 0.2, 0.1], [0.4, 0.2, 0.0, 0.1]])) == pytest.approx(
        100 * (0.4 * 0.2 * 0.1 * 0.1) ** 0.25
    )
    assert brier_lm(np.array([[0.4, 0.2, 0.2, -0.1]])) == 0
    assert brier_lm(np.ones((7, 3, 4))).shape == (7,)


def test_a_part_that_is_0_but_for_rounding_is_0():
    scores = np.array([[0.4, 0.3, 0.3, part] for part in (0.1, 0.2, -0.3)])
    assert 0 < scores.mean(0)[3] < 1e-15
    assert brier_means(scores)[3] == brier_lm(scores) == 0


@pytest.mark.parametrize(("samples", "truth"), [([[1]], [1, 2, 3, 4]), ([[1], [2]], [1, 2, 3])])
def test_too_little_is_refused(samples, truth):
    with pytest.raises(ValueError, match="expected 2 and 4 or more"):
        brier_scores(samples, truth)

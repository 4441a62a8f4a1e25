"""Of many candidates those become waypoints that go one way, are likely, and stand evenly."""

import itertools

import pytest

from coladlm.latent.chain import chain

NAN = float("nan")


def line(*shares: float) -> list[tuple[float, float]]:
    """Candidates on the straight line between two texts that are 1 apart."""
    return [(share, 1 - share) for share in shares]


def test_waypoints_go_from_the_first_text_to_the_second():
    distances = line(0.7, 0.2, 0.9, 0.5, 0.4)
    found = chain(distances, [0.5] * 5, 1.0, 3)
    assert all(distances[a][0] < distances[b][0] for a, b in itertools.pairwise(found))


def test_of_candidates_at_one_place_the_likeliest_is_taken():
    distances = [*line(0.25, 0.5, 0.75), (0.5, 0.51), (0.51, 0.5)]
    assert chain(distances, [0.5, 0.9, 0.5, 0.4, 0.8], 1.0, 3) == [0, 3, 2]


def test_waypoints_stand_evenly_where_all_are_as_likely():
    assert chain(line(0.05, 0.1, 0.25, 0.5, 0.75, 0.95), [0.5] * 6, 1.0, 3) == [2, 3, 4]


def test_a_likely_candidate_that_would_lead_back_is_left_out():
    """What comes after it would be nearer to the first text again, what comes before it nearer to the second."""
    distances = [(0.3, 0.8), (0.8, 0.9), (0.7, 0.4)]
    assert 1 not in chain(distances, [0.5, 0.1, 0.5], 1.0, 2)


def test_a_waypoint_stays_where_there_are_too_few_candidates():
    found = chain(line(0.3, 0.6), [0.5, 0.5], 1.0, 4)
    assert found == sorted(found) and set(found) == {0, 1}


@pytest.mark.parametrize("spoilt", [(0.0, 1.0), (1.0, 0.0), (1.4, 1.5)], ids=["first text", "second text", "outside"])
def test_what_is_not_between_the_texts_is_left_out(spoilt):
    assert chain([spoilt, *line(0.5)], [0.1, 1.0], 1.0, 1) == [1]


def test_a_candidate_that_holds_nothing_is_left_out():
    assert chain(line(0.5, 0.4), [NAN, 1.0], 1.0, 1) == [1]

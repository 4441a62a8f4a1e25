"""What a word could have become: the step at which it was most open, and whole words that fit its place."""

import pytest

from app.generate.alternatives import Reading, most_open
from app.generate.inspection import ALTERNATIVES, answer_tokens, token_value
from app.generate.recorded import recorded_run

CHOSEN, OTHER, THIRD, TORN = range(4)


def reading(noise: float, **odds: float) -> Reading:
    first = {"chosen": CHOSEN, "other": OTHER, "third": THIRD, "torn": TORN}
    by_id = sorted(((first[name], p) for name, p in odds.items()), key=lambda item: -item[1])
    return Reading(noise, dict(by_id), odds.get("chosen", 0.0))


def opened(*readings: Reading, most: int = ALTERNATIVES):
    return most_open(readings, CHOSEN, {OTHER, THIRD}, most)


def test_the_least_decided_reading_is_taken():
    found = opened(reading(75, chosen=0.1, other=0.9), reading(50, chosen=0.4, other=0.5), reading(25, chosen=0.95))
    assert found.noise == 50
    assert list(found.words.items()) == [(OTHER, 0.5), (CHOSEN, 0.4)]


def test_a_reading_in_which_the_chosen_word_was_not_to_be_had_is_left_aside():
    assert opened(reading(70, other=0.5, third=0.5), reading(60, chosen=0.9, other=0.1)).noise == 60


def test_where_the_chosen_word_was_never_among_the_first_the_last_reading_of_another_one_is_taken():
    assert opened(reading(70, other=0.5, third=0.5), reading(60, other=0.98)).noise == 60


def test_torn_and_unlikely_words_are_not_offered():
    found = opened(reading(70, chosen=0.6, torn=0.3, other=0.09, third=0.009))
    assert set(found.words) == {CHOSEN, OTHER}
    assert opened(reading(70, chosen=0.6, torn=0.4)) is None
    assert opened(reading(70, chosen=0.99, other=0.009)) is None


def test_no_more_words_than_there_is_room_for_and_the_chosen_one_among_them():
    assert set(opened(reading(70, chosen=0.1, other=0.5, third=0.4), most=2).words) == {CHOSEN, OTHER}


@pytest.fixture(scope="module")
def cards(bundled, baseline) -> dict[str, dict]:
    """The cards of the recorded run's first words, and of the last ones of those that the test names."""
    trace = recorded_run(bundled).trace
    places, ids = answer_tokens(bundled, trace, 0), trace.answer(0)
    last = {bundled.read([token]).strip(): place for place, token in zip(places, ids, strict=True)}
    asked = dict.fromkeys((*places[:8], last["near"], last["forest"], last["fox"]))
    found = [token_value(bundled, trace, 0, *at, baseline.get(bundled.device).word_ends) for at in asked]
    return {card["title"]: card for card in found}


def test_words_of_the_recorded_run_could_have_become_what_fits_their_places(cards):
    read = {title: {word for word, *_ in card["read"]} for title, card in cards.items()}
    assert {"near", "in"} == read["near"]
    assert {"forest", "tree", "sea"} < read["forest"]
    assert {"fox", "little"} == read["fox"]
    for card in cards.values():
        shares = [p for _, p, *_ in card["read"]]
        assert shares == sorted(shares, reverse=True) and sum(shares) <= 1.0001
        assert [chosen for _, _, chosen, _ in card["read"]].count(1) == bool(card["read"])
        assert card["noise"] is None or 0 <= card["noise"] <= 100

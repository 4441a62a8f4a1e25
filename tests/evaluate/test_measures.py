"""Measures on constructed texts whose numbers can be counted by hand."""

import itertools

import pytest

from coladlm.evaluate.measures import (
    NgramSet,
    complete_share,
    count_ngrams,
    distinct_share,
    ngrams,
    repeated_share,
    units,
)


def test_units_are_words_and_marks_in_small_letters():
    assert units('"Don\'t go," said Tom...') == ['"', "don't", "go", ",", '"', "said", "tom", ".", ".", "."]
    assert units("Il était\nune  fois") == ["il", "était", "une", "fois"]
    assert units("  \n ") == []


def test_ngrams_are_runs_of_neighbours():
    assert ngrams(["a", "b", "c"], 2) == [("a", "b"), ("b", "c")]
    assert ngrams(["a", "b", "c"], 3) == [("a", "b", "c")]
    assert ngrams(["a", "b"], 3) == []


def test_distinct_counts_different_over_all():
    assert distinct_share(["a b a b a"], 2) == 2 / 4
    assert distinct_share(["a b c d e"], 2) == 1
    assert distinct_share(["a b", "a b", "a c"], 2) == 2 / 3


def test_distinct_never_counts_across_texts():
    assert distinct_share(["a", "b", "a", "b"], 2) is None
    assert distinct_share(["a b", "b a"], 2) == 1


def test_distinct_looks_at_no_more_than_its_limit():
    assert distinct_share(["a b c", "a b a b a b"], 2, limit=3) == 2 / 3
    assert distinct_share(["a b c", "a b a b a b"], 2, limit=2) == 1
    assert count_ngrams(["a b c", "a b a b a b", "x", ""], 2) == 7


def test_repeated_counts_what_came_before_in_the_same_text():
    assert repeated_share(["a b c d a b c d"], 4) == 1 / 5
    assert repeated_share(["a b c d", "a b c d"], 4) == 0
    assert repeated_share(["no no no no no no"], 4) == 2 / 3
    assert repeated_share(["a b c"], 4) is None
    assert repeated_share(["a b c d a b c d", "a b c d e f g h"], 4) == 1 / 10


def test_a_string_of_marks_is_a_repetition():
    assert repeated_share(["." * 10], 4) == 6 / 7


def test_a_text_is_complete_when_its_last_mark_ends_a_sentence():
    assert complete_share(["He ran.", 'She said, "Hi!"', "What?\n", "and then", "", '"No," said']) == 3 / 6
    assert complete_share([]) is None


TRAINING = ["one two three four five six seven eight nine ten", "a b c d e f g h"]


def test_copied_counts_ngrams_that_the_corpus_has():
    corpus = NgramSet(TRAINING, 8)
    assert len(corpus) == 3 + 1
    assert corpus.copied_share(["One, two"]) is None
    assert corpus.copied_share(["two three four five six seven eight nine"]) == 1
    assert corpus.copied_share(["x one two three four five six seven eight nine"]) == 2 / 3
    assert corpus.copied_share(["h g f e d c b a", "A B C D E F G H"]) == 1 / 2


def test_copied_minds_order_and_borders():
    corpus = NgramSet(TRAINING, 8)
    assert not corpus.contains("two one three four five six seven eight").any()
    assert not corpus.contains("seven eight nine ten a b c d").any()
    assert not corpus.contains("one two three four five six seven new").any()
    assert not corpus.contains("new new new new new new new new").any()


def test_copied_agrees_with_a_set_of_the_ngrams_themselves():
    words = ["a", "b", "c"]
    texts = [" ".join(row) for row in itertools.product(words, repeat=6)]
    corpus, wanted = NgramSet(texts[::7], 4), {gram for text in texts[::7] for gram in ngrams(units(text), 4)}
    assert len(corpus) == len(wanted)
    for text in texts:
        assert corpus.contains(text).tolist() == [gram in wanted for gram in ngrams(units(text), 4)]


def test_nothing_is_copied_from_an_empty_corpus():
    assert NgramSet([], 2).copied_share(["a b c"]) == 0
    assert NgramSet(["a"], 2).copied_share(["a b c"]) == 0


@pytest.mark.parametrize("n", [1, 2, 8])
def test_the_corpus_is_wholly_its_own_copy(n):
    corpus = NgramSet(TRAINING, n)
    assert corpus.copied_share(TRAINING) == 1

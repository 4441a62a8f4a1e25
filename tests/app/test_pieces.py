"""The pieces of text that tokens add: joined they must be the text."""

import pytest

from app.pieces import pieces

TEXTS = [
    "Once upon a time",
    "naïve café – “quoted” …",
    "👩‍🚀🎈 🇫🇷",
    "שלום עולם",
    "مرحبا بالعالم",
    "ไทย 日本語 한국어",
    "tab\tline\n\n  end ",
]


@pytest.mark.parametrize("text", TEXTS)
def test_joined_pieces_are_the_text(model, text):
    ids = model.tokenize(text)
    assert "".join(pieces(model.tokenizer, ids)) == text


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_cut_between_any_two_tokens_loses_no_character(model, text):
    ids = model.tokenize(text)
    for cut in range(len(ids)):
        first = pieces(model.tokenizer, ids[:cut])
        rest = pieces(model.tokenizer, ids[cut:], before=ids[:cut])
        assert "".join(first + rest) == text


def test_every_token_has_a_piece(model):
    ids = model.tokenize("é 🎈")
    assert len(pieces(model.tokenizer, ids)) == len(ids)
    assert len(ids) > 3, "the case needs characters of several tokens"


def test_a_special_token_shows_its_name(model):
    ids = [*model.tokenize("end"), model.end_ids[0], *model.tokenize("new")]
    assert "".join(pieces(model.tokenizer, ids, special=frozenset(model.end_ids))) == "end<|endoftext|>new"

"""The pieces of text that tokens add: joined they must be the text."""

import random

import pytest
import torch

from app.api.operations import decode_latents, encode_text
from app.edit.handlers import tokens_of
from app.model.round_trip import round_trip
from app.shared.token_pieces import pieces

TEXTS = [
    "Once upon a time",
    "naïve café – “quoted” …",
    "👩‍🚀🎈 🇫🇷",
    "שלום עולם",
    "مرحبا بالعالم",
    "ไทย 日本語 한국어",
    "tab\tline\n\n  end ",
    'He typed "<|endoftext|>" and <|pad|>.',
    "<|im_end|>",
]
BROKEN = ["\ufffd", "a\ufffd", "\ufffd\ufffd b", "é\ufffd🎈\ufffd"]


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


@pytest.mark.parametrize("text", [*TEXTS, *BROKEN, "a long text of é and 🎈 " * 20 + "\ufffd"])
def test_joined_pieces_of_a_whole_text_are_the_text_to_its_last_character(model, text):
    assert "".join(pieces(model.tokenizer, model.tokenize(text), whole=True)) == text


def test_pieces_of_any_tokens_are_what_they_decode_to(model):
    draw = random.Random(0)
    for _ in range(200):  # most of them are broken characters
        ids = [draw.randrange(3, 320) for _ in range(draw.randint(1, 40))]
        assert "".join(pieces(model.tokenizer, ids, whole=True)) == model.read(ids)


def test_a_character_that_a_special_token_cuts_off_is_shown_as_cut_off(model):
    (end, *_), ids = model.end_ids, model.tokenize("a 🎈")[:-1]
    found = pieces(model.tokenizer, [*ids, end, *model.tokenize("b")], special=frozenset((end,)))
    assert "".join(found) == model.read(ids) + model.tokenizer.id_to_token(end) + "b"
    assert model.read(ids) == "a \ufffd"


def test_every_token_has_a_piece(model):
    ids = model.tokenize("é 🎈")
    assert len(pieces(model.tokenizer, ids)) == len(ids)
    assert len(ids) > 3, "the case needs characters of several tokens"


def test_a_special_token_shows_its_name(model):
    ids = [*model.tokenize("end"), model.end_ids[0], *model.tokenize("new")]
    assert "".join(pieces(model.tokenizer, ids, special=frozenset(model.end_ids))) == "end<|endoftext|>new"


def test_every_place_that_shows_a_typed_text_shows_the_names_of_special_tokens(model, scheduler):
    text = 'He typed "<|endoftext|>" and <|pad|>.'
    assert "".join(tokens_of(model, text)["tokens"]) == text
    assert "".join(token[0] for token in round_trip(model, text)["tokens"]) == text
    assert "".join(encode_text(model, scheduler, text)["tokens"]) == text


def test_what_is_read_in_latents_comes_token_by_token_as_the_same_text(model, scheduler):
    latents = torch.randn(20, model.latent_dim, generator=torch.Generator().manual_seed(0)).tolist()
    found = decode_latents(model, scheduler, latents)
    assert len(found["tokens"]) == 20 * model.patch_size
    assert "".join(token["text"] for token in found["tokens"]) == found["text"] != ""

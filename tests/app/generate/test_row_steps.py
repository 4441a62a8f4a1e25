"""The steps with which texts beside each other are played."""

import json

import pytest

from app.generate.inspection import look_value
from app.generate.row_steps import steps_of, with_steps, word_by_word

from ..components.values import Generated


@pytest.fixture(scope="module")
def trace(model):
    return Generated(model, "Once upon a time", variations=2, max_new_tokens=12).trace


def test_a_text_has_the_steps_of_its_own_sequence(model, trace):
    second = look_value(model, trace, 1, "")
    assert steps_of(model, trace, 1) == {"lead": "Once upon a time", **{k: second[k] for k in ("settled", "look")}}


def test_rows_get_theirs_in_their_order_and_share_what_is_sent(model, trace):
    rows = {"rows": [{"label": "a"}, {"label": "b"}], "run": "r"}
    found = with_steps(rows, model, trace, [1, 0], "")
    assert [row["steps"]["look"] for row in found["rows"]] == [look_value(model, trace, s, "")["look"] for s in (1, 0)]
    assert {row["steps"]["lead"] for row in found["rows"]} == {""}
    one = json.loads(steps_of(model, trace, 0, texts=1000)["look"])  # 24 tokens times steps
    assert sum(len(block["ids"]) for block in one) <= 24


def test_a_text_of_one_token_after_another_has_a_step_for_each(model):
    ids = model.tokenize(" there was a fox")
    steps = word_by_word(model.tokenizer, ids, model.tokenize("Once"), "Once")
    blocks, lines = json.loads(steps["look"]), steps["settled"].splitlines()
    assert len(blocks) == len(lines) == len(ids)
    assert "".join(block["words"][0][0] for block in blocks) == " there was a fox"
    assert word_by_word(model.tokenizer, [], [], "Once") is None


def test_a_text_that_ends_inside_a_character_has_its_last_byte(model):
    ids = model.tokenize(" a 🌊")[:-1]
    steps = word_by_word(model.tokenizer, ids, model.tokenize("Once"), "Once")
    told = "".join(block["words"][0][0] for block in json.loads(steps["look"]))
    lines = "".join(text for line in steps["settled"].splitlines() for text, *_ in json.loads(line))
    assert told == lines == model.read(ids) == " a \ufffd"

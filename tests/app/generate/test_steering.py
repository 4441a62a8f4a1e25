"""A word of a text becomes another one, and what follows is written anew."""

import dataclasses
import re

import pytest

from app.components.text_rows import CHANGED
from app.generate.comparisons import run_beside
from app.generate.handlers import GenerateHandlers, steered_marks
from app.generate.inspection import answer_tokens
from app.generate.other_texts import OtherTexts
from app.generate.steering import Steered, _tell_lengthened, write_on
from app.generate.tab import _restored
from app.shared.trace_store import TraceStore
from coladlm import SamplerSettings
from coladlm.recipe import Recipe
from coladlm.run import run

from ..viewing import Viewer, controls_of, parts_of

SETTINGS = SamplerSettings(steps=2, max_new_tokens=10, seed=5, stop_at_end=False)
PROMPT = "Once upon a time there was a cat and"
VISITOR = "visitor"


@pytest.fixture(scope="module")
def handlers(bundled, scheduler, baseline) -> GenerateHandlers:
    return GenerateHandlers(bundled, TraceStore(), scheduler, baseline)


@pytest.fixture(scope="module")
def first(handlers) -> dict:
    """The parts of a run, with its trace and the places of its tokens."""
    controls = controls_of(SETTINGS, prompt=PROMPT, variations=1)
    parts = parts_of(handlers.write, controls, Viewer(VISITOR, "first"))
    trace = handlers.kept(VISITOR, parts["kept"]).trace
    return {**parts, "trace": trace, "text": trace.texts[0], "ids": trace.answer(0)}


def whole_tokens(model, first) -> list[int]:
    """Tokens of the answer that begin and end with whole characters."""
    texts = [model.read(first["ids"][:n]) for n in range(len(first["ids"]) + 1)]
    return [i for i in range(len(first["ids"])) if all("\ufffd" not in text for text in texts[i : i + 2])]


def place_of(handlers, first, number: int) -> list[int]:
    return list(answer_tokens(handlers.model, first["trace"], 0)[number])


def steered(handlers, first, number, pin, viewer=None):
    controls = {"kept": first["kept"], "card": {"point": place_of(handlers, first, number), "pin": pin}}
    view = lambda context, controls: write_on(handlers, context, controls)  # noqa: E731
    return parts_of(view, controls, viewer or Viewer(VISITOR, "second"))


def recipe_in(parts) -> Recipe:
    return Recipe.from_url(parts["link"]["query"].removeprefix("?r="))


def test_what_stands_before_the_word_stays_and_what_follows_is_the_run_of_the_longer_prompt(handlers, bundled, first):
    at = whole_tokens(bundled, first)[2]
    before, old = bundled.read(first["ids"][:at]), bundled.read(first["ids"][: at + 1])
    last = steered(handlers, first, at, {"text": "hat"})
    given = before + re.match(r"\s*", old[len(before) :])[0] + "hat"
    prompt, recipe = PROMPT + given, recipe_in(last)
    assert (recipe.texts, recipe.options) == ((PROMPT,), {"steered": given})
    assert recipe.settings.max_new_tokens == SETTINGS.max_new_tokens - at - 1
    *_, finished = run(bundled, recipe)
    *_, longer = run(bundled, dataclasses.replace(recipe, texts=(prompt,), options={}))
    assert finished.token_ids == longer.token_ids
    was, now = last["rows"]["rows"]
    assert was["text"] == PROMPT + first["text"]
    assert now["text"] == prompt + finished.texts[0]
    assert [text.strip() for text, flag in now["final"] if flag == CHANGED] == ["hat"]
    assert last["progress"]["state"] == "done"


def test_an_alternative_is_taken_by_its_token(handlers, bundled, first):
    at = whole_tokens(bundled, first)[1]
    token = bundled.tokenize(" dog")[0]
    last = steered(handlers, first, at, {"id": token})
    assert last["rows"]["rows"][1]["final"][0] == [bundled.read([token]), CHANGED]


def test_a_link_fills_in_the_prompt_of_the_visitor_and_writes_the_steered_text_again(handlers, bundled, first):
    second = steered(handlers, first, whole_tokens(bundled, first)[4], {"text": "hat"})
    trace = handlers.kept(VISITOR, second["kept"]).trace
    again = {**second, "trace": trace, "ids": trace.answer(0)}
    third = steered(handlers, again, whole_tokens(bundled, again)[1], {"text": "coat"}, Viewer(VISITOR, "third"))
    after = _restored(bundled, {"r": recipe_in(third).to_url()})[len(OtherTexts._fields) :]
    text, of, prompt, variations, seed, tokens, *_ = after
    assert (prompt, of, variations, seed, tokens) == (PROMPT, PROMPT, 1, SETTINGS.seed, SETTINGS.max_new_tokens)
    given = {"prompt": prompt, "variations": 1, "steered": {"text": text, "of": of}}
    reloaded = parts_of(handlers.write, controls_of(SETTINGS, **given), Viewer(VISITOR, "reloaded"))
    assert recipe_in(reloaded) == recipe_in(third)
    stage = ("prompt", "settled", "pinned")
    assert [reloaded["strip"][name] for name in stage] == [third["strip"][name] for name in stage]
    other = controls_of(SETTINGS, **{**given, "prompt": "The moon"})
    assert recipe_in(parts_of(handlers.write, other, Viewer(VISITOR, "other"))).options == {}


def test_run_b_of_a_steered_text_has_its_length(handlers, bundled, first):
    second = steered(handlers, first, whole_tokens(bundled, first)[2], {"text": "hat"})
    view = lambda context, controls: run_beside(handlers, context, controls)  # noqa: E731
    controls = controls_of(dataclasses.replace(SETTINGS, steps=3), kept=second["kept"])
    rows = parts_of(view, controls, Viewer(VISITOR, "b"))["rows"]
    assert rows["notes"][0] == "B differs in: Steps a block 2 → 3."
    assert all(row["lead"].endswith("hat") for row in rows["rows"])


def test_a_stopped_text_shows_the_words_that_still_form_in_its_row(handlers, bundled, first):
    card = {"point": place_of(handlers, first, whole_tokens(bundled, first)[2]), "pin": {"text": "hat"}}
    viewer = Viewer(VISITOR, "stopped")
    view = write_on(handlers, viewer, {"kept": first["kept"], "card": card})
    forming = next(frame["strip"]["live"] for frame in view if frame.get("strip", {}).get("live"))
    view.close()
    row = viewer.shown[-1]["rows"]["rows"][-1]
    assert [token[0] for token in row["live"]] == [token[0] for token in forming]


@pytest.mark.parametrize(
    ("word", "text", "told"),
    [("dragon", "s flew", "the model made “dragons” of “dragon”"), ("big dog", "'s bone", "“dog's” of “dog”"),
     ("dragon", " flew", None), ("dragon", "", None), ("!", "s", None)],
)  # fmt: skip
def test_a_word_that_the_model_made_longer_is_told(word, text, told):
    last = {"progress": {"parts": ["8 tokens"]}}
    _tell_lengthened(last, Steered("A ", " cat", f" {word}", "", 5), text)
    assert last["progress"]["parts"][1:] == [] if told is None else told in last["progress"]["parts"][1]


def test_the_text_before_and_the_new_one_are_opened_by_their_rows(handlers, bundled, first):
    last = steered(handlers, first, whole_tokens(bundled, first)[2], {"text": "hat"})
    opened = handlers.read(VISITOR, 0, last["kept"])
    assert opened.kept["run"] == first["kept"]["run"]
    assert handlers.kept(VISITOR, opened.kept).trace.texts[0] == first["text"]
    again = handlers.read(VISITOR, 1, opened.kept)
    assert again.kept["run"] == last["kept"]["run"]
    assert handlers.read(VISITOR, 2, opened.kept).progress["state"] == "error"
    assert (opened.link, again.link) == (first["link"], last["link"])


def test_undo_goes_back_text_by_text_and_marks_each_as_it_was(handlers, bundled, first):
    second = steered(handlers, first, whole_tokens(bundled, first)[4], {"text": "hat"})
    trace = handlers.kept(VISITOR, second["kept"]).trace
    again = {**second, "trace": trace, "ids": trace.answer(0)}
    third = steered(handlers, again, whole_tokens(bundled, again)[1], {"text": "coat"}, Viewer(VISITOR, "third"))
    assert (second["strip"]["before"], third["strip"]["before"]) == (0, 1)
    back = handlers.read(VISITOR, third["strip"]["before"], third["kept"])
    assert back.kept["run"] == second["kept"]["run"]
    assert (back.strip["pinned"], back.strip["before"]) == (3, 0)
    start = handlers.read(VISITOR, back.strip["before"], back.kept)
    assert start.kept["run"] == first["kept"]["run"]
    assert "pinned" not in start.strip and "before" not in start.strip


@pytest.mark.parametrize("kept", [None, 3, {"before": 2, "rows": 1}, {"before": {}, "rows": [3]}, {"pinned": "x"}])
def test_marks_that_a_browser_made_up_are_left_out(kept):
    assert steered_marks(kept) == {}


def test_every_text_on_the_way_stays_below(handlers, bundled, first):
    second = steered(handlers, first, whole_tokens(bundled, first)[4], {"text": "hat"})
    trace = handlers.kept(VISITOR, second["kept"]).trace
    again = {**second, "trace": trace, "ids": trace.answer(0)}
    third = steered(handlers, again, whole_tokens(bundled, again)[1], {"text": "coat"}, Viewer(VISITOR, "third"))
    texts = [row["text"] for row in third["rows"]["rows"]]
    assert [row["label"] for row in third["rows"]["rows"]] == ["earlier", "before", "now"]
    assert texts[:2] == [row["text"] for row in second["rows"]["rows"]]
    assert handlers.read(VISITOR, 0, third["kept"]).kept["run"] == first["kept"]["run"]
    assert third["strip"]["pinned"] == 4 and third["strip"]["prompt"].endswith("coat")


def test_variations_stay_below_a_text_that_was_steered(handlers, bundled):
    controls = controls_of(SETTINGS, prompt=PROMPT, variations=3)
    parts = parts_of(handlers.write, controls, Viewer(VISITOR, "three"))
    trace = handlers.kept(VISITOR, parts["kept"]).trace
    first = {**parts, "trace": trace, "ids": trace.answer(0)}
    last = steered(handlers, first, whole_tokens(bundled, first)[1], {"text": "hat"})
    assert [row["label"] for row in last["rows"]["rows"]] == ["earlier", "earlier", "before", "now"]
    assert last["rows"]["rows"][1]["text"] == PROMPT + trace.texts[2]
    assert handlers.read(VISITOR, 1, last["kept"]).kept["sequence"] == 2


@pytest.mark.parametrize(
    ("pin", "sentence"),
    [
        ({"text": "  "}, "the word is empty"),
        ({"text": " a ___"}, "the word is a hole, expected letters"),
        ({"text": "x" * 201}, "the word is 201 characters"),
        ({"text": 3}, "the word is 3"),
        ({"id": 10**9}, "the word is 1000000000"),
        ({"id": True}, "the word is True"),
        (None, "the word is None"),
    ],
)
def test_what_is_no_word_gets_a_sentence(handlers, bundled, first, pin, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence[4:])):
        steered(handlers, first, whole_tokens(bundled, first)[1], pin)


@pytest.mark.parametrize("card", [None, {}, {"point": [99, 0], "pin": {"text": "a"}}, {"point": "x", "pin": {}}])
def test_a_place_that_is_not_in_the_answer_gets_a_sentence(handlers, first, card):
    view = write_on(handlers, Viewer(VISITOR, "second"), {"kept": first["kept"], "card": card})
    with pytest.raises(ValueError, match="place is not part of the answer"):
        list(view)


def test_a_run_that_is_gone_gets_a_sentence(handlers):
    view = write_on(handlers, Viewer(VISITOR), {"kept": {"run": "gone", "sequence": 0}, "card": {}})
    with pytest.raises(ValueError, match="not there any more"):
        list(view)

"""A prompt with holes on the page: its texts below the stage, the best of them on it, its link, and what it refuses."""

import contextlib
import dataclasses
import json
import re
from types import SimpleNamespace

import pytest

from app.components.progress_line import progress_value
from app.components.text_rows import CHANGED
from app.generate.baseline_beside import NO_HOLES, write_baseline
from app.generate.comparisons import decode_again, run_beside
from app.generate.filling import filling_rows, segments_of, start_of
from app.generate.handlers import GenerateHandlers
from app.generate.inspection import answer_tokens
from app.generate.other_texts import DEFAULTS
from app.generate.steering import write_on
from app.page import _restored, repeats, tab_of
from app.shared.generation import CANDIDATES, FILL, recipe_of, restore
from app.shared.tab_links import Restore
from app.shared.trace_store import TraceStore
from coladlm import SamplerSettings
from coladlm.latent import Filled
from coladlm.latent.fill import FilledText
from coladlm.recipe import Recipe
from coladlm.run import run
from coladlm.sampling.tokens import NO_TOKEN

from ..viewing import Viewer, controls_of, parts_of

SETTINGS = SamplerSettings(steps=2, max_new_tokens=8, seed=5)
PROMPT = "Once upon a time there was a ___ who ran to the ___."
VISITOR = "visitor"


@pytest.fixture(scope="module")
def handlers(bundled, scheduler, baseline) -> GenerateHandlers:
    return GenerateHandlers(bundled, TraceStore(), scheduler, baseline)


@pytest.fixture(scope="module")
def parts(handlers):
    """The parts of a run with holes, which the tests look at and leave as they are."""
    return parts_of(handlers.write, controls_of(SETTINGS, prompt=PROMPT, variations=3), Viewer(VISITOR, "filled"))


def test_given_words_are_marked_on_the_way_and_at_the_end(bundled, handlers):
    context = Viewer(VISITOR, "again")
    frames = [frame["strip"] for frame in handlers.write(context, controls_of(SETTINGS, prompt=PROMPT, variations=1))
              if "strip" in frame]  # fmt: skip
    known = " who ran to the"
    for strip in (frames[-1], context.shown[-1]["strip"]):
        tokens = [token for line in strip["settled"].split("\n") if line for token in json.loads(line)]
        assert known in "".join(token[0] for token in tokens if token[4:] == [1])
        assert any(len(token) == 3 for token in tokens)  # what fills a hole
    for block in json.loads(context.shown[-1]["strip"]["look"]):
        assert len(block["given"]) == block["count"]


def recipe_for(model, prompt: str, variations: int) -> Recipe:
    return recipe_of(model, prompt, variations, controls_of(SETTINGS)["settings"])


def filled_of(model, recipe: Recipe) -> Filled:
    return next(event for event in run(model, recipe) if isinstance(event, Filled))


def shown(strip) -> str:
    """What the stage shows."""
    lines = [line for line in strip["settled"].split("\n") if line]
    return strip["prompt"] + "".join(token[0] for line in lines for token in json.loads(line) if not token[2])


def test_what_stands_before_a_row_ends_with_a_whole_character(bundled):
    block = bundled.block_size * bundled.patch_size
    for length in range(2 * block):  # one of these puts a block's end into the dragon
        prompt = "a" * length + "🐉 said ___."
        row = filling_rows(bundled, recipe_for(bundled, prompt, 1))[0]
        assert "\ufffd" not in row.lead and prompt.startswith(row.lead)


def test_rows_are_the_candidates_best_first_and_the_stage_has_the_best(parts, bundled):
    recipe = recipe_for(bundled, PROMPT, 3)
    filled = filled_of(bundled, recipe)
    assert [row["text"] for row in parts["rows"]["rows"]] == [found.text for found in filled.candidates]
    for row in parts["rows"]["rows"]:  # nothing of it twice
        assert row["lead"] + "".join(text for text, _ in row["final"]) == row["text"]
    assert shown(parts["strip"]) == filled.candidates[0].text
    assert parts["kept"]["sequence"] == filled.candidates[0].row


def test_every_row_opens_on_the_stage(handlers, parts):
    for number, row in enumerate(parts["rows"]["rows"]):
        assert shown(handlers.read(VISITOR, number, parts["kept"]).strip) == row["text"]


def test_the_words_of_the_prompt_stand_in_every_step_of_the_recorded_run(handlers, parts, bundled):
    start = start_of(bundled, handlers.kept(VISITOR, parts["kept"]).trace.recipe)
    given = start.answers[parts["kept"]["sequence"]]
    at = 0
    for block in json.loads(parts["strip"]["look"]):
        words, count = block["words"], block["count"]
        for step in range(len(block["steps"])):
            for place, token in enumerate(given[at : at + count]):
                if token != NO_TOKEN:
                    assert words[block["ids"][step * count + place]][0] == bundled.read([token])
        at += count
    assert at == len(given)


def test_what_stands_in_the_holes_is_marked(parts):
    for row in parts["rows"]["rows"]:
        assert "".join(text for text, _ in row["final"]) == row["text"]
        assert 1 <= sum(flag == CHANGED for _, flag in row["final"]) <= 2


def test_equal_fills_are_marked_each_in_its_place():
    found = FilledText(0, "a b b b.", (), (" b", " b"), (), True, 0.0, (1, 3))
    assert segments_of(found) == [("a", 0), (" b", CHANGED), (" b", CHANGED), (" b.", 0)]


def test_a_word_that_stands_before_its_hole_too_is_marked_in_the_hole(bundled):
    recipe = recipe_for(bundled, "The cat saw the ___ and ran.", 4)
    for found in filled_of(bundled, recipe).candidates:
        for fill, start in zip(found.fills, found.starts, strict=True):
            assert found.text[start:].startswith(fill) and start == len("The cat saw the")
    again = FilledText(0, "the cat saw the cat.", (), (" cat",), (), True, 0.0, (15,))
    assert segments_of(again) == [("the cat saw the", 0), (" cat", CHANGED), (".", 0)]


def test_a_row_begins_with_what_its_first_block_has_of_the_prompt(bundled):
    recipe = recipe_for(bundled, PROMPT, 3)
    text = start_of(bundled, recipe)
    for row, answer in zip(filling_rows(bundled, recipe), text.answers, strict=True):
        known = len(row.before) - len(answer)
        assert 0 <= known < bundled.block_size
        assert row.lead + bundled.read(row.before[:known]) == text.prompt


def test_one_variation_stands_for_several_candidates(bundled):
    assert recipe_for(bundled, PROMPT, 1).variations == CANDIDATES
    assert recipe_for(bundled, PROMPT, 2).variations == 2
    assert recipe_for(bundled, "two __ only", 1).operation == "generate"


def test_the_link_opens_generate_with_the_same_run(bundled, parts):
    query = {"r": parts["link"]["query"].removeprefix("?r=")}
    assert tab_of(query) == "generate"
    prompt, variations, *_ = restore(bundled, query)
    assert (prompt, variations) == (PROMPT, 3)
    assert repeats(bundled, Recipe.from_url(query["r"]))


@pytest.mark.parametrize("given", [{"variations": 9}, {"variations": 1}])
def test_a_recipe_that_the_page_would_run_otherwise_is_not_run_by_itself(bundled, given):
    recipe = {"operation": FILL, "texts": (PROMPT,), "variations": 4, "model": bundled.fingerprint, **given}
    assert not repeats(bundled, Recipe(**recipe))


@pytest.mark.parametrize(("options", "pressed"), [({}, True), ({"pull": 2.0}, True), ({"longest": 3}, False)])
def test_a_link_with_options_that_the_page_does_not_show_waits_for_run(bundled, options, pressed):
    recipe = Recipe(FILL, (PROMPT,), SETTINGS, 4, options, bundled.fingerprint)
    restored = Restore((FILL,), lambda query: [progress_value("idle")], [None], "generate", DEFAULTS)
    linked = SimpleNamespace(query=f"?r={recipe.to_url()}")
    (progress,) = _restored(SimpleNamespace(model=bundled), "generate", restored)(linked)
    assert bool(progress.get("press")) == pressed


def looked_at(handlers, parts, view, settings=SETTINGS, **more):
    controls = {**controls_of(settings, kept=parts["kept"]), "temperature": 0, "top_k": 0, "top_p": 1, **more}
    return parts_of(lambda context, controls: view(handlers, context, controls), controls, Viewer(VISITOR, "next"))


def read_row(row) -> str:
    return row["lead"] + "".join(text for text, _ in row["final"])


def test_run_b_fills_the_same_holes_from_the_same_noise(handlers, parts, bundled):
    settings = dataclasses.replace(SETTINGS, steps=3)
    rows = looked_at(handlers, parts, run_beside, settings)["rows"]["rows"]
    recipe = dataclasses.replace(recipe_for(bundled, PROMPT, 3), settings=settings)
    number = parts["kept"]["sequence"]
    again = next(found for found in filled_of(bundled, recipe).candidates if found.row == number)
    assert [read_row(row) for row in rows] == [parts["rows"]["rows"][0]["text"], again.text]


def test_the_latents_decoded_again_keep_the_words_around_the_holes(handlers, parts):
    again = looked_at(handlers, parts, decode_again, temperature=2, repetition_penalty=2)["rows"]["rows"][1]
    wanted = re.escape(PROMPT).replace("___", ".*").replace("\\ .*", ".*")
    assert re.fullmatch(wanted, read_row(again), re.DOTALL)


def test_decoded_again_as_it_was_is_the_same_text(handlers, parts):
    before, again = looked_at(handlers, parts, decode_again, repetition_penalty=1)["rows"]["rows"]
    assert read_row(before) == read_row(again) == parts["rows"]["rows"][0]["text"]


def test_the_baseline_goes_on_from_before_the_first_hole_and_says_so(handlers, parts):
    rows = looked_at(handlers, parts, write_baseline)["rows"]
    assert read_row(rows["rows"][1]).startswith(PROMPT.split(" ___")[0])
    assert rows["notes"] == [NO_HOLES]


def steer_at(handlers, parts, bundled, word, new):
    """The parts of the text on the stage with another word in place of a word."""
    run = handlers.kept(VISITOR, parts["kept"])
    places, ids = answer_tokens(bundled, run.trace, run.sequence), run.trace.answer(run.sequence)
    at = next(i for i, token in enumerate(ids) if bundled.read([token]).strip() == word)
    return looked_at(handlers, parts, write_on, card={"point": list(places[at]), "pin": {"text": new}})


def test_another_word_before_a_hole_fills_that_hole_anew(handlers, parts, bundled):
    best = parts["rows"]["rows"][0]["text"]
    last = steer_at(handlers, parts, bundled, "who", "that")
    recipe = Recipe.from_url(last["link"]["query"].removeprefix("?r="))
    start = best[: best.index(" who")]
    assert (recipe.operation, recipe.texts) == (FILL, (start + " that ran to the ___.",))
    *_, was, now = last["rows"]["rows"]
    assert was["text"] == best
    assert now["text"] == filled_of(bundled, recipe).candidates[0].text == shown(last["strip"])
    opened = handlers.read(VISITOR, len(last["rows"]["rows"]) - 1, last["kept"])
    assert opened.kept["run"] == last["kept"]["run"]
    for strip in (last["strip"], opened.strip):  # the word that was put there is marked, not what follows
        end = len(strip["prompt"]) - strip.get("after", 0)
        assert strip["prompt"][end - strip["pinned"] : end] == "that"
    assert ("that", CHANGED) in [(text, flag) for text, flag in now["final"]]


def test_another_word_after_the_last_hole_lets_the_text_go_on(handlers, parts, bundled):
    last = steer_at(handlers, parts, bundled, ".", "!")
    recipe = Recipe.from_url(last["link"]["query"].removeprefix("?r="))
    assert (recipe.operation, recipe.options) == ("generate", {})
    assert recipe.texts[0] == parts["rows"]["rows"][0]["text"][:-1] + "!"
    assert recipe.settings.max_new_tokens == SETTINGS.max_new_tokens


def test_more_than_a_run_has_room_for_is_refused_in_a_sentence(handlers):
    with pytest.raises(ValueError, match=r"8 candidates of 5\d\d tokens, expected at most 4,096"):
        prompt = "___" + " a" * 511
        parts_of(handlers.write, controls_of(SETTINGS, prompt=prompt, variations=8), Viewer(VISITOR, "large"))


def test_a_prompt_with_too_many_holes_is_refused_in_a_sentence(handlers):
    with pytest.raises(ValueError, match="17 holes"):
        parts_of(handlers.write, controls_of(SETTINGS, prompt="___ " * 17, variations=1), Viewer(VISITOR, "many"))


def test_a_stopped_run_keeps_what_there_is(handlers):
    viewer = Viewer(VISITOR, "stopped")
    with contextlib.closing(handlers.write(viewer, controls_of(SETTINGS, prompt=PROMPT, variations=2))) as frames:
        for frame in frames:
            if frame.get("strip", {}).get("settled"):
                break
    last = viewer.shown[-1]
    assert (last["strip"]["state"], last["rows"]["state"]) == ("stopped", "stopped")
    assert shown(last["strip"]).startswith("Once upon a time there was a")

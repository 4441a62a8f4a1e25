"""Other texts than the prompt, on the page: what the controls say, links, comparisons and steering."""

import dataclasses

import pytest

from app.generate.comparisons import run_beside
from app.generate.direction_dial import NONE, turned_to
from app.generate.direction_dial import OWN as OWN_LISTS
from app.generate.handlers import GenerateHandlers
from app.generate.inspection import answer_tokens
from app.generate.other_texts import OtherTexts, options_of, values_of
from app.generate.steering import write_on
from app.shared.trace_store import TraceStore
from coladlm import Finished, SamplerSettings
from coladlm.recipe import Recipe
from coladlm.run import run

from ..viewing import Viewer, controls_of, parts_of

SETTINGS = SamplerSettings(steps=2, max_new_tokens=8, seed=2, guidance=2.0, stop_at_end=False)
PROMPT, VISITOR = "Once upon a time there was a", "visitor"
OTHERS = {
    "text": "The dog barked. The big dog ran.",
    "pull": 1.5,
    "start": 90,
    "end": 10,
    "negative": "A sad cat.",
    "direction": "happy-sad",
    "strength": -1.5,
    "strength_start": 80,
    "strength_end": 20,
}
OPTIONS = {
    "towards": OTHERS["text"],
    "pull": 1.5,
    "pull_low": 100.0,
    "pull_high": 900.0,
    "negative": "A sad cat.",
    "direction": "happy-sad",
    "direction_strength": -1.5,
    "direction_low": 200.0,
    "direction_high": 800.0,
}
OWN = {"direction_first": ["The cat sat.", "A cat ran."], "direction_second": ["The dog sat."]}


@pytest.fixture(scope="module")
def handlers(model, scheduler, baseline) -> GenerateHandlers:
    return GenerateHandlers(model, TraceStore(), scheduler, baseline)


@pytest.fixture(scope="module")
def parts(handlers):
    """The parts of a run with other texts, which the tests look at and leave as they are."""
    controls = controls_of(SETTINGS, prompt=PROMPT, variations=1, others=OTHERS)
    return parts_of(handlers.write, controls, Viewer(VISITOR, "drawn"))


def recipe_in(parts) -> Recipe:
    return Recipe.from_url(parts["link"]["query"].removeprefix("?r="))


def text_of(model, recipe) -> str:
    return next(event for event in run(model, recipe) if isinstance(event, Finished)).texts[0]


def test_link_and_progress_say_what_was_asked_for_and_the_link_gives_the_same_answer(handlers, parts, model):
    recipe = recipe_in(parts)
    assert recipe.options == OPTIONS and parts["progress"]["parts"][-1] == "turned to happy (1.5)"
    assert handlers.kept(VISITOR, parts["kept"]).trace.texts == [text_of(model, recipe)]


@pytest.mark.parametrize(
    "options",
    [
        {},
        OPTIONS,
        {"towards": "a cat"},
        {"towards": "a", "pull": -2.0},
        {"negative": "a dog"},
        {"direction": "he-she"},
        OWN,
        {**OWN, "direction_strength": 0.5, "direction_high": 500.0},
    ],
)
def test_controls_and_options_say_the_same(options):
    names = OtherTexts._fields
    assert options_of(dict(zip(names, values_of(options), strict=True))) == options


@pytest.mark.parametrize("text", [None, "", " \n"])
def test_without_a_text_there_is_no_option(text):
    assert options_of({**OTHERS, "text": text, "pull": None, "negative": text, "direction": NONE}) == {}


@pytest.mark.parametrize(
    ("options", "told"),
    [({}, []), ({"direction": "happy-sad", "direction_strength": 0.0}, []), ({"direction_strength": 2.0}, []),
     ({"direction": "happy-sad"}, ["turned to sad (1)"]), (OWN, ["turned to the second list (1)"]),
     ({**OWN, "direction_strength": -0.5}, ["turned to the first list (0.5)"])],
)  # fmt: skip
def test_what_a_run_is_turned_to_is_said_in_words(options, told):
    assert turned_to(options) == told


@pytest.mark.parametrize(
    ("given", "sentence"),
    [({"pull": 3}, "Pull is 3.0, expected from -2 to 2"), ({"pull": None}, "Pull is empty"),
     ({"start": 5}, "Pull from noise.* is 5"), ({"end": 101}, "Pull to noise"), ({"text": 7}, "7"),
     ({"strength": 2.5}, "Strength of the direction is 2.5, expected from -2 to 2"),
     ({"strength_start": 10}, "Direction from noise.* is 10.*, expected at least as much as .*, 20"),
     ({"direction": "up-down"}, "^Direction is 'up-down', expected one of"),
     ({"direction": OWN_LISTS, "first": " \n", "second": "a"}, "^The direction's first list is empty"),
     ({"direction": OWN_LISTS, "first": "a", "second": "b " * 600}, "^Its second list is .* tokens long"),
     ({"negative": "a cat " * 300}, "^The negative prompt is .* tokens long")],
)  # fmt: skip
def test_odd_values_get_a_sentence(handlers, given, sentence):
    with pytest.raises(ValueError, match=sentence):
        controls = controls_of(SETTINGS, prompt=PROMPT, variations=1, others={**OTHERS, **given})
        parts_of(handlers.write, controls, Viewer(VISITOR, "odd"))


def test_a_negative_prompt_that_would_do_nothing_is_told(handlers):
    controls = controls_of(dataclasses.replace(SETTINGS, guidance=1.0), prompt=PROMPT, variations=1, others=OTHERS)
    with pytest.raises(ValueError, match=r"^A negative prompt does nothing at guidance 1; with guidance 2"):
        parts_of(handlers.write, controls, Viewer(VISITOR, "without effect"))


def test_run_b_has_the_other_texts_too(handlers, parts, model):
    other = dataclasses.replace(SETTINGS, steps=3)
    view = lambda context, controls: run_beside(handlers, context, controls)  # noqa: E731
    beside = parts_of(view, controls_of(other, kept=parts["kept"]), Viewer(VISITOR, "b"))
    b = "".join(text for text, _ in beside["rows"]["rows"][1]["final"])
    assert b == text_of(model, Recipe("generate", (PROMPT,), other, options=OPTIONS))


def test_run_b_has_other_texts_than_a_where_the_controls_have(handlers, parts, model):
    view = lambda context, controls: run_beside(handlers, context, controls)  # noqa: E731
    given = {"prompt": PROMPT, "variations": 1, "kept": parts["kept"]}
    others = {**OTHERS, "end": 20, "negative": "", "direction": "happy-sad", "strength": -1}
    beside = parts_of(view, controls_of(SETTINGS, **given, others=others), Viewer(VISITOR, "b"))
    b = "".join(text for text, _ in beside["rows"]["rows"][1]["final"])
    assert b == text_of(model, Recipe("generate", (PROMPT,), SETTINGS, options=options_of(others)))
    (note, *_) = beside["rows"]["notes"]
    assert "Pull to noise (%) 10 → 20" in note and "Negative “A sad cat.” → none" in note
    assert "Direction strength -1.5 → -1" in note
    with pytest.raises(ValueError, match="with the same settings B would be A"):
        parts_of(view, controls_of(SETTINGS, **given, others=OTHERS), Viewer(VISITOR, "b"))


def test_a_steered_text_keeps_the_other_texts(handlers, parts):
    trace = handlers.kept(VISITOR, parts["kept"]).trace
    card = {"point": list(answer_tokens(handlers.model, trace, 0)[3]), "pin": {"text": "hat"}}
    view = lambda context, controls: write_on(handlers, context, controls)  # noqa: E731
    steered = parts_of(view, {"kept": parts["kept"], "card": card}, Viewer(VISITOR, "steered"))
    options = recipe_in(steered).options
    assert {name: options[name] for name in OPTIONS} == OPTIONS

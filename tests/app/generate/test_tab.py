"""The handlers of the tab Generate, as the plain generators that they are."""

import dataclasses
import json

import gradio as gr
import pytest

from app.generate.api import generate_text
from app.generate.handlers import GenerateHandlers
from app.page import build_page
from app.shared.generation import restore
from app.shared.links import link_of
from app.shared.settings_panel import values_of
from app.shared.trace_store import TraceStore
from coladlm import SamplerSettings
from coladlm.baseline.bundled import BundledBaseline
from coladlm.recipe import Recipe, RecipeError
from coladlm.run import run
from coladlm.serve import Scheduler

from ..viewing import Viewer, controls_of, parts_of

SCHEDULER = Scheduler()
BASELINE = BundledBaseline()


def handlers_of(model, store=None) -> GenerateHandlers:
    return GenerateHandlers(model, store or TraceStore(), SCHEDULER, BASELINE)


SETTINGS = SamplerSettings(steps=3, max_new_tokens=8, seed=5)
LONG = SamplerSettings(steps=24, max_new_tokens=1024, stop_at_end=False)
PROMPTS = [
    "Once upon a time",
    "",
    "   ",
    "👩‍🚀🎈",
    "שלום עולם",
    "日本語\n\n한국어",
    "<script>alert(1)</script>",
    "{{x}} ${y} `z`",
]


def generate(model, prompt, settings=SETTINGS, context=None):
    """The frames of a run."""
    return handlers_of(model).write(context or Viewer(), controls_of(settings, prompt=prompt, variations=1))


def _last(model, prompt, settings=SETTINGS):
    """The strip, the progress line and the link as they stand at the end."""
    parts = parts_of(handlers_of(model).write, controls_of(settings, prompt=prompt, variations=1))
    return [parts[name] for name in ("strip", "progress", "link")]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_run_ends_done(model, prompt):
    strip, progress, link = _last(model, prompt)
    assert (strip["state"], progress["state"]) == ("done", "done")
    assert strip["prompt"] == prompt
    assert link["query"].startswith("?r=")


def test_the_same_settings_give_the_same_text(model):
    assert _last(model, PROMPTS[0])[0]["settled"] == _last(model, PROMPTS[0])[0]["settled"]


def test_a_prompt_that_is_no_text_is_called_the_prompt(model):
    with pytest.raises(ValueError, match=r"^The prompt is a text with half a character \(U\+D83D\) at 5, expected"):
        list(generate(model, "half \ud83d"))


def test_another_seed_gives_another_text(model):
    other = SamplerSettings(steps=3, max_new_tokens=8, seed=6)
    assert _last(model, PROMPTS[0])[0]["settled"] != _last(model, PROMPTS[0], other)[0]["settled"]


@pytest.mark.parametrize(
    "prompt, values, note",
    [
        ("word " * 10_000, values_of(SETTINGS), "tokens"),
        ("x" * 300_000, values_of(SETTINGS), "characters"),
        ("broken \ud800", values_of(SETTINGS), "Unicode"),
        (None, values_of(SETTINGS), "text"),
        ("x", [0, 0, *values_of(SETTINGS)[2:]], "New tokens"),
        ("x", [-1, *values_of(SETTINGS)[1:]], "Seed"),
    ],
)
def test_what_is_wrong_comes_as_a_sentence(model, prompt, values, note):
    with pytest.raises(ValueError) as wrong:
        list(generate(model, prompt, values))
    assert note in str(wrong.value)
    assert str(wrong.value).endswith(".")


def test_a_closed_run_leaves_the_model_as_it_was(model):
    before = _last(model, PROMPTS[0])[0]["settled"]
    running = generate(model, PROMPTS[0])
    next(running), next(running)
    running.close()
    assert _last(model, PROMPTS[0])[0]["settled"] == before


def stopped(model, steps_seen, settings=LONG, variations=1):
    """(the parts, the store) of a run that is stopped after so many frames with settled words."""
    store, context = TraceStore(), Viewer()
    running = handlers_of(model, store).write(context, controls_of(settings, prompt="x", variations=variations))
    parts = {}
    for frame in running:
        parts |= frame
        strip = parts.get("strip", {"settled": "", "live": []})
        if strip["settled"].count("\n") >= steps_seen and strip["live"]:
            break
    running.close()
    for frame in context.shown:
        parts |= frame
    return parts, store


def test_a_run_that_was_stopped_can_be_looked_into_like_any_other(model, every_step):
    parts, store = stopped(model, 2)
    assert parts["strip"]["state"] == parts["progress"]["state"] == "stopped"
    lines = parts["strip"]["settled"].count("\n")
    assert lines >= 2 and parts["strip"]["live"], "the words that were still forming stay"
    *_, forming = blocks = json.loads(parts["strip"]["look"])
    assert len(blocks) == lines + 1
    assert forming["count"] == len(parts["strip"]["live"]) and 0 < len(forming["steps"]) < forming["of"]
    last = forming["ids"][-forming["count"] :]
    assert [forming["words"][i][0] for i in last] == [text for text, *_ in parts["strip"]["live"]]
    handlers = handlers_of(model, store)
    assert handlers.inspect("visitor", 0, 2, parts["kept"]).card["read"]
    trace = handlers.kept("visitor", parts["kept"]).trace
    assert trace.reasons == ["stopped"] and len(trace.answers[0]) > 0


def test_a_run_that_was_stopped_in_its_first_block_can_be_played(model, every_step):
    parts, _ = stopped(model, 0)
    [block] = json.loads(parts["strip"]["look"])
    assert parts["strip"]["settled"] == "" and block["block"] == 0
    assert block["count"] == len(parts["strip"]["live"]) and len(block["steps"]) > 0
    assert parts["kept"] is not None


def test_variations_that_were_stopped_can_be_read(model, every_step):
    parts, store = stopped(model, 1, variations=3)
    assert parts["rows"]["state"] == "stopped" and all(row["text"].strip() for row in parts["rows"]["rows"])
    assert handlers_of(model, store).read("visitor", 2, parts["kept"]).strip["settled"]


def test_how_much_was_written_is_said_when_a_run_is_stopped(model, every_step):
    parts, _ = stopped(model, 1)
    words = sum(len(json.loads(line)) for line in parts["strip"]["settled"].split("\n") if line)
    forming = len(parts["strip"]["live"])
    note = f"Stopped after {words + forming} tokens, the last {forming} of them still forming."
    assert parts["progress"]["message"] == note


def test_a_run_that_was_stopped_before_a_word_leaves_nothing_to_look_into(model):
    context = Viewer()
    running = generate(model, "x", context=context)
    next(running), next(running)
    running.close()
    assert context.shown[-1]["progress"]["message"] == "Stopped before it began."
    assert "kept" not in context.shown[-1]


def test_a_run_with_fresh_noise_says_so_and_is_offered_without(model):
    handlers, settings = handlers_of(model), dataclasses.replace(SETTINGS, stochasticity=0.5)
    parts = parts_of(handlers.write, controls_of(settings, prompt="A cat", variations=2))
    assert parts["flow"]["fresh"]
    without = handlers.without_fresh_noise("visitor", parts["kept"])
    assert (without.texts, without.variations, without.settings) == (
        ("A cat",), 2, dataclasses.replace(settings, stochasticity=0.0),
    )  # fmt: skip
    assert not parts_of(handlers.write, controls_of(without.settings, prompt="A cat", variations=2))["flow"]["fresh"]


def test_a_link_fills_in_the_controls(model):
    recipe = Recipe("generate", ("A cat",), SETTINGS, 3, model=model.fingerprint)
    prompt, variations, *values, progress = restore(model, {"r": link_of(recipe)["query"][3:]})
    assert (prompt, variations, values) == ("A cat", 3, values_of(SETTINGS))
    assert "press Run" in progress["message"]


def test_a_link_of_another_model_says_so(model):
    recipe = Recipe("generate", ("A cat",), SETTINGS, model="other")
    progress = restore(model, {"r": link_of(recipe)["query"][3:]})[-1]
    assert "made with the model other" in progress["message"]


@pytest.mark.parametrize("word", ["nonsense", "A" * 50_000])
def test_a_broken_link_says_so_and_changes_nothing(model, word):
    *values, progress = restore(model, {"r": word})
    assert progress["state"] == "error"
    assert "link" in progress["message"]
    assert all(value == gr.skip() for value in values)


def test_an_address_without_a_link_changes_nothing(model):
    assert all(value == gr.skip() for value in restore(model, {}))


def test_the_api_gives_the_text_of_its_recipe(model):
    *_, (text, recipe) = generate_text(model, SCHEDULER, "A cat", {"steps": 3, "max_new_tokens": 8})
    again = Recipe.from_json(json.dumps(recipe))
    *_, finished = run(model, again)
    assert finished.texts == [text]
    assert again.settings.steps == 3


@pytest.mark.parametrize("given", [{"steps": 0}, {"steps": 5000}, {"solver": "x"}, {"seed": -1}, {"top_p": "x"}])
def test_the_api_refuses_with_a_sentence(model, given):
    with pytest.raises(gr.Error, match=next(iter(given))):
        next(generate_text(model, SCHEDULER, "A cat", given))


def test_a_run_of_the_model_that_was_loaded_before_is_refused_in_a_sentence(model, bundled):
    store = TraceStore()
    kept = parts_of(handlers_of(model, store).write, controls_of(SETTINGS, prompt="A cat", variations=1))["kept"]
    assert handlers_of(model, store).kept("visitor", kept).trace.recipe.model == model.fingerprint
    later = handlers_of(bundled, store)
    with pytest.raises(RecipeError, match="model that was loaded before"):
        later.kept("visitor", kept)
    for shown in (later.read("visitor", 0, kept), later.inspect("visitor", 0, 0, kept)):
        assert shown.progress["state"] == "error" and "loaded before" in shown.progress["message"]
        assert shown.card == shown.strip == gr.skip()


def test_the_page_opens_with_the_recorded_run_of_its_model_and_stays_light(bundled):
    page = build_page(bundled)
    config = page.get_config_file()
    values = [part["props"].get("value") for part in config["components"]]
    (strip,) = [value for value in values if isinstance(value, dict) and value.get("recorded") and "look" in value]
    (flow,) = [value for value in values if isinstance(value, dict) and value.get("lines") and "cloud" in value]
    assert strip["run"] == flow["run"] and json.loads(strip["look"])
    assert len(json.dumps(strip)) + len(json.dumps(flow)) < 100_000

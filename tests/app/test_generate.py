"""The handlers of the tab Generate, as the plain generators that they are."""

import json

import gradio as gr
import pytest

from app.bundled_baseline import BundledBaseline
from app.desk import Desk, restore
from app.generate import generate_text
from app.settings_panel import values_of
from app.share import link_of
from app.trace_store import TraceStore
from coladlm import SamplerSettings
from coladlm.recipe import Recipe
from coladlm.run import run
from coladlm.serve import Scheduler

SCHEDULER = Scheduler()
BASELINE = BundledBaseline()
SETTINGS = SamplerSettings(steps=3, max_new_tokens=8, seed=5)
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


def generate(model, prompt, *values, variations=1):
    """(strip, progress, link) of every frame."""
    for written in Desk(model, TraceStore(), SCHEDULER, BASELINE).write("visitor", prompt, variations, *values):
        yield written.strip, written.progress, written.link


def _last(model, prompt, settings=SETTINGS):
    """The last value of each."""
    frames = list(generate(model, prompt, *values_of(settings)))
    return [[value for value in part if value != gr.skip()][-1] for part in zip(*frames, strict=True)]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_run_ends_done(model, prompt):
    strip, progress, link = _last(model, prompt)
    assert (strip["state"], progress["state"]) == ("done", "done")
    assert strip["prompt"] == prompt
    assert link["query"].startswith("?r=")


def test_the_same_settings_give_the_same_text(model):
    assert _last(model, PROMPTS[0])[0]["settled"] == _last(model, PROMPTS[0])[0]["settled"]


def test_another_seed_gives_another_text(model):
    other = SamplerSettings(steps=3, max_new_tokens=8, seed=6)
    assert _last(model, PROMPTS[0])[0]["settled"] != _last(model, PROMPTS[0], other)[0]["settled"]


@pytest.mark.parametrize(
    "prompt, values, said",
    [
        ("word " * 10_000, values_of(SETTINGS), "tokens"),
        ("x" * 300_000, values_of(SETTINGS), "characters"),
        ("broken \ud800", values_of(SETTINGS), "Unicode"),
        (None, values_of(SETTINGS), "text"),
        ("x", [0, 0, *values_of(SETTINGS)[2:]], "New tokens"),
        ("x", [-1, *values_of(SETTINGS)[1:]], "Seed"),
    ],
)
def test_what_is_wrong_comes_as_a_sentence(model, prompt, values, said):
    frames = list(generate(model, prompt, *values))
    assert len(frames) <= 2
    progress = frames[-1][1]
    assert progress["state"] == "error"
    assert said in progress["message"]
    assert progress["message"].endswith(".")
    assert "Traceback" not in progress["message"]


def test_a_closed_run_leaves_the_model_as_it_was(model):
    before = _last(model, PROMPTS[0])[0]["settled"]
    running = generate(model, PROMPTS[0], *values_of(SETTINGS))
    next(running), next(running)
    running.close()
    assert _last(model, PROMPTS[0])[0]["settled"] == before


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

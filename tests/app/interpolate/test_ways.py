"""The four ways side by side: each is the run of its own recipe, one may be refused, and Stop keeps the rest."""

import json

import gradio as gr
import pytest

from app.interpolate.handlers import MAX_BOXES, OPTION_NAMES, interpolate
from app.interpolate.tab import TITLES
from app.interpolate.ways import ORDER, compare_ways, use_way
from app.shared.settings_panel import values_of
from coladlm import SamplerSettings
from coladlm.latent.interpolate import Interpolation
from coladlm.recipe import Recipe
from coladlm.run import run

from ..viewing import Viewer, controls_of, parts_of

SETTINGS = SamplerSettings(steps=2, max_new_tokens=6, seed=5, guidance=2.0)
PAIR = ("The sun was warm", "The night was cold and dark")


def _controls(texts=PAIR, stops=4, tries=2, align="pad", settings=SETTINGS):
    boxes = {str(i + 1): texts[i] if i < len(texts) else "" for i in range(MAX_BOXES)}
    chosen = ("through_flow", stops, 80, tries, "arch", align, "")
    options = dict(zip(OPTION_NAMES, chosen, strict=True))
    return controls_of(settings, count=len(texts), texts=boxes, options=options)


@pytest.fixture
def view(model, scheduler):
    return lambda context, controls: compare_ways(model, scheduler, context, controls, TITLES)


def test_each_way_is_the_run_of_its_recipe(model, view):
    parts = parts_of(view, _controls())
    ways = parts["ways"]["ways"]
    assert (parts["ways"]["state"], parts["progress"]["state"]) == ("done", "done")
    assert [way["title"] for way in ways] == [TITLES[name] for name in ORDER]
    for name, way in zip(ORDER, ways, strict=True):
        recipe = Recipe.from_json(way["recipe"])
        assert (recipe.options["road"], recipe.texts, recipe.settings) == (name, PAIR, SETTINGS)
        assert Recipe.from_url(way["query"].removeprefix("?r=")) == recipe
        *_, last = (event for event in run(model, recipe) if isinstance(event, Interpolation))
        assert [waypoint["text"] for waypoint in way["waypoints"]] == [waypoint.text for waypoint in last.waypoints]
        assert all(len(waypoint["distances"]) == 2 for waypoint in way["waypoints"])
    assert Recipe.from_json(ways[1]["recipe"]).options["tries"] == 2


def test_the_first_frame_has_all_ways_and_comes_before_any_is_run(view):
    first = next(view(Viewer(), _controls()))
    assert [(way["state"], way["waypoints"]) for way in first["ways"]["ways"]] == [("waiting", [])] * 4
    assert first["progress"]["state"] == "running"


def test_stop_keeps_what_is_finished(view):
    context, latest = Viewer(), {}
    running = view(context, _controls())
    for frame in running:
        latest |= frame
        if latest["ways"]["ways"][1]["state"] == "running":
            break
    running.close()
    stopped = context.shown[-1]
    assert stopped["ways"]["state"] == "stopped"
    first, second, *others = stopped["ways"]["ways"]
    assert first["state"] == "done" and all(waypoint["text"] for waypoint in first["waypoints"])
    assert second["state"] == "running" and [way["state"] for way in others] == ["waiting", "waiting"]
    assert stopped["progress"]["message"] == "Stopped: 1 of 4 ways is finished."


def test_a_way_that_is_too_long_says_so_and_the_others_run(view):
    long = SamplerSettings(steps=2, max_new_tokens=1024, seed=5)
    parts = parts_of(view, _controls(stops=17, tries=1, settings=long))
    *others, last = parts["ways"]["ways"]
    assert [way["state"] for way in others] == ["done"] * 3
    assert last["state"] == "refused" and "expected at most 16,384 tokens" in last["note"]
    assert "recipe" not in last and parts["progress"]["parts"][0] == "3 of 4 ways"


def test_what_no_way_can_run_is_a_sentence(view):
    with pytest.raises(ValueError, match="Text 1 is empty, expected at least one token"):
        next(view(Viewer(), _controls(texts=("", PAIR[1]))))


def test_a_way_that_is_used_sets_the_controls_to_its_recipe_and_leaves_options_of_other_ways(model, scheduler, view):
    ways = parts_of(view, _controls())["ways"]["ways"]
    values = use_way(model, ways[0]["recipe"])
    first = 1 + MAX_BOXES + 2
    options = dict(zip(OPTION_NAMES, values[first:], strict=False))
    assert (options["road"], options["stops"], options["align"]) == ("decoder_only", 4, "pad")
    assert all(options[name] == gr.skip() for name in ("renoise", "tries", "profile"))
    assert values[first + len(OPTION_NAMES) : -1] == values_of(SETTINGS)
    assert [box["value"] for box in values[1:3]] == list(PAIR)
    assert values[-1]["message"] == "The controls are set: press Interpolate."
    chosen = {**_controls()["options"], **{n: v for n, v in options.items() if v != gr.skip()}}
    again = parts_of(lambda context, c: interpolate(model, scheduler, context, c), {**_controls(), "options": chosen})
    assert again["stage"]["waypoints"] == ways[0]["waypoints"]


@pytest.mark.parametrize("recipe", ["{", None, json.dumps({"operation": "interpolate"})])
def test_a_recipe_that_is_none_is_refused(model, recipe):
    with pytest.raises(ValueError, match="expected"):
        use_way(model, recipe)

"""The same interpolation in the four ways, side by side."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Iterator, Mapping
from typing import Any, NamedTuple

import gradio as gr

from coladlm import ColaDLM
from coladlm.latent.interpolate import MAX_TOKENS, METHODS
from coladlm.latent.invert import text_tokens
from coladlm.recipe import Recipe
from coladlm.serve import Scheduler

from ..components import FourWays, ProgressLine
from ..components.four_ways import WayState, way_value, ways_value
from ..components.progress_line import progress_value
from ..components.token_strip import State
from ..runs.registry import Frame, RunContext
from ..shared.errors import sentence
from ..shared.links import KEY, link_of
from ..shared.operation_controls import group, in_words
from ..shared.views import with_stopped_frame
from .frames import LiveInterpolation
from .handlers import OPTION_NAMES, WORDS, fill_boxes, recipe_of, restore

ORDER = ("decoder_only", "through_flow", "noise_to_noise", "prompt_to_prompt")  # the shortest first
assert set(ORDER) == set(METHODS)


class Compared(NamedTuple):
    """The four ways side by side, and the buttons of their run."""

    start: gr.Button
    stop: gr.Button
    ways: FourWays


def lay_out_ways() -> Compared:
    """What makes the same interpolation in the four ways, a workbench of its own."""
    with gr.Column(elem_classes="beside", elem_id="four-ways"):
        gr.HTML(
            "<p class='about'>There are four ways to make what lies between two texts. Compare them with the texts and "
            "settings that stand above.</p>",
            js_on_load=None,
        )
        with gr.Row(elem_classes="small-buttons"):
            start = gr.Button("Compare the four ways", min_width=40, elem_classes="small-run")
            stop = gr.Button("Stop", min_width=40, elem_classes="stop")
        ProgressLine(part="progress", elem_classes="fold-progress")
        ways = FourWays(part="ways", elem_id="ways")
    return Compared(start, stop, ways)


def compare_ways(
    model: ColaDLM,
    scheduler: Scheduler,
    context: RunContext,
    controls: Mapping[str, Any],
    titles: Mapping[str, str],
) -> Iterator[Frame]:
    """The view of what the controls say, see `recipe_of`, in each of the ways, one after another.

    titles: of the ways, in words. A way that cannot be run says why, if there is one that can.

    Parts: ways and progress. Raises ValueError with a sentence.
    """
    ways = [_Way(model, way, titles[way], controls) for way in ORDER]
    if all(way.recipe is None for way in ways):
        raise ValueError(ways[0].note)
    yield from with_stopped_frame(context, _Comparing(model, scheduler, context, ways).frames(), "ways")


class _Way:
    """One of the ways. recipe: None where it cannot be run, and `note` says why."""

    def __init__(self, model: ColaDLM, way: str, title: str, controls: Mapping[str, Any]) -> None:
        self.title, self.note = title, ""
        self.recipe: Recipe | None = None
        self.state: WayState = "waiting"
        self.link: dict[str, Any] = {}
        self.waypoints: list[dict[str, Any]] = []
        try:
            options = {**group(controls, "options"), "road": way}
            recipe = recipe_of(model, {**controls, "options": options})
            text_tokens(model, recipe.texts, MAX_TOKENS)
            self.recipe, self.link = recipe, link_of(recipe)
        except ValueError as error:
            self.refuse(error)

    def refuse(self, error: ValueError) -> None:
        self.state, self.note = "refused", in_words(sentence(error), WORDS)

    def value(self) -> dict[str, Any]:
        return way_value(self.title, self.state, self.link, self.waypoints, self.note)


class _Comparing:
    """The ways under way."""

    def __init__(self, model: ColaDLM, scheduler: Scheduler, context: RunContext, ways: list[_Way]) -> None:
        self.model, self.scheduler, self.context, self.ways = model, scheduler, context, ways
        self.texts = next(way.recipe.texts for way in ways if way.recipe is not None)
        self.begun = time.perf_counter()

    def frames(self) -> Generator[Frame]:
        yield self._frame("running", progress_value("running", ["starting"], 0.0, "Writing", stopped=self._stopped()))
        for number, way in enumerate(self.ways):
            if way.recipe is not None:
                yield from self._run(number, way, way.recipe)
        done = sum(way.state == "done" for way in self.ways)
        if not done:
            raise ValueError(self.ways[0].note)
        parts = [f"{done} of {len(self.ways)} ways", f"{time.perf_counter() - self.begun:.1f} s"]
        yield self._frame("done", progress_value("done", parts, 1.0, f"Done: {parts[0]}."))

    def _run(self, number: int, way: _Way, recipe: Recipe) -> Generator[Frame]:
        live = LiveInterpolation(self.model, recipe)
        try:
            events = self.scheduler.run(self.model, recipe, self.context.visitor, steps="some")
            with contextlib.closing(live.frames(events)) as frames:
                for frame in frames:
                    if live.began:
                        way.state, way.waypoints = "running", live.more["stage"]["waypoints"]
                    yield self._frame("running", self._progress(number, way, frame.progress))
            way.state = "done"
        except ValueError as error:
            way.refuse(error)

    def _progress(self, number: int, way: _Way, own: Mapping[str, Any]) -> dict[str, Any]:
        """The progress of all, from that of one."""
        state = own["state"] if own["state"] == "waiting" else "running"
        parts = [f"{way.title.lower()}, {number + 1} of {len(self.ways)}", *own["parts"]]
        share = (number + own["fraction"]) / len(self.ways)
        return progress_value(state, parts, share, own["message"] or "Writing", stopped=self._stopped())

    def _stopped(self) -> str:
        done = sum(way.state == "done" for way in self.ways)
        return f"Stopped: {done or 'none'} of {len(self.ways)} ways {'is' if done == 1 else 'are'} finished."

    def _frame(self, state: State, progress: dict[str, Any]) -> Frame:
        ways = [way.value() for way in self.ways]
        return {"ways": ways_value(self.context.id, state, self.texts, ways), "progress": progress}


def use_way(model: ColaDLM, recipe: Any) -> list[Any]:
    """What `restore` gives for the recipe of a way, as JSON; options that it does not have stay as they are.

    Raises RecipeError.
    """
    read = Recipe.from_json(recipe)
    *values, line = restore(model, {KEY: read.to_url()})
    if line["state"] == "error":
        return [*values, line]
    for place, name in enumerate(OPTION_NAMES, len(fill_boxes(()))):
        if name not in read.options:
            values[place] = gr.skip()
    return [*values, progress_value("idle", message="The controls are set: press Interpolate.")]

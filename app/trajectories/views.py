"""The views of the tab Trajectories: a run on the map, and a branch from a point of a run."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from coladlm.latent import has_holes
from coladlm.latent.branch import BranchRecorder, Spot, check_fits, sequence_key, start_branch
from coladlm.latent.steered import OPTION as STEERED
from coladlm.recipe import Described, Recipe, RecipeError
from coladlm.run import recorder
from coladlm.serve import Waiting
from coladlm.serve.requests import Events
from coladlm.trace import Trace
from coladlm.trace.recorder import TraceRecorder

from ..components.flow_map import flow_value
from ..components.progress_line import progress_value, stopped_value
from ..runs.registry import Frame, RunContext
from ..shared.errors import sentence
from ..shared.generation import begun
from ..shared.links import link_of
from ..shared.operation_controls import number, whole
from ..shared.run_facts import run_facts
from ..shared.settings_panel import in_labels, settings_of
from ..shared.trace_store import Run
from ..shared.waiting import waiting_parts
from .frames import LiveFlow
from .handlers import NOTHING_YET, Explorer, is_point, limited, name_of
from .measures import curves_value
from .records import RunWriter


class _Start(NamedTuple):
    """A run that is about to begin. events: of the model. watcher: records them into `record`. trace: of what was
    recorded. before: runs that are on the map now; others: those of them that stay. link: for a ShareLink, if any.
    """

    live: LiveFlow
    events: Events
    watcher: TraceRecorder | BranchRecorder
    record: TraceRecorder
    trace: Callable[[], Trace]
    before: Sequence[Run]
    others: Sequence[Run]
    number: int
    label: str
    branch: dict[str, Any] | None = None
    link: dict[str, Any] | None = None


def run_on_map(explorer: Explorer, context: RunContext, controls: Mapping[str, Any]) -> Iterator[Frame]:
    """The view of a run: what the controls `prompt`, `settings`, `add` (keep what is on the map) and `chosen` (the ids
    of the runs there) say. Parts: flow, progress, link, curves and kept. Raises ValueError with a sentence.
    """
    with _sentences():
        settings = explorer.model.plain(limited(settings_of(controls.get("settings"))))
        prompt = begun(explorer.model, controls.get("prompt"), settings.seed)
        if isinstance(prompt, str) and has_holes(prompt):
            raise RecipeError("The prompt", Described("one with holes"), "one to go on from: Generate fills holes")
        recipe = Recipe("generate", (prompt,), settings, model=explorer.model.fingerprint)
        yield from _map_first(explorer, context)
        yield from _Drawing(explorer, context, _start_run(explorer, context, recipe, controls)).frames()


def branch_on_map(explorer: Explorer, context: RunContext, controls: Mapping[str, Any]) -> Iterator[Frame]:
    """The view of a branch. Controls: `card` (that of the opened point), `noise` ("same" or "other"), `seed` of the
    other noise, `guidance`, `steps` and `chosen`. Parts: flow, progress, curves and kept. Raises ValueError.
    """
    with _sentences():
        yield from _Drawing(explorer, context, _start_branch(explorer, context, controls)).frames()


@contextlib.contextmanager
def _sentences() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ValueError(in_labels(sentence(error))) from error


def _start_run(explorer: Explorer, context: RunContext, recipe: Recipe, controls: Mapping[str, Any]) -> _Start:
    model, (prompt,), settings = explorer.model, recipe.texts, recipe.settings
    blocks, _ = model.new_blocks(len(model.tokenize(prompt)), settings)
    before = explorer.runs(context.visitor, controls.get("chosen"))
    others = explorer.others(context.visitor, controls.get("chosen")) if controls.get("add") else []
    count, label = explorer.store.next_number(context.visitor), name_of(prompt)
    record = recorder(recipe, dtype="float32")
    facts, name = run_facts(model, recipe), f"{count} · {label}"
    writer = RunWriter(explorer.charts, context.id, name, prompt, settings, facts=facts)
    live = LiveFlow(writer, settings.steps, blocks, explorer.lines(others) + writer.head)
    events = explorer.scheduler.run(model, recipe, context.visitor)
    return _Start(live, events, record, record, record.trace, before, others, count, label, link=link_of(recipe))


def _start_branch(explorer: Explorer, context: RunContext, controls: Mapping[str, Any]) -> _Start:
    model = explorer.model
    parent, spot = _spot(explorer, context.visitor, controls.get("card"))
    prompt, old = parent.trace.prompts[parent.sequence], parent.trace.recipe.settings
    changes = {
        "guidance": number(controls.get("guidance"), "Guidance"),
        "steps": whole(controls.get("steps"), "Steps a block"),
    }
    settings = limited(dataclasses.replace(old, **changes))
    fresh = None
    if controls.get("noise") == "other":  # as a seed of the sampler, which every browser holds
        fresh = dataclasses.replace(old, seed=whole(controls.get("seed"), "Seed of the noise")).seed
    left = {"run": parent.id, "block": spot.block, "step": spot.step}
    key = sequence_key(parent.trace, parent.sequence) if fresh is None else fresh
    options = {name: value for name, value in parent.trace.recipe.options.items() if name != STEERED.name}
    recipe = Recipe(
        "branch",
        (prompt,),
        settings,
        options={**options, **left, "key": key},
        model=model.fingerprint,
    )
    blocks, _ = model.new_blocks(len(model.tokenize(prompt)), settings)
    before = explorer.runs(context.visitor, controls.get("chosen"))
    others = explorer.others(context.visitor, controls.get("chosen"))
    count = explorer.store.next_number(context.visitor)
    label = f"branch of {parent.label.split(' · ')[0]}, block {spot.block + 1}, step {spot.step + 1}"
    facts, name = run_facts(model, recipe), f"{count} · {label}"
    writer = RunWriter(explorer.charts, context.id, name, prompt, settings, left, facts=facts)
    until = (spot.block, spot.step if settings.steps == old.steps else 0)
    lines = explorer.lines(others) + writer.head + "".join(writer.states(parent.trace, parent.sequence, until))
    live = LiveFlow(writer, settings.steps, blocks, lines, spot.block)
    record = BranchRecorder(parent.trace, spot, settings, recipe)
    events = explorer.scheduler.operate(
        model, lambda: start_branch(model, parent.trace, spot, settings, fresh), context.visitor, "branch"
    )
    trace = lambda: record.trace(model)  # noqa: E731
    return _Start(live, events, record, record.recorder, trace, before, others, count, label, left)


def _spot(explorer: Explorer, visitor: str, card: Any) -> tuple[Run, Spot]:
    """The run and the place in it of the opened point. Raises RecipeError, BranchError."""
    point = card.get("point") if isinstance(card, Mapping) else None
    if point is None:
        raise RecipeError("the point to branch from", Described("missing"), "one: open a point of a path first")
    if not is_point(point):
        raise RecipeError("the point to branch from", Described("not a point"), "one that was opened")
    parent = explorer.find(visitor, point["run"])
    if parent is None:
        raise RecipeError("the run to branch from", Described("not there any more"), "one of the list")
    check_fits(explorer.model, parent.trace)
    if point["step"] >= parent.trace.recipe.settings.steps:
        raise RecipeError("the point", Described("the end of its block"), "an earlier state to branch from")
    return parent, Spot(parent.sequence, point["block"], point["step"])


def _map_first(explorer: Explorer, context: RunContext) -> Iterator[Frame]:
    """Makes the map of a model that has none: the survey, in turns, and PCA; UMAP follows in the background."""
    if explorer.cloud.charts is not None:
        return
    with explorer.scheduler.alone(explorer.cloud.survey, context.visitor, "survey") as surveying:
        for event in surveying:
            waits = isinstance(event, Waiting)
            share, message = (0.0, ", ".join(waiting_parts(event))) if waits else event
            if waits and not event.ahead:
                yield {}  # a run that was stopped is noticed at a frame
                continue
            parts = ["first the map of this model", message]
            yield {"progress": progress_value("running", parts, share, "Making the map", context.id)}
    explorer.cloud.draw()


class _Drawing:
    """A run on the map, from its first frame to its last, which comes however it ends."""

    def __init__(self, explorer: Explorer, context: RunContext, start: _Start) -> None:
        self.explorer, self.context, self.start = explorer, context, start
        self.cloud = explorer.cloud_of_page()
        self.frame: dict[str, Any] = {}

    def frames(self) -> Iterator[Frame]:
        start, done = self.start, False
        first: dict[str, Any] = {"kept": None} if start.link is None else {"kept": None, "link": start.link}
        self.explorer.running.add(self.context.id)
        try:
            yield first
            with contextlib.closing(start.live.frames(start.events, start.watcher, start.record)) as frames:
                for flow, progress in frames:
                    self.frame = {"flow": {**flow, "cloud": self.cloud}, "progress": progress}
                    yield self.frame
            done = True
        finally:
            start.events.close()
            self.explorer.running.discard(self.context.id)
            self.context.show(self._last(done))

    def _last(self, done: bool) -> Frame:
        """What stands at the end. The run is kept under its id, in the list and to look into."""
        frame, start = dict(self.frame), self.start
        if not start.live.states:
            self.explorer.store.give_back(self.context.visitor, start.number)
        if not frame:
            return frame
        frame["progress"] = start.live.done().progress if done else stopped_value(frame["progress"])
        if not start.live.states:  # stopped before its first step: there is nothing of it
            lines = self.explorer.lines(start.before)
            flow = flow_value("done", lines) if lines else flow_value("empty", message=NOTHING_YET)
            frame["flow"] = {**flow, "cloud": self.cloud}
            return frame
        visitor, id_ = self.context.visitor, self.context.id
        trace = start.trace()
        run = self.explorer.keep(visitor, start.label, trace, 0, start.branch, id_, start.number)
        runs, lines = [*start.others, run], start.live.lines
        if trace.answers is not None and start.live.writer.left_out(len(trace.answer(0))):
            lines = self.explorer.lines(runs)  # without the sentence that was not whole
        frame["flow"] = {**frame["flow"], "state": "done" if done else "stopped", "lines": lines}
        frame["curves"] = curves_value(runs)
        frame["kept"] = {"run": id_, "shown": [one.id for one in runs]}
        return frame

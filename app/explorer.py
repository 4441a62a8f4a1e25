"""What the tab Trajectories does: runs on the map, branches from a point, files. Handlers without their layout."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import gradio as gr

from coladlm import ColaDLM, SamplerSettings
from coladlm.latent.branch import BranchRecorder, Spot, check_fits, sequence_key, start_branch
from coladlm.recipe import Recipe, RecipeError, Said
from coladlm.run import check_model, recorder
from coladlm.serve import Scheduler, Waiting
from coladlm.trace import Trace, TraceError

from .cloud import CloudHolder
from .components.flow_map import flow_value
from .components.progress_line import progress_value
from .components.saver import not_saved, saved
from .exports import measures_table, playable_page, trace_file
from .flow_records import RunWriter, trace_lines
from .live_flow import FlowFrame, LiveFlow
from .measured import curves_value, point_value
from .model_turn import sentence, waiting_parts
from .operation_controls import number, whole
from .settings_panel import check_limits, in_labels, settings_from
from .share import link_of
from .trace_store import Run, TraceStore

MOST_SHOWN = 4  # runs on one map
MOST_TOKENS = 256  # new ones of a run on the map: what a browser draws at once
MOST_SEQUENCES = 4  # that are taken from an uploaded trace
MAX_UPLOAD = 64 << 20  # bytes of a trace file
MAX_UNPACKED = 256 << 20
NOTHING_YET = "No run on the map. Press Run, and watch every word find its way out of the noise."
NO_CURVES = {"kinds": [], "runs": [], "summary": ""}
PATIENCE = 10.0  # seconds for a stopped run to end its step
FEW = 28  # characters of a prompt in the name of a run


class Shown(NamedTuple):
    """Values of the components that a run changes, in the order of the tab's outputs."""

    flow: Any = gr.skip()
    progress: Any = gr.skip()
    link: Any = gr.skip()
    choices: Any = gr.skip()
    curves: Any = gr.skip()


class Explorer:
    """The handlers. A visitor is known by the hash of the session; runs by their ids in the store."""

    def __init__(self, model: ColaDLM, cloud: CloudHolder, store: TraceStore, scheduler: Scheduler) -> None:
        self.model, self.cloud, self.store, self.scheduler = model, cloud, store, scheduler
        self.built_with = cloud.charts  # what the page itself brings to every visitor
        self._running: set[str] = set()  # visitors whose run is under way

    # what is on the map

    def runs(self, visitor: str, ids: Sequence[str] | None) -> list[Run]:
        """The runs with these ids that are still there, as many as a map has room for."""
        found = (self.store.get(visitor, id_) for id_ in ids or ())
        return [run for run in found if run is not None and self._fits(run)][:MOST_SHOWN]

    def recorded(self) -> list[tuple[str, str]]:
        """(label, id) of the recorded runs that this model can read: they are of the bundled one."""
        return [(label, id_) for label, id_ in self.store.shipped if self._fits(self.store.get("", id_))]

    def _fits(self, run: Run) -> bool:
        try:
            check_fits(self.model, run.trace)
        except ValueError:
            return False
        return True

    def lines(self, runs: Sequence[Run]) -> str:
        charts = self.cloud.charts
        return "".join("".join(trace_lines(charts, r.trace, r.sequence, r.id, r.label, r.branch)) for r in runs)

    def show(self, visitor: str, ids: Sequence[str] | None, play: bool = False) -> Shown:
        """These runs on the map, with their curves and what there is to say of them."""
        runs = self.runs(visitor, ids)
        if not runs or self.cloud.charts is None:
            return Shown(flow_value("empty", message=NOTHING_YET), curves=NO_CURVES)
        flow = self.on_map(flow_value("done", self.lines(runs), play=play))
        return Shown(flow, self.about(runs), curves=curves_value(runs))

    def about(self, runs: Sequence[Run]) -> Any:
        """A progress line that says so where a run was made with another model than the one that reads it here."""
        foreign = [run for run in runs if check_model(self.model, run.trace.recipe)]
        if not foreign:
            return gr.skip()
        names = ", ".join(run.label for run in foreign)
        said = f"Made with another model than the one that reads it here: {names}. Its words and distances are guesses."
        return progress_value("idle", message=said)

    def first(self, visitor: str) -> Shown:
        """What a visitor sees who opens the tab for the first time: the first recorded run, if there is one."""
        recorded = [id_ for _, id_ in self.recorded()[:1]]
        if not recorded or self.cloud.charts is None:
            return Shown()
        shown = self.show(visitor, recorded, play=True)._replace(choices=self.choices(visitor, recorded))
        if isinstance(shown.progress, dict) and shown.progress.get("state"):
            return shown
        return shown._replace(progress=progress_value("idle", message="A recorded run. Press Run for one of your own."))

    def on_map(self, value: dict[str, Any]) -> Any:
        """A value of the map, together with the cloud where the page came without it or with less."""
        charts = self.cloud.charts
        return value if charts is self.built_with else gr.update(value=value, cloud=charts.text)

    def choices(self, visitor: str, ids: Sequence[str] | None) -> Any:
        """The list of runs that can be shown, these of them chosen."""
        readable = [id_ for _, id_ in self.recorded()]
        shipped = [id_ for _, id_ in self.store.shipped]
        known = [(label, id_) for label, id_ in self.store.choices(visitor) if id_ not in shipped or id_ in readable]
        there = {id_ for _, id_ in known}
        return gr.CheckboxGroup(choices=known, value=[i for i in ids or () if i in there], visible=bool(known))

    # running

    def run(self, visitor: str, prompt: str, add: bool, ids: Sequence[str], *values: Any) -> Iterator[Shown]:
        """Runs what the controls say. values: of the settings panel."""
        try:
            settings = limited(settings_from(values))
            recipe = Recipe("generate", (prompt,), settings, model=self.model.fingerprint)
            blocks, _ = self.model.new_blocks(len(self.model.tokenize(prompt)), settings)
            yield from self._map_first(visitor)
            others = self.runs(visitor, ids)[: MOST_SHOWN - 1] if add else []
            record = recorder(recipe, dtype="float32")
            writer = RunWriter(self.cloud.charts, "live", "This run", prompt, settings)
            live = LiveFlow(writer, settings.steps, blocks, self.lines(others) + writer.head)
            frames = live.frames(self.scheduler.run(self.model, recipe, visitor), record, record)

            def keep() -> Run:
                return self.store.add(visitor, name_of(prompt), record.trace())

            yield from self._followed(visitor, frames, live, others, keep, link_of(recipe))
        except Exception as error:  # a visitor gets a sentence, never a traceback; see `sentence`
            yield wrong(error)

    def branch(
        self, visitor: str, point: dict | None, noise: str, seed: Any, guidance: Any, steps: Any, ids: Sequence[str]
    ) -> Iterator[Shown]:
        """Branches from the opened point, with the same noise or other, and adds the branch to the map."""
        try:
            parent, spot = self._spot(visitor, point)
            prompt, old = parent.trace.prompts[parent.sequence], parent.trace.recipe.settings
            changes = {"guidance": number(guidance, "Guidance"), "steps": whole(steps, "Steps a block")}
            settings = limited(dataclasses.replace(old, **changes))
            fresh = None
            if noise == "other":  # as a seed of the sampler, which every browser holds
                fresh = dataclasses.replace(old, seed=whole(seed, "Seed of the noise")).seed
            left = {"run": parent.id, "block": spot.block, "step": spot.step}
            key = sequence_key(parent.trace, parent.sequence) if fresh is None else fresh
            recipe = Recipe("branch", (prompt,), settings, options={**left, "key": key}, model=self.model.fingerprint)
            record = BranchRecorder(parent.trace, spot, settings, recipe)
            events = self.scheduler.operate(
                self.model, lambda: start_branch(self.model, parent.trace, spot, settings, fresh), visitor, "branch"
            )
            blocks, _ = self.model.new_blocks(len(self.model.tokenize(prompt)), settings)
            others = self.runs(visitor, ids)[: MOST_SHOWN - 1]
            writer = RunWriter(self.cloud.charts, "live", "The branch", prompt, settings, left)
            until = (spot.block, spot.step if settings.steps == old.steps else 0)
            lines = self.lines(others) + writer.head + "".join(writer.states(parent.trace, parent.sequence, until))
            live = LiveFlow(writer, settings.steps, blocks, lines, spot.block)
            number_of = parent.label.split(" · ")[0]
            label = f"branch of {number_of}, block {spot.block + 1}, step {spot.step + 1}"

            def keep() -> Run:
                return self.store.add(visitor, label, record.trace(self.model), branch=left)

            frames = live.frames(events, record, record.recorder)
            yield from self._followed(visitor, frames, live, others, keep, "")
        except Exception as error:
            yield wrong(error)

    def _followed(
        self, visitor: str, frames: Iterator[FlowFrame], live: LiveFlow, others: Sequence[Run],
        keep: Callable[[], Run], link: str,
    ) -> Iterator[Shown]:  # fmt: skip
        """A run under way; it is kept however it ends."""
        begun = False
        self._running.add(visitor)
        try:
            for flow, progress in frames:
                yield Shown(flow if begun else self.on_map(flow), progress, link)
                begun = True
        except GeneratorExit:
            frames.close()
            if begun:
                keep()
            raise
        finally:
            self._running.discard(visitor)
        ids = [run.id for run in others] + [keep().id]
        yield self.show(visitor, ids)._replace(
            progress=live.done().progress, link=link, choices=self.choices(visitor, ids)
        )

    def stopped(self, visitor: str, ids: Sequence[str] | None) -> Any:
        """The list of runs once a run that was stopped has come to rest and is kept."""
        patience = time.monotonic() + PATIENCE
        while visitor in self._running and time.monotonic() < patience:
            time.sleep(0.05)
        return self.choices(visitor, ids)

    def _map_first(self, visitor: str) -> Iterator[Shown]:
        """Makes the map of a model that has none: the survey, in turns, and PCA; UMAP follows in the background."""
        if self.cloud.charts is not None:
            return
        with self.scheduler.alone(self.cloud.survey, visitor, "survey") as surveying:
            for event in surveying:
                waits = isinstance(event, Waiting)
                share, message = (0.0, ", ".join(waiting_parts(event))) if waits else event
                if waits and not event.ahead:
                    continue
                parts = ["first the map of this model", message]
                yield Shown(progress=progress_value("running", parts, share, "Making the map", "map"))
        self.cloud.draw()

    # a point

    def open(self, visitor: str, run_id: str, block: int, step: int, place: int) -> tuple[dict, dict | None]:
        """(value of the card, the point as plain data) for a point that was clicked."""
        found = self.store.get(visitor, run_id)
        if found is None:
            return {"title": "This run is not there any more", "about": "Run it again.", "read": [], "near": []}, None
        trace, s = found.trace, found.sequence
        inside = all(isinstance(value, int) for value in (block, step, place))
        inside = inside and 0 <= block < trace.z.shape[1] and 0 <= place < trace.z.shape[3] and step >= 0
        if not inside or not trace.active[s, block]:
            raise RecipeError("the point", Said("not on this run"), "one of its states")
        recorded = trace.recorded[block]
        last = step >= len(recorded) or not recorded[step]
        if last and not trace.finished[block]:
            raise RecipeError("the point", Said("a state that the run never reached"), "one of its states")
        steps = trace.recipe.settings.steps
        state, cloud = steps if last else step, self.cloud.charts.cloud
        card = self.scheduler.look(lambda: point_value(self.model, cloud, found, block, state, place))
        return card, {"run": run_id, "block": block, "step": state, "place": place}

    def resumes(self, visitor: str, point: dict | None, noise: str, guidance: Any, steps: Any) -> bool:
        """Would going on from a point like this end as its run did?"""
        run = point and self.store.get(visitor, point["run"])
        if not run:
            return noise == "same"
        old = run.trace.recipe.settings
        return noise == "same" and guidance == old.guidance and steps == old.steps

    def _spot(self, visitor: str, point: dict | None) -> tuple[Run, Spot]:
        if point is None:
            raise RecipeError("the point to branch from", Said("missing"), "one: open a point of a path first")
        parent = self.store.get(visitor, point["run"])
        if parent is None:
            raise RecipeError("the run to branch from", Said("not there any more"), "one of the list")
        check_fits(self.model, parent.trace)
        if point["step"] >= parent.trace.recipe.settings.steps:
            raise RecipeError("the point", Said("the end of its block"), "an earlier state to branch from")
        return parent, Spot(parent.sequence, point["block"], point["step"])

    def take(self, visitor: str, run: Run) -> Run:
        """A run that was made elsewhere on the page, kept for the map. Raises RecipeError, BranchError."""
        check_fits(self.model, run.trace)
        limited(run.trace.recipe.settings)
        if self.cloud.charts is None:
            said = "There is no map of this model yet: press Run on the tab Trajectories once."
            raise RecipeError("the map of this model", Said("not made yet"), "a map", said)
        return self.store.add(visitor, name_of(run.trace.prompts[run.sequence]), run.trace, run.sequence)

    # files

    def upload(self, visitor: str, file: str | None, ids: Sequence[str]) -> Shown:
        """Shows a trace from a file. What is wrong with it comes as a sentence."""
        if file is None:
            return Shown()
        try:
            size = os.path.getsize(file)
            if size > MAX_UPLOAD:
                raise TraceError(f"the file has {size:,} bytes, expected at most {MAX_UPLOAD:,}")
            with open(file, "rb") as opened:
                trace = Trace.load(_Named(opened, "the file"), MAX_UNPACKED)
            check_fits(self.model, trace)
            if not trace.z.size:
                raise TraceError("the trace holds no step, expected at least one")
            said = check_model(self.model, trace.recipe) or "Opened."
            if self.cloud.charts is None:
                raise TraceError("there is no map of this model yet: press Run once, then open the file again")
            name = name_of(trace.prompts[0]) + " (file)"
            added = [self.store.add(visitor, name, trace, s) for s in range(min(MOST_SEQUENCES, len(trace.texts)))]
            if len(trace.texts) > MOST_SEQUENCES:
                said += f" The file holds {len(trace.texts)} texts; the map shows the first {MOST_SEQUENCES}."
        except Exception as error:
            return wrong(error)
        finally:
            os.unlink(file)  # it is in memory now, or it is nothing
        shown = [run.id for run in added]
        return self.show(visitor, shown)._replace(
            progress=progress_value("idle", message=said), choices=self.choices(visitor, shown)
        )

    def save(self, visitor: str, kind: str, ids: Sequence[str]) -> dict[str, Any]:
        """What is on the map as a file, for a Saver."""
        runs = self.runs(visitor, ids)
        if not runs or self.cloud.charts is None:
            return not_saved("There is no run on the map to save.")
        if kind == "npz":
            return saved("run.npz", "application/octet-stream", trace_file(runs[-1]))
        if kind == "csv":
            return saved("measures.csv", "text/csv", measures_table(self.cloud.charts, runs))
        page = playable_page(self.cloud.charts, self.lines(runs), curves_value(runs))
        return saved("flow-map.html", "text/html", page)


class _Named:
    """A file under a name for people: a visitor is not to read where the server put it."""

    def __init__(self, file: Any, name: str) -> None:
        self._file, self.name = file, name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._file, attribute)


def limited(settings: SamplerSettings) -> SamplerSettings:
    """Refuses what the page cannot draw. Raises SettingsError, RecipeError."""
    check_limits(settings)
    if settings.max_new_tokens > MOST_TOKENS:
        raise RecipeError("max_new_tokens", settings.max_new_tokens, f"at most {MOST_TOKENS} on the map")
    return settings


def name_of(prompt: str) -> str:
    """A run's name: the start of its prompt."""
    text = " ".join(prompt.split())
    return (text[:FEW].rstrip() + "…" if len(text) > FEW else text) or "no prompt"


def wrong(error: Exception) -> Shown:
    return Shown(progress=progress_value("error", message=in_labels(sentence(error))))

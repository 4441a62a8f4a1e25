"""What the tab Generate does with a prompt: writes, remembers the run for its visitor, and looks into it."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Generator, Iterator, Mapping
from typing import Any, NamedTuple

import gradio as gr

from coladlm import ColaDLM, SamplerSettings
from coladlm.baseline.bundled import BundledBaseline
from coladlm.latent import Filled
from coladlm.recipe import Described, Recipe, RecipeError
from coladlm.run import recorder
from coladlm.sampling.events import BlockDone, Event, Finished, Step
from coladlm.serve import Scheduler, Waiting
from coladlm.serve.requests import Events
from coladlm.trace import Trace

from ..components.flow_view import paths_value
from ..components.progress_line import progress_value, stopped_value
from ..components.text_rows import rows_value
from ..components.token_strip import State
from ..runs.registry import Frame, RunContext
from ..shared.charts import Charts
from ..shared.cloud_holder import CloudHolder
from ..shared.errors import sentence
from ..shared.generation import FILL, recipe_of
from ..shared.links import link_of
from ..shared.operation_controls import in_words, whole
from ..shared.row_frames import LiveRows, Row
from ..shared.trace_store import Run, TraceStore
from ..shared.waiting import waiting_parts
from .filling import NOTE, check_size, filling_rows, references, segments_of, start_of
from .frames import LiveRun
from .given import stage_text
from .inspection import paths_of, token_value, with_answers
from .other_texts import WORDS, check_negative, options_of
from .paths import NO_MAP, TOO_LONG, PathWriter
from .recorded import RECORDED
from .row_steps import with_steps
from .steered import with_steered

MOST_BYTES = 64 << 20  # of one recorded run; a longer one is written and not kept to look into
NO_ROWS = rows_value("", "empty")
GONE = "The run is not there any more: press Run to write it again."
OTHER_MODEL = "The run was made with the model that was loaded before: press Run to write a text with this one."
NONE_YET = "There is no run yet: press Run first."


class Shown(NamedTuple):
    """Values of the components that looking into a run changes, in the order of the tab's outputs.

    kept: {"run", "sequence", "seconds"} of the run that can be looked into, None where there is none. link: see
    `link_of`; that of the text on the stage.
    """

    strip: Any = gr.skip()
    flow: Any = gr.skip()
    progress: Any = gr.skip()
    card: Any = gr.skip()
    kept: Any = gr.skip()
    link: Any = gr.skip()


class LiveVariations(LiveRows):
    """All sequences of a run below each other; those of a prompt with holes at the end as whole texts, best first."""

    def __init__(self, model: ColaDLM, recipe: Recipe, first: LiveRun) -> None:
        self.filled: Filled | None = None
        self.best: list[Row] = []
        self.lead = None if recipe.operation == FILL else ""  # what stands before a row: None for its prompt
        if recipe.operation == FILL:
            rows = filling_rows(model, recipe)
        else:
            before, room = first.prompt_ids[-8:], recipe.settings.max_new_tokens
            rows = [Row(f"no. {i + 1}", context=before, room=room, skip=first.skip) for i in range(recipe.variations)]
        super().__init__(model, recipe, rows, first.blocks, bool(first.ends), first.clock)
        self.run, self.read, self.turned = first.run, first.read, first.turned

    def stopped(self, trace: Trace) -> Any:
        """The rows of a run that was stopped: what there is can be looked into."""
        for number, (row, text) in enumerate(zip(self.rows, trace.texts, strict=True)):
            row.text, row.score = text or " ", f"{len(trace.answer(number))} tokens"
        return self.frame("stopped", [], 0.0, "").rows

    def after(self, event: Any) -> Any:
        if isinstance(event, Filled):
            self.filled, self.notes = event, [NOTE]
            self.best = [self.rows[found.row] for found in event.candidates]
            for rank, (row, found) in enumerate(zip(self.best, event.candidates, strict=True), 1):
                row.label, row.lead = f"no. {rank}", ""  # the finished text comes whole
                row.text, row.score, row.final = found.text, f"misfit {found.misfit:.2f}", segments_of(found)
            return None
        if isinstance(event, Finished) and self.filled is None:
            for row, text, ids in zip(self.rows, event.texts, event.token_ids, strict=True):
                row.text, row.score, row.live = text or " ", f"{len(ids)} tokens", []
        return super().after(event)

    def shown(self) -> list[Row]:
        return self.rows if self.filled is None else self.best

    def sequences(self) -> tuple[list[int], str | None]:
        """The sequences of the rows that are shown, and what stands before each, see `steps_of`."""
        if self.filled is not None:
            return [found.row for found in self.filled.candidates], self.lead
        return list(range(len(self.rows))), self.lead

    def outcome(self) -> list[str]:
        different = len({row.text for row in self.shown()})
        return [f"{len(self.rows)} texts", f"{different} different", *self.turned]


class GenerateHandlers:
    """The handlers of a model. Runs are known by their ids in the store."""

    def __init__(
        self,
        model: ColaDLM,
        store: TraceStore,
        scheduler: Scheduler,
        baseline: BundledBaseline,
        cloud: CloudHolder | None = None,
        recorded: Run | None = None,
    ) -> None:
        """cloud: the model's map, on which the paths of runs are drawn. recorded: the run that the tab opens with."""
        self.recorded = recorded
        self.model, self.store, self.scheduler, self.baseline, self.cloud = model, store, scheduler, baseline, cloud

    @property
    def charts(self) -> Charts | None:
        return None if self.cloud is None else self.cloud.charts

    def first(self) -> Shown | None:
        """What the tab opens with: the recorded run, if there is one."""
        if self.recorded is None:
            return None
        trace = self.recorded.trace
        strip = stage_text(self.model, trace, 0, RECORDED)
        strip["recorded"] = f"a recorded run, seed {trace.recipe.settings.seed}, unedited"
        kept = {"run": RECORDED, "sequence": 0, "seconds": None}
        return Shown(strip, self.paths(trace, 0, RECORDED, "done"), kept=kept)

    def write(self, context: RunContext, controls: Mapping[str, Any]) -> Iterator[Frame]:
        """The view of a run: what the controls `prompt`, `variations`, `settings`, `others` and `steered` say.

        Parts: strip, flow, progress, link, rows, card and kept. Raises ValueError with a sentence.
        """
        try:
            prompt, variations, settings = (controls.get(name) for name in ("prompt", "variations", "settings"))
            options = options_of(controls.get("others"))
            recipe = recipe_of(self.model, prompt, variations, settings, options)
            check_negative(recipe)
            recipe = with_steered(self.model, recipe, prompt, controls.get("steered"))
            if recipe.operation == FILL:
                check_size(self.model, recipe)
            writing = Writing(self, context, recipe)
            writing.live.opened = recipe.texts[0] != prompt
            yield from writing.frames()
        except ValueError as error:
            raise ValueError(in_words(sentence(error), WORDS)) from error

    def kept(self, visitor: str, kept: Mapping[str, Any] | None) -> Run:
        """The run that the value of a RunResult names, its sequence chosen. Raises RecipeError for one that is gone, or
        whose token ids and latents are those of another model than is loaded now.
        """
        named = kept if isinstance(kept, Mapping) else {}
        id_, sequence = named.get("run"), named.get("sequence")
        found = self.store.get(visitor, id_) if isinstance(id_, str) else None
        if self.recorded is not None and id_ == RECORDED:
            found = self.recorded
        if found is None:
            raise RecipeError("a finished run", Described("missing"), "one", GONE if kept else NONE_YET)
        if found.trace.recipe.model != self.model.fingerprint:
            raise RecipeError("the run's model", found.trace.recipe.model, self.model.fingerprint, OTHER_MODEL)
        return Run(found.id, found.label, found.trace, _sequence_of(found, sequence))

    def paths(self, trace: Trace, sequence: int, run: str, state: State) -> dict[str, Any]:
        """The value of a FlowView for a run that is over."""
        charts = self.charts
        none = charts is None
        value = paths_value(run, state, note=NO_MAP) if none else paths_of(charts, trace, sequence, run, state)
        return {**value, "fresh": trace.recipe.settings.stochasticity > 0}

    def without_fresh_noise(self, visitor: str, kept: Mapping[str, Any] | None) -> Recipe:
        """The recipe of a run with stochasticity 0. Raises RecipeError."""
        recipe = self.kept(visitor, kept).trace.recipe
        return dataclasses.replace(recipe, settings=dataclasses.replace(recipe.settings, stochasticity=0.0))

    def read(self, visitor: str, row: Any, kept: Mapping[str, Any] | None) -> Shown:
        """Another text of the rows in the strip, to scrub and to look into: a variation, or one from before it was
        steered.
        """
        try:
            kept = _of_rows(kept, row)
            found = self.kept(visitor, kept)
            sequence = found.sequence if kept and "rows" in kept else _sequence_of(found, row)
            strip = stage_text(self.model, found.trace, sequence, f"{found.id}-{sequence}") | steered_marks(kept)
            said = f"no. {sequence + 1} of {len(found.trace.texts)}" if "rows" not in (kept or {}) else "its own steps"
            note = progress_value("done", [said], 1.0)
            flow = self.paths(found.trace, sequence, f"{found.id}-{sequence}", "done")
            link = link_of(found.trace.recipe)
            return Shown(strip, flow, note, card=None, kept={**(kept or {}), "sequence": sequence}, link=link)
        except Exception as error:
            return Shown(progress=progress_value("error", message=sentence(error)))

    def inspect(
        self, visitor: str, block: Any, token: Any, kept: Mapping[str, Any] | None, requested: Any = None
    ) -> Shown:
        """What is to know of a token of the answer. requested: see TokenCard."""
        try:
            found = self.kept(visitor, kept)
            run, word_ends = (self.model, found.trace, found.sequence), self.baseline.get(self.model.device).word_ends
            card = self.scheduler.look(lambda: token_value(*run, block, token, word_ends))
            return Shown(card={**card, "requested": requested})
        except Exception as error:
            return Shown(progress=progress_value("error", message=sentence(error)))


class Writing:
    """A run of the tab, from its recipe to its last frame, which comes however it ends."""

    def __init__(self, handlers: GenerateHandlers, context: RunContext, recipe: Recipe) -> None:
        self.handlers, self.context, self.recipe = handlers, context, recipe
        model = handlers.model
        self.record = recorder(recipe, dtype="float32") if recorded_bytes(model, recipe) <= MOST_BYTES else None
        record = self.record
        charts = handlers.charts
        if record is None:
            self.live = LiveRun(model, recipe)
        else:
            self.live = LiveRun(model, recipe, read=lambda step: record.read())
            if charts is not None:
                self.live.paths = PathWriter(charts, self.live.skip // model.patch_size)
        self.note = TOO_LONG if record is None else NO_MAP
        self.live.run = context.id
        several = recipe.variations > 1 or recipe.operation == FILL
        self.rows = LiveVariations(model, recipe, self.live) if several else None
        self.frame: dict[str, Any] = {}

    def frames(self) -> Generator[Frame]:
        yield {"link": link_of(self.recipe), "card": None, "kept": None, "rows": NO_ROWS}
        events = self.handlers.scheduler.run(self.handlers.model, self.recipe, self.context.visitor)
        follow = _Follow(events if self.record is None else self.record.watch(events), self.rows)
        done = False
        try:
            with contextlib.closing(self.live.frames(iter(follow))) as frames:
                for strip, progress in frames:
                    self.frame = {"strip": strip, "flow": self._flow(strip["state"]), "progress": progress}
                    if self.rows is not None:
                        self.frame["rows"], self.frame["progress"] = follow.frame()
                    yield self.frame
            done = True
        finally:
            self.frame = dict(self._last(done))
            self.context.show(self.frame)

    @property
    def text(self) -> str:
        """The first text, as far as it has been written."""
        return self.live.model.read(self.live.answer)

    def _flow(self, state: State) -> dict[str, Any]:
        paths = self.live.paths
        run, fresh = self.live.run, self.recipe.settings.stochasticity > 0
        value = paths_value(run, state, note=self.note) if paths is None else paths.value(run, state)
        return {**value, "fresh": fresh}

    def _last(self, done: bool) -> Frame:
        """What stands at the end. The run is kept under its id, so that it can be looked into."""
        frame, live = dict(self.frame), self.live
        if not done and frame:
            frame["progress"] = stopped_value(frame["progress"])
            frame["strip"] = {**frame["strip"], "state": "stopped"}
            frame["flow"] = {**frame["flow"], "state": "stopped"}
        if self.record is None or not (live.answer or live.live):
            return frame
        trace = with_answers(self.handlers.model, self.record.trace())
        self.handlers.store.add(self.context.visitor, "written", trace, id_=self.context.id)
        state = "done" if done else "stopped"
        kept: dict[str, Any] = {"run": self.context.id, "sequence": 0, "seconds": live.clock() - live.started}
        if self.rows is not None and self.rows.filled is not None:
            kept = references(kept, self.rows.filled)
        at = kept["sequence"]
        frame["strip"] = {**stage_text(self.handlers.model, trace, at, live.run, state), "live": frame["strip"]["live"]}
        frame["flow"] = self.handlers.paths(trace, at, live.run, state)
        if self.rows is not None:
            rows = frame["rows"] if done else self.rows.stopped(trace)
            frame["rows"] = with_steps(rows, self.handlers.model, trace, *self.rows.sequences())
        frame["kept"] = kept
        return frame


class _Follow:
    """Events on their way to a LiveRun, with rows that follow the same events."""

    def __init__(self, events: Events | Generator[Any], rows: LiveVariations | None) -> None:
        self.events, self.rows = events, rows
        self._step: Step | None = None
        self._frame: Any = None if rows is None else rows.frame("running", ["starting"], 0.0, "Writing")

    def __iter__(self) -> Iterator[Event]:
        try:
            for event in self.events:
                self._step = event if isinstance(event, Step) else None
                if self.rows is not None and isinstance(event, Waiting) and event.ahead:
                    self._frame = self.rows.frame("running", waiting_parts(event), 0.0, "Waiting")
                if self.rows is not None and isinstance(event, BlockDone | Filled | Finished):
                    self._frame = self.rows.after(event) or self._frame
                yield event
        finally:
            self.events.close()

    def frame(self) -> Any:
        """The rows at the event that was passed on last."""
        if self._step is not None and self.rows is not None:
            self._frame, self._step = self.rows.after(self._step), None
        return self._frame


def _of_rows(kept: Mapping[str, Any] | None, row: Any) -> Mapping[str, Any] | None:
    """The value of a RunResult for a row, where it names a run for each of them. Raises RecipeError."""
    rows = kept.get("rows") if isinstance(kept, Mapping) else None
    if rows is None:
        return kept
    number = whole(row, "The text")
    if not isinstance(rows, list) or not 0 <= number < len(rows) or not isinstance(rows[number], Mapping):
        raise RecipeError("the text", number, "one of those below")
    return {**rows[number], "rows": rows}


def steered_marks(kept: Mapping[str, Any] | None) -> dict[str, int]:
    """What a TokenStrip is told of a text that was steered, by the value of its RunResult: `pinned`,
    `after` and `before`.
    """
    kept = kept if isinstance(kept, Mapping) else {}
    rows, before, pinned = kept.get("rows"), kept.get("before"), kept.get("pinned")
    after = kept.get("after")
    marks = {"pinned": pinned} if isinstance(pinned, int) else {}
    marks |= {"after": after} if marks and isinstance(after, int) else {}
    if isinstance(rows, list) and isinstance(before, Mapping):
        named = [(ref.get("run"), ref.get("sequence")) if isinstance(ref, Mapping) else None for ref in rows]
        if (one := (before.get("run"), before.get("sequence"))) in named:  # else it was forgotten
            marks["before"] = named.index(one)
    return marks


def _sequence_of(run: Run, number: Any) -> int:
    """The sequence of a run with this number, counted from 0. Raises RecipeError."""
    sequence = whole(number, "The variation")
    if not 0 <= sequence < len(run.trace.texts):
        raise RecipeError("the variation", sequence, "one of this run")
    return sequence


def recorded_bytes(model: ColaDLM, recipe: Recipe) -> int:
    """About how large the trace of a run gets, in bytes."""
    settings: SamplerSettings = recipe.settings
    longest = max(map(len, start_of(model, recipe).answers))
    places = -(-longest // model.patch_size) + model.in_blocks_of(settings).block_size
    a_place = settings.steps * (4 * 4 * model.latent_dim + 16 * model.patch_size + 8)
    return recipe.variations * places * a_place

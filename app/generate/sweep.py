"""A sweep: settings or prompts by a few values each, every text beside the others, with numbers."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any

import gradio as gr

from coladlm import ColaDLM, SamplerSettings
from coladlm.baseline.bundled import BundledBaseline
from coladlm.batch import Batch, OperationRun, pass_on
from coladlm.latent.other_texts import with_other_texts
from coladlm.sampling.events import BlockDone, Finished
from coladlm.serve import ClosingError, Scheduler, Waiting

from ..components import ChoiceBox, ProgressLine, RunResult
from ..components.interval_curve import IntervalCurve
from ..components.progress_line import State, progress_value
from ..components.saver import Saver, not_saved, saved
from ..components.text_grid import TextGrid, grid_value
from ..runs.registry import Frame, RunContext, View
from ..shared.bounded_store import BoundedStore
from ..shared.errors import sentence
from ..shared.event_options import EVERY, EventOptions
from ..shared.operation_controls import in_words
from ..shared.resident import Resident
from ..shared.run_controls import connect_view, visitor_of_run
from ..shared.saving import file_or_reason
from ..shared.settings_panel import SettingsPanel, settings_of, values_of
from ..shared.views import with_stopped_frame
from ..shared.waiting import waiting_parts
from .comparisons import about, run_and_stop, run_panel
from .differences import numbers, numbers_in_words
from .frames import shown_prompt
from .other_texts import WORDS, OtherTexts, options_of
from .sweep_cells import NOTHING, PROMPT, SWEPT, Axis, Cell, Outcome, axis_of, cells_of
from .sweep_curve import curve_of
from .sweep_table import sweep_table

MOST_KEPT, MOST_SWEEPS = 4096, 256  # texts, and sweeps that can be saved, of all visitors
MOST_BYTES = 16 << 20
MAX_SECONDS = 2 * 60 * 60
VALUES = "One per line, or separated by commas; prompts one per line."
FILES = [("csv", "Table (CSV)", "A row for every text: prompt, settings, text, measures, seconds")]
QUICK: EventOptions = {"show_progress": "hidden", "api_visibility": "private"}


def build(
    resident: Resident, prompt: gr.Textbox, variations: gr.Slider, panel: SettingsPanel, others: OtherTexts
) -> dict[str, View]:  # fmt: skip
    """The sweep in a panel; a text's prompt and settings go into the controls on a click. Returns its view by name."""
    sweeps = resident.per_model(lambda model: Sweeps(model, resident.scheduler, resident.baseline))
    with run_panel("sweep"):
        about("The prompt above, written once for every combination of values. What shares the same "
              "flow (seeds, lengths, prompts, choices of words) runs as one batch. Texts that are finished "
              "stay when you change the grid: they are not written again.")  # fmt: skip
        with gr.Row(elem_classes="decode"):
            controls = {
                **_axis_controls("down", "Down", "What changes from row to row.", "guidance", "1, 1.5, 3"),
                **_axis_controls("across", "Across", "And from column to column.", "steps", "4, 16"),
                **_axis_controls("by", "And by", "A third: one grid for each of its values.", NOTHING, "",
                                 "Values by"),
            }  # fmt: skip
        start, stop = run_and_stop("Run the sweep")
        ProgressLine(part="progress", elem_classes="fold-progress")
        saver = Saver("Save", FILES, elem_id="sweep-save")
        grid = TextGrid(part="grid", elem_id="grid")
        IntervalCurve(part="curve", elem_id="sweep-curve")
        kept = RunResult(part="kept")

    def on_use(event: gr.EventData) -> list[Any]:
        return [event.prompt, 1, *values_of(SamplerSettings.from_dict(event.settings))]

    def on_save(event: gr.EventData, kept: dict[str, Any] | None, request: gr.Request) -> dict[str, Any]:
        return file_or_reason(lambda: sweeps().save(visitor_of_run(request, kept), kept))

    named = {"prompt": prompt, **controls, **panel.by_name, **others.by_name}
    connect_view("sweep", [start.click], stop, "sweep", named)
    grid.select(on_use, None, [prompt, variations, *panel.inputs], queue=False, **QUICK)
    saver.select(on_save, kept, saver, queue=False, **EVERY, **QUICK)
    return {"sweep": sweeps.view(Sweeps.write)}


def _axis_controls(
    name: str, label: str, hint: str, setting: str, values: str, of_values: str = ""
) -> dict[str, gr.components.Component]:  # fmt: skip
    """A setting and its values, by the names that the view has for them."""
    nothing = [("nothing else", NOTHING)] if setting == NOTHING else []
    chosen = ChoiceBox(label, hint, [*nothing, *SWEPT], setting, elem_classes="setting")
    words = of_values or f"Values {label.lower()}"
    texts = gr.Textbox(values, label=words, info=VALUES, lines=2, max_lines=8, min_width=160, elem_classes="setting")
    return {f"{name}.setting": chosen, f"{name}.values": texts}


class Sweeps:
    """The sweeps over a model. A text that has come to its end is kept for its visitor by its recipe, so that a grid
    that is changed, or was stopped, writes only what is new in it.
    """

    def __init__(self, model: ColaDLM, scheduler: Scheduler, baseline: BundledBaseline) -> None:
        self.model, self.scheduler, self.baseline = model, scheduler, baseline
        self.outcomes: BoundedStore[tuple[str, str], Outcome] = BoundedStore(
            MOST_KEPT, MOST_BYTES, MAX_SECONDS, lambda outcome: 500 + 4 * len(outcome.text)
        )
        self.tables: BoundedStore[tuple[str, str], list[Cell]] = BoundedStore(
            MOST_SWEEPS, MOST_BYTES, MAX_SECONDS, lambda cells: sum(2000 + 4 * len(c.text + c.prompt) for c in cells)
        )

    def write(self, context: RunContext, controls: Mapping[str, Any]) -> Iterator[Frame]:
        """The view of a text for every combination of values.

        Controls: prompt, settings, others, and down, across and by, each {"setting": its name, "values": in words};
        `by` may be absent. Parts: grid, progress, curve and kept. Raises ValueError with a sentence.
        """
        try:
            base = settings_of(controls.get("settings"))
            down, across = (axis_of(controls.get(name)) for name in ("down", "across"))
            by = axis_of(controls["by"]) if controls.get("by") is not None else None
            axes = [axis for axis in (by, down, across) if axis is not None]
            options = options_of(controls.get("others"))
            cells = cells_of(base, controls.get("prompt"), axes, self.model.fingerprint, options)
            running = _Sweep(self, cells, (by, down, across), context)
            yield from with_stopped_frame(context, running.frames(), "grid")
        except ValueError as error:
            raise ValueError(in_words(sentence(error), WORDS)) from error

    def save(self, visitor: str, kept: Mapping[str, Any] | None) -> dict[str, Any]:
        """The texts of a sweep that have come to their end, for a Saver. kept: what the view gave as its part."""
        run = kept.get("run") if isinstance(kept, Mapping) else None
        cells = self.tables.get((visitor, run)) if isinstance(run, str) else None
        if not cells or not any(cell.outcome for cell in cells):
            return not_saved("There is no finished text to save: run the sweep.")
        return saved("sweep.csv", "text/csv", sweep_table(cells))


class _Sweep:
    """A sweep under way: its cells, batch by batch, one for each flow."""

    def __init__(self, sweeps: Sweeps, cells: list[Cell], axes: Sequence[Axis | None], context: RunContext) -> None:
        self.sweeps, self.model, self.scheduler, self.cells = sweeps, sweeps.model, sweeps.scheduler, cells
        self.axes, self.context = axes, context
        self.lead = "" if any(axis and axis.name == PROMPT for axis in axes) else shown_prompt(cells[0].prompt)
        self.batches: dict[Any, list[Cell]] = {}
        for cell in cells:
            known = sweeps.outcomes.get(self._key(cell))
            if known is not None:
                self._end(cell, known)
            else:
                self.batches.setdefault(cell.settings.flow, []).append(cell)
        self.known = self.done = sum(cell.outcome is not None for cell in cells)
        self.begun = time.perf_counter()

    def frames(self) -> Generator[Frame]:
        self.sweeps.tables.keep((self.context.visitor, self.context.id), self.cells)
        yield {**self._running(["starting"], self._share()), "kept": {"run": self.context.id}, "curve": None}
        for batch in self.batches.values():
            for share in self._run(batch):
                if isinstance(share, Waiting) and share.ahead:
                    state: State = "running" if self.done else "waiting"
                    yield self._running(waiting_parts(share), self._share(), state, "Waiting")
                else:  # a frame also where nothing is new: a run that is stopped ends at one
                    written = 0.0 if isinstance(share, Waiting) else share * len(batch)
                    parts = [f"{self.done} of {len(self.cells)} texts", self._seconds()]
                    yield self._running(parts, self._share(written))
            self.done += len(batch)
        curve = self.scheduler.look(self._curve)
        yield {**self._frame("done", progress_value("done", self._sum(), 1.0, "Done.")), "curve": curve}

    def _run(self, cells: Sequence[Cell]) -> Iterator[float | Waiting]:
        """Writes cells of one flow as one batch; the share that is done, block by block."""
        begun = time.perf_counter()
        longest = max(self.model.new_blocks(len(self.model.tokenize(c.prompt)), c.settings)[0] for c in cells)
        operation, finished = functools.partial(self._operation, cells), None
        with contextlib.closing(
            self.scheduler.operate(self.model, operation, self.context.visitor, "sweep", steps="none")
        ) as events:
            for event in events:
                if isinstance(event, Waiting):
                    yield event
                elif isinstance(event, BlockDone):
                    for cell, text in zip(cells, event.texts, strict=True):
                        cell.text = text
                    yield (event.block + 1) / longest
                elif isinstance(event, Finished):
                    finished = event
        if finished is None:
            raise ClosingError
        seconds = (time.perf_counter() - begun) / len(cells)
        found = zip(cells, finished.texts, finished.reasons, finished.token_ids, strict=True)
        for cell, text, reason, ids in found:
            outcome = Outcome(text, reason == "end", len(ids), seconds)
            self.scheduler.look(functools.partial(self._measure, cell, outcome))
            self._end(cell, outcome)
            self.sweeps.outcomes.keep(self._key(cell), outcome)
        yield 1.0

    def _operation(self, cells: Sequence[Cell]) -> OperationRun:
        texts = {cell.prompt: self.model.encode_texts([cell.prompt])[0] for cell in cells}
        plans = [self.model.plan_encoded(texts[cell.prompt], cell.settings) for cell in cells]
        own = [dataclasses.replace(plan, settings=cell.settings) for plan, cell in zip(plans, cells, strict=True)]
        own = with_other_texts(self.model, own, cells[0].recipe.options)  # the same for all
        return pass_on(Batch(own, cells[0].settings))

    def _key(self, cell: Cell) -> tuple[str, str]:
        return self.context.visitor, cell.recipe.key()

    def _measure(self, cell: Cell, outcome: Outcome) -> None:
        baseline = self.sweeps.baseline.get(self.model.device)
        outcome.numbers = numbers(baseline, cell.prompt, outcome.text, outcome.ended, outcome.tokens)

    def _curve(self) -> dict[str, Any] | None:
        by, *others = self.axes
        axes = [axis for axis in (*others, by) if axis is not None]
        return curve_of(axes, self.cells, self.sweeps.baseline.get(self.model.device))

    def _end(self, cell: Cell, outcome: Outcome) -> None:
        """Shows what a cell has come to, in words and numbers."""
        cell.text, cell.outcome = outcome.text, outcome
        told = [f"{outcome.tokens} tokens", f"{outcome.seconds:.1f} s", *numbers_in_words(outcome.numbers)]
        cell.measures = ", ".join(told)

    def _frame(self, state: str, progress: dict[str, Any]) -> Frame:
        cells = [(cell.text, cell.measures, cell.settings.to_dict(), cell.prompt) for cell in self.cells]
        sheets, rows, columns = ([""] if axis is None else axis.labels() for axis in self.axes)
        names = ["" if axis is None else axis.name for axis in self.axes]
        prompts = ("sheets", "rows", "columns")[names.index(PROMPT)] if PROMPT in names else ""
        return {"grid": grid_value(state, self.lead, sheets, rows, columns, cells, prompts), "progress": progress}

    def _running(self, parts: list[str], share: float, state: State = "running", message: str = "Writing") -> Frame:
        stopped = ""
        if self.done or share:
            are = "is" if self.done == 1 else "are"
            stopped = f"Stopped: {self.done or 'none'} of {len(self.cells)} texts {are} finished."
        return self._frame("running", progress_value(state, parts, share, message, stopped=stopped))

    def _share(self, more: float = 0.0) -> float:
        """The share of the texts that are done, with those of `more` texts."""
        return (self.done + more) / len(self.cells)

    def _sum(self) -> list[str]:
        """What the whole sweep was, in a few words each."""
        count = len(self.batches)
        batches = [] if not count else ["one batch" if count == 1 else f"{count} batches"]
        known = [f"{self.known} from before"] if self.known else []
        return [f"{len(self.cells)} texts", *known, *batches, self._seconds()]

    def _seconds(self) -> str:
        return f"{time.perf_counter() - self.begun:.1f} s"

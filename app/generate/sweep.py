"""A sweep: two settings by a few values each, every text beside the others, with numbers."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import gradio as gr

from coladlm import ColaDLM, SamplerSettings
from coladlm.baseline.bundled import BundledBaseline
from coladlm.batch import Batch, OperationRun, pass_on
from coladlm.recipe import Described, Recipe, RecipeError
from coladlm.sampling.events import BlockDone, Finished
from coladlm.serve import ClosingError, Scheduler, Waiting
from coladlm.settings import HISTORIES, SOLVERS, TIME_GRIDS

from ..components import ChoiceBox, ProgressLine
from ..components.progress_line import State, progress_value
from ..components.text_grid import TextGrid, grid_value
from ..runs.registry import Frame, RunContext, View
from ..shared.errors import labelled_errors
from ..shared.event_options import EventOptions
from ..shared.resident import Resident
from ..shared.run_controls import connect_view
from ..shared.settings_panel import SETTINGS, SettingsPanel, check_limits, settings_of, values_of
from ..shared.views import with_stopped_frame
from ..shared.waiting import waiting_parts
from .comparisons import about, fold, run_and_stop
from .differences import numbers, numbers_in_words
from .frames import shown_prompt

MOST_CELLS = 36
MOST_TOKENS = 4096  # of all cells together
CHOICES = {"solver": SOLVERS, "time_grid": TIME_GRIDS, "history": HISTORIES}
SWEPT = [("Seed", "seed"), *((s.label, s.name) for s in SETTINGS if not s.name.startswith("guidance_")
                             and s.name != "stop_at_end")]  # fmt: skip
QUICK: EventOptions = {"show_progress": "hidden", "api_visibility": "private"}


@dataclasses.dataclass
class Cell:
    """A text of the grid: its settings, and what has become of it."""

    settings: SamplerSettings
    text: str = ""
    measures: str = ""
    finished: tuple[bool, int, float] | None = None  # has it come to its end, its tokens, its share of the seconds


def build(
    resident: Resident, prompt: gr.Textbox, variations: gr.Slider, panel: SettingsPanel
) -> dict[str, View]:  # fmt: skip
    """The sweep in a fold; a click on a text puts its settings into the panel. Returns its view by name."""
    with fold("Sweep over two settings", "sweep"):
        about("The prompt above, written once for every pair of values. What shares the same "
              "flow (seeds, lengths, choices of words) runs as one batch.")  # fmt: skip
        with gr.Row(elem_classes="decode"):
            down = ChoiceBox("Down", "What changes from row to row.", SWEPT, "guidance", elem_classes="setting")
            rows = gr.Textbox("1, 1.5, 3", label="Values down", info="Separated by commas.", min_width=160)
            across = ChoiceBox("Across", "And from column to column.", SWEPT, "steps", elem_classes="setting")
            columns = gr.Textbox("4, 16", label="Values across", info="Separated by commas.", min_width=160)
        start, stop = run_and_stop("Run the sweep")
        ProgressLine(part="progress", elem_classes="fold-progress")
        grid = TextGrid(part="grid", elem_id="grid")

    def view(context: RunContext, controls: Mapping[str, Any]) -> Iterator[Frame]:
        yield from sweep(resident.model, resident.scheduler, resident.baseline, context, controls)

    def on_use(event: gr.EventData) -> list[Any]:
        return [1, *values_of(SamplerSettings.from_dict(event.settings))]

    values = {"down.setting": down, "down.values": rows, "across.setting": across, "across.values": columns}
    connect_view("sweep", [start.click], stop, "sweep", {"prompt": prompt, **values, **panel.by_name})
    grid.select(on_use, None, [variations, *panel.inputs], queue=False, **QUICK)
    return {"sweep": view}


def sweep(
    model: ColaDLM, scheduler: Scheduler, baseline: BundledBaseline, context: RunContext, controls: Mapping[str, Any]
) -> Iterator[Frame]:
    """The view of a text for every pair of values of two settings.

    Controls: prompt, settings, and down and across, each {"setting": its name, "values": in words}. Parts: grid and
    progress. Raises ValueError with a sentence.
    """
    with labelled_errors():
        base = settings_of(controls.get("settings"))
        texts: tuple[Any, ...] = (controls.get("prompt"),)
        down, across = (_axis(controls.get(name)) for name in ("down", "across"))
        cells = cells_of(base, (down.name, down.values), (across.name, across.values))
        Recipe("generate", texts, base)  # refuses what is no prompt
        running = _Sweep(model, scheduler, baseline, texts[0], cells, down, across)
        yield from with_stopped_frame(context, running.frames(context.visitor), "grid")


class Axis(NamedTuple):
    """A setting and the values that it takes along one side of the grid."""

    name: str
    values: list[Any]

    def labels(self) -> list[str]:
        label = next(label for label, name in SWEPT if name == self.name)
        return [f"{label} {value}" for value in self.values]


def _axis(control: Any) -> Axis:
    if not isinstance(control, Mapping):
        raise RecipeError("the sweep", Described("without a setting"), "a setting and its values")
    name = control.get("setting", "")
    return Axis(name, values_from(name, control.get("values", "")))


class _Sweep:
    """A sweep under way: its cells, batch by batch, one for each flow."""

    def __init__(self, model: ColaDLM, scheduler: Scheduler, baseline: BundledBaseline, prompt: str, cells: list[Cell],
                 down: Axis, across: Axis) -> None:  # fmt: skip
        self.model, self.scheduler, self.baseline, self.prompt, self.cells = model, scheduler, baseline, prompt, cells
        self.rows, self.columns, self.lead = down.labels(), across.labels(), shown_prompt(prompt)
        self.batches: dict[Any, list[Cell]] = {}
        for cell in cells:
            self.batches.setdefault(cell.settings.flow, []).append(cell)
        self.done = 0
        self.begun = time.perf_counter()

    def frames(self, visitor: str) -> Generator[Frame]:
        yield self._running(["starting"], 0.0)
        for batch in self.batches.values():
            for share in self._run(batch, visitor):
                if isinstance(share, Waiting) and share.ahead:
                    state: State = "running" if self.done else "waiting"
                    yield self._running(waiting_parts(share), self._share(), state, "Waiting")
                else:  # a frame also where nothing is new: a run that is stopped ends at one
                    written = 0.0 if isinstance(share, Waiting) else share * len(batch)
                    parts = [f"{self.done} of {len(self.cells)} texts", self._seconds()]
                    yield self._running(parts, self._share(written))
            for cell in batch:
                self.scheduler.look(functools.partial(self._measure, cell))
            self.done += len(batch)
        count = len(self.batches)
        parts = [f"{len(self.cells)} texts", "one batch" if count == 1 else f"{count} batches", self._seconds()]
        yield self._frame("done", progress_value("done", parts, 1.0, "Done."))

    def _run(self, cells: Sequence[Cell], visitor: str) -> Iterator[float | Waiting]:
        """Writes cells of one flow as one batch; the share that is done, block by block."""
        begun, tokens = time.perf_counter(), len(self.model.tokenize(self.prompt))
        longest = max(self.model.new_blocks(tokens, cell.settings)[0] for cell in cells)
        operation = functools.partial(self._operation, cells)
        with contextlib.closing(
            self.scheduler.operate(self.model, operation, visitor, "sweep", steps="none")
        ) as events:
            for event in events:
                if isinstance(event, Waiting):
                    yield event
                elif isinstance(event, BlockDone):
                    for cell, text in zip(cells, event.texts, strict=True):
                        cell.text = text
                    yield (event.block + 1) / longest
                elif isinstance(event, Finished):
                    seconds = (time.perf_counter() - begun) / len(cells)
                    for cell, text, reason, ids in zip(cells, event.texts, event.reasons, event.token_ids, strict=True):
                        cell.text, cell.finished = text, (reason == "end", len(ids), seconds)
        if any(cell.finished is None for cell in cells):
            raise ClosingError
        yield 1.0

    def _operation(self, cells: Sequence[Cell]) -> OperationRun:
        plans = [self.model.plans([self.prompt], cell.settings, sequences=[0])[0] for cell in cells]
        own = [dataclasses.replace(plan, settings=cell.settings) for plan, cell in zip(plans, cells, strict=True)]
        return pass_on(Batch(own, cells[0].settings))

    def _frame(self, state: str, progress: dict[str, Any]) -> Frame:
        cells = [(cell.text, cell.measures, cell.settings.to_dict()) for cell in self.cells]
        return {"grid": grid_value(state, self.lead, self.rows, self.columns, cells), "progress": progress}

    def _running(self, parts: list[str], share: float, state: State = "running", message: str = "Writing") -> Frame:
        stopped = ""
        if self.done or share:
            are = "is" if self.done == 1 else "are"
            stopped = f"Stopped: {self.done or 'none'} of {len(self.cells)} texts {are} finished."
        return self._frame("running", progress_value(state, parts, share, message, stopped=stopped))

    def _share(self, more: float = 0.0) -> float:
        """The share of the texts that are done, with those of `more` texts."""
        return (self.done + more) / len(self.cells)

    def _seconds(self) -> str:
        return f"{time.perf_counter() - self.begun:.1f} s"

    def _measure(self, cell: Cell) -> None:
        """Says in numbers what a finished cell has come to."""
        assert cell.finished is not None  # it is measured when it has finished
        ended, tokens, seconds = cell.finished
        found = numbers(self.baseline.get(self.model.device), self.prompt, cell.text, ended, tokens)
        cell.measures = ", ".join([f"{tokens} tokens", f"{seconds:.1f} s", *numbers_in_words(found)])


def values_from(name: str, text: str) -> list[Any]:
    """The values of a setting in a list separated by commas. Raises RecipeError."""
    label = next((label for label, known in SWEPT if known == name), None)
    if label is None:
        raise RecipeError("the setting", name, "one of the list")
    parts = [part.strip() for part in str(text).split(",") if part.strip()]
    found: list[Any] = []
    for part in parts:
        if name in CHOICES:
            if part not in CHOICES[name]:
                raise RecipeError(f"{label}", part, f"one of {', '.join(CHOICES[name])}")
            found.append(part)
            continue
        try:
            value = float(part)
        except ValueError as error:
            raise RecipeError(label, part, "numbers, separated by commas") from error
        found.append(int(value) if value.is_integer() else value)
    if not 1 <= len(set(found)) == len(found):
        raise RecipeError(
            label, Described("no values" if not found else "a value that comes twice"), "different values"
        )
    return found


def cells_of(base: SamplerSettings, down: tuple[str, list[Any]], across: tuple[str, list[Any]]) -> list[Cell]:
    """The cells, row by row. Raises RecipeError, SettingsError, also for more than this page runs."""
    if down[0] == across[0]:
        raise RecipeError("the second setting", Described("the first one again"), "another setting")
    count = len(down[1]) * len(across[1])
    if count > MOST_CELLS:
        raise RecipeError("the sweep", Described(f"{count} texts"), f"at most {MOST_CELLS} on this page")
    cells = []
    for first, second in itertools.product(down[1], across[1]):
        settings = SamplerSettings.from_dict({down[0]: first, across[0]: second}, base=base)
        check_limits(settings)
        cells.append(Cell(settings))
    tokens = sum(cell.settings.max_new_tokens for cell in cells)
    if tokens > MOST_TOKENS:
        raise RecipeError(
            "the sweep", Described(f"{tokens:,} tokens"), f"at most {MOST_TOKENS:,}: take fewer values or tokens"
        )
    return cells

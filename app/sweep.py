"""A sweep: two settings by a few values each, every text beside the others, with numbers."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import time
from collections.abc import Iterator, Sequence
from typing import Any

import gradio as gr
import torch

from coladlm import ColaDLM, SamplerSettings
from coladlm.batch import Batch, Requests, pass_on
from coladlm.events import BlockDone, Finished
from coladlm.flow import GRIDS, SOLVERS
from coladlm.recipe import Recipe, RecipeError, Said
from coladlm.serve import Scheduler
from coladlm.settings import HISTORIES

from .beside import run_and_stop
from .bundled_baseline import BundledBaseline
from .comparing import numbers, said_numbers
from .components.progress_line import QueuedProgressLine, progress_value
from .components.text_grid import TextGrid, grid_value
from .live import shown_prompt
from .model_turn import Waiting, sentence, visitor, waiting_parts
from .resident import Resident
from .run_controls import connect_run
from .settings_panel import SETTINGS, SettingsPanel, check_limits, in_labels, settings_from, values_of

MOST_CELLS = 36
MOST_TOKENS = 4096  # of all cells together
CHOICES = {"solver": tuple(SOLVERS), "time_grid": tuple(GRIDS), "history": HISTORIES}
SWEPT = [("Seed", "seed"), *((s.label, s.name) for s in SETTINGS if not s.name.startswith("guidance_")
                             and s.name != "stop_at_end")]  # fmt: skip
QUICK = {"show_progress": "hidden", "api_visibility": "private"}


@dataclasses.dataclass
class Cell:
    """A text of the grid: its settings, and what has become of it."""

    settings: SamplerSettings
    text: str = ""
    said: str = ""
    finished: tuple[bool, int, float] | None = None  # has it come to its end, its tokens, its share of the seconds


def build(resident: Resident, prompt: gr.Textbox, variations: gr.Slider, panel: SettingsPanel) -> None:
    """The sweep in a fold; a click on a text puts its settings into the panel."""
    with gr.Accordion("Sweep over two settings", open=False, elem_classes="more beside", elem_id="sweep"):
        gr.HTML("<p class='about'>The prompt at the left, written once for every pair of values. What shares the same "
                "flow (seeds, lengths, choices of words) runs as one batch.</p>", js_on_load=None)  # fmt: skip
        with gr.Row(elem_classes="decode"):
            first = gr.Dropdown(SWEPT, value="guidance", label="Down", filterable=False, min_width=160,
                                info="What changes from row to row.")  # fmt: skip
            down = gr.Textbox("1, 1.5, 3", label="Values down", info="Separated by commas.", min_width=160)
            second = gr.Dropdown(SWEPT, value="steps", label="Across", filterable=False, min_width=160,
                                 info="And from column to column.")  # fmt: skip
            across = gr.Textbox("4, 16", label="Values across", info="Separated by commas.", min_width=160)
        start, stop = run_and_stop("Run the sweep")
        line = QueuedProgressLine(elem_classes="fold-progress")
        grid = TextGrid(elem_id="grid")

    def on_run(*values: Any) -> Iterator[tuple[Any, Any]]:
        yield from sweep(resident.model, resident.scheduler, resident.baseline, *values)

    def on_use(event: gr.EventData) -> list[Any]:
        return [1, *values_of(SamplerSettings.from_dict(event.settings))]

    connect_run(
        "sweep", [start.click], stop, on_run, [prompt, first, down, second, across, *panel.inputs], [grid, line]
    )
    grid.select(on_use, None, [variations, *panel.inputs], queue=False, **QUICK)


def sweep(
    model: ColaDLM,
    scheduler: Scheduler,
    baseline: BundledBaseline,
    prompt: str,
    first: str,
    down: str,
    second: str,
    across: str,
    *values: Any,
) -> Iterator[tuple[Any, Any]]:
    """Runs every pair of values; yields values of the grid and the progress line."""
    grid: Any = gr.skip()
    try:
        base = settings_from(values)
        rows, columns = values_from(first, down), values_from(second, across)
        cells = cells_of(base, (first, rows), (second, columns))
        Recipe("generate", (prompt,), base)  # refuses what is no prompt
        shown = _Shown(prompt, first, rows, second, columns, cells)
        flows: dict[Any, list[Cell]] = {}
        for cell in cells:
            flows.setdefault(cell.settings.flow, []).append(cell)
        begun = time.perf_counter()
        done = 0
        grid = shown.value("running")
        yield grid, progress_value("running", ["starting"], 0.0, "Writing")
        for group in flows.values():
            for part in _run(model, scheduler, prompt, group):
                if isinstance(part, Waiting):
                    if part.ahead:
                        yield gr.skip(), progress_value("running", waiting_parts(part), done / len(cells), "Waiting")
                    continue
                share = (done + part * len(group)) / len(cells)
                parts = [f"{done} of {len(cells)} texts", f"{time.perf_counter() - begun:.1f} s"]
                grid = shown.value("running")
                yield grid, progress_value("running", parts, share, "Writing")
            for cell in group:
                scheduler.look(functools.partial(_measure, baseline, model.device, prompt, cell))
            done += len(group)
        grid = shown.value("done")
        parts = [f"{len(cells)} texts", _batches(len(flows)), f"{time.perf_counter() - begun:.1f} s"]
        yield grid, progress_value("done", parts, 1.0, "Done.")
    except Exception as error:  # a visitor gets a sentence, never a traceback; see `sentence`
        if "cells" in grid:
            grid = {**grid, "state": "error"}
        yield grid, progress_value("error", message=in_labels(sentence(error)))


def _run(model: ColaDLM, scheduler: Scheduler, prompt: str, cells: Sequence[Cell]) -> Iterator[float | Waiting]:
    """Writes cells of one flow as one batch; the share that is done, block by block."""
    begun, tokens = time.perf_counter(), len(model.tokenize(prompt))
    longest = max(model.new_blocks(tokens, cell.settings)[0] for cell in cells)

    def operation() -> Requests:
        settings = [cell.settings for cell in cells]
        plans = [model.plans([prompt], own, sequences=[0])[0] for own in settings]
        own = [dataclasses.replace(plan, settings=its) for plan, its in zip(plans, settings, strict=True)]
        return pass_on(Batch(own, settings[0]))

    with contextlib.closing(scheduler.operate(model, operation, visitor(), "sweep", steps="none")) as events:
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
    yield 1.0


def _measure(baseline: BundledBaseline, device: torch.device, prompt: str, cell: Cell) -> None:
    """Says in numbers what a finished cell has come to."""
    ended, tokens, seconds = cell.finished
    found = numbers(baseline.get(device), prompt, cell.text, ended, tokens)
    cell.said = ", ".join([f"{tokens} tokens", f"{seconds:.1f} s", *said_numbers(found)])


def _batches(count: int) -> str:
    return "one batch" if count == 1 else f"{count} batches"


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
        raise RecipeError(label, Said("no values" if not found else "a value that comes twice"), "different values")
    return found


def cells_of(base: SamplerSettings, down: tuple[str, list[Any]], across: tuple[str, list[Any]]) -> list[Cell]:
    """The cells, row by row. Raises RecipeError, SettingsError, also for more than this page runs."""
    if down[0] == across[0]:
        raise RecipeError("the second setting", Said("the first one again"), "another setting")
    count = len(down[1]) * len(across[1])
    if count > MOST_CELLS:
        raise RecipeError("the sweep", Said(f"{count} texts"), f"at most {MOST_CELLS} on this page")
    cells = []
    for first, second in itertools.product(down[1], across[1]):
        settings = SamplerSettings.from_dict({down[0]: first, across[0]: second}, base=base)
        check_limits(settings)
        cells.append(Cell(settings))
    tokens = sum(cell.settings.max_new_tokens for cell in cells)
    if tokens > MOST_TOKENS:
        raise RecipeError(
            "the sweep", Said(f"{tokens:,} tokens"), f"at most {MOST_TOKENS:,}: take fewer values or tokens"
        )
    return cells


class _Shown:
    """What the grid shows."""

    def __init__(self, prompt: str, first: str, rows: list, second: str, columns: list, cells: list[Cell]) -> None:
        labels = {name: label for label, name in SWEPT}
        self.rows = [f"{labels[first]} {value}" for value in rows]
        self.columns = [f"{labels[second]} {value}" for value in columns]
        self.prompt, self.cells = shown_prompt(prompt), cells

    def value(self, state: str) -> dict[str, Any]:
        cells = [(cell.text, cell.said, cell.settings.to_dict()) for cell in self.cells]
        return grid_value(state, self.prompt, self.rows, self.columns, cells)

"""Beside a finished run: run again with other settings and the same noise, decoded again, written by the baseline."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any

import gradio as gr

from coladlm import SamplerSettings
from coladlm.batch import Batch, OperationRun, pass_on
from coladlm.latent import fill
from coladlm.latent.other_texts import with_other_texts
from coladlm.latent.redecode import redecode
from coladlm.recipe import Described, Recipe, RecipeError
from coladlm.sampling.events import Finished
from coladlm.serve import ClosingError
from coladlm.trace.recorder import TraceRecorder

from ..components import MeasuresTable, ProgressLine, RunResult, TextRows
from ..components.panel_buttons import PanelButtons
from ..components.progress_line import progress_value
from ..components.text_rows import row_value, rows_value
from ..runs.registry import Frame, RunContext, View
from ..shared.errors import labelled_errors
from ..shared.generation import FILL
from ..shared.operation_controls import number, sliders, whole
from ..shared.resident import PerModel, Resident
from ..shared.row_frames import LiveRows, Row
from ..shared.run_controls import connect_view
from ..shared.settings_panel import SettingsPanel, settings_of
from ..shared.told_steps import ToldSteps
from ..shared.trace_store import Run
from ..shared.views import owner_of, with_stopped_frame
from .baseline_beside import write_baseline
from .differences import differences, marked, numbers_in_words, option_differences
from .filling import filling_rows, longest_of
from .frames import shown_prompt
from .handlers import MOST_BYTES, GenerateHandlers, recorded_bytes
from .kept_texts import kept_row, kept_steps, kept_text, measures_of_texts
from .other_texts import OtherTexts, with_controls
from .row_steps import steps_of
from .steered import without_given

RUN_A, RUN_B = "A", "B"
PANELS = (  # id, words on the button
    ("ab", "Other settings, same noise"),
    ("again", "Decoded again"),
    ("baseline", "An autoregressive model"),
    ("sweep", "A sweep"),
)
REENCODED_NOTE = (
    "In this run later blocks read the words that were chosen. A new run with other words would have other latents "
    "from there on; this shows what these latents can be read as."
)
PanelView = Callable[[GenerateHandlers, RunContext, Mapping[str, Any]], Iterator[Frame]]


def build(
    resident: Resident, handlers: PerModel[GenerateHandlers], panel: SettingsPanel, others: OtherTexts, kept: RunResult
) -> dict[str, View]:
    """The three comparisons, each in a panel below the text. Returns their views by name."""
    _ab_panel(panel, others, kept)
    _again_panel(resident.first.defaults, kept)
    _baseline_panel(kept)
    views: dict[str, PanelView] = {"ab": run_beside, "again": decode_again, "baseline": write_baseline}
    return {name: handlers.view(view) for name, view in views.items()}


def _ab_panel(panel: SettingsPanel, others: OtherTexts, kept: RunResult) -> None:
    with run_panel("ab"):
        about("Change settings above, then run B: the same prompt and the same noise as the "
              "finished run A, so that what differs comes from the settings. Where all words of a block come at "
              "once, each run keeps those of several noises whose words fit best.")  # fmt: skip
        start, stop = run_and_stop("Run B")
        ProgressLine(part="progress", elem_classes="fold-progress")
        _rows("A and B", "ab-rows")
    connect_view("ab", [start.click], stop, "ab", {"kept": kept, **panel.by_name, **others.by_name})


def _again_panel(start: SamplerSettings, kept: RunResult) -> None:
    with run_panel("again"):
        about("The latents stay as they are; only the choice of words is made anew. At temperature "
              "0 every place gets its likeliest word.")  # fmt: skip
        with gr.Row(elem_classes="decode"):
            temperature, top_k, top_p, penalty = sliders(
                ("Temperature", "Higher takes chances.", (0, 2, 0.05), 0.8, ""),
                ("Top-k", "0 is all.", (0, 200, 1), start.top_k, ""),
                ("Top-p", "1 is all.", (0.05, 1, 0.05), start.top_p, ""),
                ("Repetition penalty", "1 is off.", (1, 2, 0.05), start.repetition_penalty, ""),
            )
        with gr.Row(elem_classes="small-buttons"):
            decode = gr.Button("Decode again", min_width=40, elem_classes="small-run")
        ProgressLine(part="progress", elem_classes="fold-progress")
        _rows("Decoded again", "again-rows")
    controls = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "repetition_penalty": penalty}
    connect_view("again", [decode.click], None, "again", {"kept": kept, **controls})


def _baseline_panel(kept: RunResult) -> None:
    with run_panel("baseline"):
        about("The bundled baseline writes word after word, as most language models do, from "
              "the same prompt and seed. It was trained on the same stories, for a shorter time.")  # fmt: skip
        with gr.Row(elem_classes="decode"):
            hint = "Its texts differ by its choice of words alone."
            temperature, top_p = sliders(
                ("Temperature of the baseline", hint, (0, 2, 0.05), 0.8, ""),
                ("Top-p of the baseline", "1 is all.", (0.05, 1, 0.05), 0.95, ""),
            )
        start, stop = run_and_stop("Write with the baseline")
        ProgressLine(part="progress", elem_classes="fold-progress")
        _rows("The model and the baseline", "baseline-rows")
        MeasuresTable(part="measures", elem_id="baseline-numbers")
    controls = {"kept": kept, "temperature": temperature, "top_p": top_p}
    connect_view("baseline", [start.click], stop, "baseline", controls)


def buttons() -> PanelButtons:
    """The buttons of the comparisons and of the sweep, of which at most one is shown."""
    return PanelButtons("Compare", PANELS, elem_classes="compare")


def run_panel(name: str) -> gr.Accordion:
    """A panel below the text; its runs are those of a workbench of their own, with the id `name`."""
    return gr.Accordion(dict(PANELS)[name], open=False, elem_classes="run-panel beside", elem_id=name)


def about(text: str) -> None:
    """What a panel is for."""
    gr.HTML(f"<p class='about'>{text}</p>", js_on_load=None)


def run_and_stop(label: str) -> tuple[gr.Button, gr.Button]:
    """The two buttons of a panel that runs the model."""
    with gr.Row(elem_classes="small-buttons"):
        return gr.Button(label, min_width=40, elem_classes="small-run"), gr.Button(
            "Stop", min_width=40, elem_classes="stop"
        )


def _rows(label: str, name: str) -> TextRows:
    return TextRows(label, "", "not in the other", "", part="rows", elem_id=name, elem_classes="beside-rows")


def run_beside(handlers: GenerateHandlers, context: RunContext, controls: Mapping[str, Any]) -> Iterator[Frame]:
    """The view of run B: the prompt, the noise and the length of the run `kept` with the controls `settings` and, where
    there are any, `others` (see other_texts.py). Parts: rows and progress. Raises ValueError with a sentence.
    """
    with labelled_errors():
        kept = controls.get("kept")
        found = handlers.kept(owner_of(context, kept), kept)
        old = found.trace.recipe.settings
        chosen = handlers.model.plain(settings_of(controls.get("settings")))
        settings = without_given(handlers.model, found.trace.recipe, chosen)
        settings = dataclasses.replace(settings, seed=old.seed)
        options = with_controls(found.trace.recipe.options, controls.get("others"))
        changed = differences(old, settings) + option_differences(found.trace.recipe.options, options)
        if not changed:
            note = "Change a setting above first: with the same settings B would be A."
            raise RecipeError("the settings", Described("those of A"), "others", note)
        comparison = _Comparison(handlers, found, settings, options, changed)
        yield from with_stopped_frame(context, comparison.frames(context), "rows")


class _LiveB(LiveRows):
    """Run B on its way. finished: its end, once it is there."""

    finished: Finished | None = None

    def after(self, event: Any) -> Any:
        if isinstance(event, Finished):
            self.finished = event
        return super().after(event)

    def outcome(self) -> list[str]:
        return ["B is written"]


class _Comparison:
    """Run A with run B beside it. settings, options: of B. changed: how they differ from A's, in words."""

    def __init__(
        self, handlers: GenerateHandlers, found: Run, settings: SamplerSettings, options: dict[str, Any],
        changed: list[str],
    ) -> None:  # fmt: skip
        self.handlers, self.found, self.settings, self.options = handlers, found, settings, options
        model, old = handlers.model.in_blocks_of(settings), found.trace.recipe
        self.prompt, self.holes = found.trace.prompts[found.sequence], old.operation == FILL
        recipe = Recipe(old.operation, old.texts, settings, 1, options, model.fingerprint)
        if self.holes:
            rows = filling_rows(model, dataclasses.replace(old, settings=settings))
            row = dataclasses.replace(rows[found.sequence], label=RUN_B)
            blocks = -(-len(row.before) // (model.block_size * model.patch_size))
        else:
            before = model.tokenize(self.prompt)
            blocks, rest = model.new_blocks(len(before), settings)
            row = Row(RUN_B, context=before[-8:], room=settings.max_new_tokens, skip=rest * model.patch_size)
        self.live = _LiveB(model, recipe, [row], blocks, settings.stop_at_end and not self.holes)
        self.live.told = ToldSteps(settings, model.block_size, self.live.clock)
        self.live.notes = ["B differs in: " + "; ".join(changed) + "."]
        self.record: TraceRecorder | None = None
        if recorded_bytes(model, recipe) <= MOST_BYTES:
            record = self.record = TraceRecorder(recipe, [self.prompt], dtype="float32")
            self.live.read = lambda step: record.read()

    def frames(self, context: RunContext) -> Generator[Frame]:
        self.live.run = context.id
        first = kept_row(self.handlers.model, self.found, RUN_A)
        record = self.record
        events = self.handlers.scheduler.operate(
            self.handlers.model, self._operation, context.visitor, "compare", steps="some" if record is None else "all"
        )
        watched = events if record is None else record.watch(events)
        with contextlib.closing(self.live.frames(watched)) as frames:
            for rows, progress in frames:
                if self.live.finished is None:
                    both = {**rows, "rows": [first, *rows["rows"]], "share": progress["fraction"]}
                    yield {"rows": both, "progress": progress}
        if self.live.finished is None:
            raise ClosingError
        end, measuring = self.live.finished, {**progress, "state": "running", "message": "Measuring"}
        rows = self._finished_rows(end)
        yield {"rows": {**rows, "state": "running"}, "progress": measuring}
        yield {"rows": {**rows, "notes": [*rows["notes"], *self._measures(end)]}, "progress": progress}

    def _operation(self) -> OperationRun:
        model = self.handlers.model.in_blocks_of(self.settings)
        recipe, sequence, settings = self.found.trace.recipe, self.found.sequence, self.settings
        if self.holes:
            settings = dataclasses.replace(settings, stop_at_end=False, whole_sentences=False)
            plan = fill.plan(model, fill.read_holes(model, recipe.texts[0]), sequence, longest_of(recipe))
        else:
            (plan,) = model.plans([self.prompt], settings, sequences=[sequence])
        return pass_on(Batch(with_other_texts(model, [plan], self.options), settings))

    def _finished_rows(self, end: Finished) -> dict[str, Any]:
        model, lead = self.handlers.model, shown_prompt(self.prompt)
        a, b = self.found.trace.answer(self.found.sequence), end.token_ids[0]
        steps = None if self.record is None else steps_of(model, self.record.trace(), 0)
        rows = [row_value(RUN_A, lead, final=marked(model, a, b, self.prompt), steps=kept_steps(model, self.found)),
                row_value(RUN_B, lead, final=marked(model, b, a, self.prompt), steps=steps)]  # fmt: skip
        return rows_value(self.live.run, "done", rows, self.live.notes)

    def _measures(self, end: Finished) -> list[str]:
        texts = (kept_text(self.found), (end.texts[0], end.reasons[0] == "end", len(end.token_ids[0])))
        scores = measures_of_texts(self.handlers, self.prompt, *texts)
        return [f"{name}: {', '.join(numbers_in_words(score))}."
                for name, score in zip((RUN_A, RUN_B), scores, strict=True) if score]  # fmt: skip


def decode_again(handlers: GenerateHandlers, context: RunContext, controls: Mapping[str, Any]) -> Iterator[Frame]:
    """The view of the latents of the run `kept` decoded by other settings, beside the text that they gave.

    Controls: temperature, top_k, top_p and repetition_penalty. Parts: rows and progress. Raises ValueError with a
    sentence.
    """
    with labelled_errors():
        kept = controls.get("kept")
        found = handlers.kept(owner_of(context, kept), kept)
        trace, sequence, model = found.trace, found.sequence, handlers.model
        settings = dataclasses.replace(
            trace.recipe.settings,
            temperature=number(controls.get("temperature"), "Temperature"),
            top_k=whole(controls.get("top_k"), "Top-k"),
            top_p=number(controls.get("top_p"), "Top-p"),
            repetition_penalty=number(controls.get("repetition_penalty"), "Repetition penalty"),
        )
        begun = time.perf_counter()
        again = handlers.scheduler.look(lambda: redecode(model, trace, sequence, settings)).answer
        seconds = time.perf_counter() - begun
        prompt, before = trace.prompts[sequence], trace.answer(sequence)
        lead = shown_prompt(prompt)
        rows = [row_value("before", lead, final=marked(model, before, again, prompt)),
                row_value("again", lead, final=marked(model, again, before, prompt))]  # fmt: skip
        notes = [REENCODED_NOTE] if trace.recipe.settings.history == "reencoded" else []
        changed = sum(a != b for a, b in zip(before, again, strict=False)) + abs(len(before) - len(again))
        parts = [f"{changed} of {max(len(before), len(again))} tokens differ", f"{1000 * seconds:.0f} ms"]
        yield {"rows": rows_value(context.id, "done", rows, notes), "progress": progress_value("done", parts, 1.0)}

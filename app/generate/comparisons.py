"""Beside a finished run: run again with other settings and the same noise, decoded again, written by the baseline."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any

import gradio as gr

from coladlm import ColaDLM, SamplerSettings
from coladlm.baseline.baseline import Baseline, BaselineSettings, Chosen
from coladlm.batch import Batch, OperationRun, pass_on
from coladlm.latent import fill
from coladlm.latent.redecode import redecode
from coladlm.latent.towards import pull_of
from coladlm.recipe import Described, Recipe, RecipeError
from coladlm.sampling.events import Finished
from coladlm.serve import ClosingError, Waiting
from coladlm.trace.recorder import TraceRecorder

from ..components import MeasuresTable, ProgressLine, RunResult, TextRows
from ..components.panel_buttons import PanelButtons
from ..components.progress_line import RunState, progress_value
from ..components.text_rows import row_value, rows_value
from ..runs.registry import Frame, RunContext, View
from ..shared.errors import labelled_errors
from ..shared.generation import FILL
from ..shared.operation_controls import number, sliders, whole
from ..shared.resident import PerModel, Resident
from ..shared.row_frames import LiveRows, Row
from ..shared.run_controls import connect_view
from ..shared.settings_panel import SettingsPanel, settings_of
from ..shared.trace_store import Run
from ..shared.views import FRAME_SECONDS, owner_of, with_stopped_frame
from ..shared.waiting import waiting_parts
from .differences import differences, marked, measures_of, numbers, numbers_in_words
from .filling import filling_rows, longest_of
from .frames import shown_prompt
from .handlers import MOST_BYTES, GenerateHandlers, recorded_bytes
from .row_steps import steps_of, word_by_word

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
NO_HOLES = "The baseline fills no holes: it goes on from what stands before the first, and knows nothing of the rest."
PanelView = Callable[[GenerateHandlers, RunContext, Mapping[str, Any]], Iterator[Frame]]


def build(
    resident: Resident, handlers: PerModel[GenerateHandlers], panel: SettingsPanel, kept: RunResult
) -> dict[str, View]:
    """The three comparisons, each in a panel below the text. Returns their views by name."""
    _ab_panel(panel, kept)
    _again_panel(resident.first.defaults, kept)
    _baseline_panel(kept)
    views: dict[str, PanelView] = {"ab": run_beside, "again": decode_again, "baseline": write_baseline}
    return {name: handlers.view(view) for name, view in views.items()}


def _ab_panel(panel: SettingsPanel, kept: RunResult) -> None:
    with run_panel("ab"):
        about("Change settings above, then run B: the same prompt and the same noise as the "
              "finished run A, so that what differs comes from the settings.")  # fmt: skip
        start, stop = run_and_stop("Run B")
        ProgressLine(part="progress", elem_classes="fold-progress")
        _rows("A and B", "ab-rows")
    connect_view("ab", [start.click], stop, "ab", {"kept": kept, **panel.by_name})


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
    """A panel below the text; its runs are those of a bench of their own, with the id `name`."""
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
    """The view of run B: the prompt, the noise and the length of the run `kept` with the controls `settings`.

    Parts: rows and progress. Raises ValueError with a sentence.
    """
    with labelled_errors():
        kept = controls.get("kept")
        found = handlers.kept(owner_of(context, kept), kept)
        old = found.trace.recipe.settings
        settings = handlers.model.plain(settings_of(controls.get("settings")))
        settings = dataclasses.replace(settings, seed=old.seed)
        changed = differences(old, settings)
        if not changed:
            note = "Change a setting above first: with the same settings B would be A."
            raise RecipeError("the settings", Described("those of A"), "others", note)
        comparison = _Comparison(handlers, found, settings, changed)
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
    """Run A with run B beside it. changed: how their settings differ, in words."""

    def __init__(
        self, handlers: GenerateHandlers, found: Run, settings: SamplerSettings, changed: list[str]
    ) -> None:  # fmt: skip
        self.handlers, self.found, self.settings = handlers, found, settings
        model, old = handlers.model.in_blocks_of(settings), found.trace.recipe
        self.prompt, self.holes = found.trace.prompts[found.sequence], old.operation == FILL
        recipe = Recipe(old.operation, old.texts, settings, 1, old.options, model.fingerprint)
        if self.holes:
            rows = filling_rows(model, dataclasses.replace(old, settings=settings))
            row = dataclasses.replace(rows[found.sequence], label=RUN_B)
            blocks = -(-len(row.before) // (model.block_size * model.patch_size))
        else:
            before = model.tokenize(self.prompt)
            blocks, rest = model.new_blocks(len(before), settings)
            row = Row(RUN_B, context=before[-8:], room=settings.max_new_tokens, skip=rest * model.patch_size)
        self.live = _LiveB(model, recipe, [row], blocks, settings.stop_at_end and not self.holes)
        self.live.notes = ["B differs in: " + "; ".join(changed) + "."]
        self.record: TraceRecorder | None = None
        if recorded_bytes(model, recipe) <= MOST_BYTES:
            record = self.record = TraceRecorder(recipe, dtype="float32")
            self.live.read = lambda step: record.read()

    def frames(self, context: RunContext) -> Generator[Frame]:
        self.live.run = context.id
        first = _kept_row(self.handlers.model, self.found, RUN_A)
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
        plan.pull = pull_of(model, recipe.options)
        return pass_on(Batch([plan], settings))

    def _finished_rows(self, end: Finished) -> dict[str, Any]:
        model, lead = self.handlers.model, shown_prompt(self.prompt)
        a, b = self.found.trace.answer(self.found.sequence), end.token_ids[0]
        steps = None if self.record is None else steps_of(model, self.record.trace(), 0)
        rows = [row_value(RUN_A, lead, final=marked(model, a, b, self.prompt), steps=_kept_steps(model, self.found)),
                row_value(RUN_B, lead, final=marked(model, b, a, self.prompt), steps=steps)]  # fmt: skip
        return rows_value(self.live.run, "done", rows, self.live.notes)

    def _measures(self, end: Finished) -> list[str]:
        texts = (_kept_text(self.found), (end.texts[0], end.reasons[0] == "end", len(end.token_ids[0])))
        scores = _measured(self.handlers, self.prompt, *texts)
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


def write_baseline(handlers: GenerateHandlers, context: RunContext, controls: Mapping[str, Any]) -> Iterator[Frame]:
    """The view of the baseline's text beside that of the run `kept`, then their measures.

    Controls: temperature and top_p of the baseline. Parts: rows, progress and measures. Raises ValueError with a
    sentence.
    """
    with labelled_errors():
        kept = controls.get("kept")
        found = handlers.kept(owner_of(context, kept), kept)
        recipe, holes = found.trace.recipe.settings, found.trace.recipe.operation == FILL
        settings = BaselineSettings(
            max_new_tokens=len(found.trace.answer(found.sequence)) if holes else recipe.max_new_tokens,
            temperature=number(controls.get("temperature"), "Temperature"),
            top_p=number(controls.get("top_p"), "Top-p"),
            seed=recipe.seed,
            stop_at_end=recipe.stop_at_end,
        )
        taken = kept.get("seconds") if kept else None  # None of a recorded run
        seconds = None if taken is None else number(taken, "The time of the run")
        writing = _BaselineWriting(handlers, found, settings, seconds)
        yield from with_stopped_frame(context, writing.frames(context), "rows")


class _BaselineWriting:
    """The baseline's text on its way, beside that of a kept run, which took so many seconds."""

    def __init__(
        self, handlers: GenerateHandlers, found: Run, settings: BaselineSettings, seconds: float | None
    ) -> None:  # fmt: skip
        self.handlers, self.found, self.settings, self.seconds_kept = handlers, found, settings, seconds
        self.baseline = handlers.baseline.get(handlers.model.device)
        self.prompt = found.trace.prompts[found.sequence]
        self.first, self.lead = _kept_row(handlers.model, found, "model"), shown_prompt(self.prompt)
        self.ids: list[int] = []
        self.begun = time.perf_counter()

    def frames(self, context: RunContext) -> Generator[Frame]:
        yield {"rows": self._rows(context.id, "running", ""), "measures": None,
               "progress": progress_value("running", ["starting"], 0.0, "Writing")}  # fmt: skip
        shown, seconds, end = time.perf_counter(), 0.0, None
        writing = self.handlers.scheduler.alone(self._sample, context.visitor, "baseline")
        with contextlib.closing(writing) as events:
            for event in events:
                now = time.perf_counter()
                if isinstance(event, Waiting):
                    yield self._waiting(event, now)
                elif isinstance(event, Chosen):
                    self.ids.append(int(event.token_ids[0]))
                    if now - shown >= FRAME_SECONDS:
                        shown = now
                        rows = self._rows(context.id, "running", self.baseline.read(self.ids))
                        yield {"rows": rows, "progress": self._progress(now)}
                elif isinstance(event, Finished):
                    end, seconds = event, now - self.begun
        if end is None:
            raise ClosingError
        ids = [token for token in end.token_ids[0] if token not in self.baseline.end_ids]
        steps = word_by_word(self.baseline.tokenizer, ids, self.baseline.tokenize(self.prompt)[-8:], self.lead)
        rows = self._rows(context.id, "done", end.texts[0], steps)
        parts = [f"{len(end.token_ids[0])} tokens", f"{seconds:.1f} s"]
        measuring = {**self._progress(time.perf_counter()), "message": "Measuring"}
        yield {"rows": {**rows, "state": "running"}, "progress": measuring}
        yield {"rows": rows, "progress": progress_value("done", parts, 1.0), "measures": self._measures(end, seconds)}

    def _sample(self) -> Iterator[Any]:
        return self.baseline.sample([self.prompt], self.settings, sequences=[self.found.sequence])

    def _waiting(self, waiting: Waiting, now: float) -> Frame:
        """A frame also where nothing is new: a run that is stopped ends at one."""
        if not waiting.ahead:
            return {"progress": self._progress(now)}
        self.begun = now
        return {"progress": progress_value("waiting", waiting_parts(waiting), 0.0, "Waiting")}

    def _progress(self, now: float) -> dict[str, Any]:
        count, most = len(self.ids), self.settings.max_new_tokens
        parts = [f"token {count} of {most}", f"{now - self.begun:.1f} s"]
        return progress_value("running", parts, count / most, "Writing", tokens=count)

    def _rows(self, run: str, state: RunState, text: str, steps: dict[str, str] | None = None) -> dict[str, Any]:
        row = row_value("baseline", self.lead, final=[(text, 0)], steps=steps)
        notes = [NO_HOLES] if self.found.trace.recipe.operation == FILL else []
        return rows_value(run, state, [self.first, row], notes, share=len(self.ids) / self.settings.max_new_tokens)

    def _measures(self, end: Finished, seconds: float) -> dict[str, Any]:
        """The value of the table: both texts side by side."""
        mine, count, texts = _kept_text(self.found), len(end.token_ids[0]), len(self.found.trace.texts)
        theirs = (end.texts[0], end.reasons[0] == "end", count)
        scores = _measured(self.handlers, self.prompt, mine, theirs)
        model, baseline = _millions(self.handlers.model), _millions(self.baseline)
        note = f"The model has {model}, the baseline {baseline} parameters."
        if texts > 1:
            note += f" The model's time is a share of a batch of {texts}."
        own = None if self.seconds_kept is None else self.seconds_kept / texts
        columns = [("Model", scores[0], own, mine[2]), ("Baseline", scores[1], seconds, count)]
        return measures_of(columns, note)


def _measured(handlers: GenerateHandlers, prompt: str, *texts: tuple[str, bool, int]) -> list[dict[str, Any]]:
    """The measures of texts, each with whether it has come to its end and how many tokens it has."""
    baseline = handlers.baseline.get(handlers.model.device)
    return handlers.scheduler.look(lambda: [numbers(baseline, prompt, *text) for text in texts])


def _millions(model: ColaDLM | Baseline) -> str:
    return f"{model.parameters / 1e6:.1f} million"


def _kept_text(found: Run) -> tuple[str, bool, int]:
    """The kept run's text, whether it came to its end, and its number of tokens."""
    trace, sequence = found.trace, found.sequence
    return trace.texts[sequence], trace.reasons[sequence] == "end", len(trace.answer(sequence))


def _kept_row(model: ColaDLM, found: Run, label: str) -> dict[str, Any]:
    """The kept run's text as a row."""
    prompt, ids = found.trace.prompts[found.sequence], found.trace.answer(found.sequence)
    return row_value(
        label, shown_prompt(prompt), final=marked(model, ids, ids, prompt), steps=_kept_steps(model, found)
    )


def _kept_steps(model: ColaDLM, found: Run) -> dict[str, str] | None:
    return steps_of(model, found.trace, found.sequence)

"""Beside a finished run: decoded again, run again with other settings and the same noise, written by the baseline."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator
from typing import Any

import gradio as gr

from coladlm import ColaDLM
from coladlm.batch import Batch, Requests, pass_on
from coladlm.evaluate.baseline import Baseline, BaselineSettings, Chosen
from coladlm.events import Finished
from coladlm.recipe import Recipe, RecipeError, Said
from coladlm.redecode import redecode

from .comparing import differences, marked, numbers, said_numbers, table
from .components import RunResult
from .components.progress_line import ProgressLine, QueuedProgressLine, progress_value
from .components.text_rows import TextRows, row_value, rows_value
from .desk import Desk
from .live import FRAME_SECONDS, shown_prompt
from .live_rows import LiveRows, Row
from .model_turn import IN_TURNS, Waiting, sentence, waiting_parts
from .operation_controls import number, sliders, whole
from .resident import Each, Resident
from .run_controls import connect_run, visitor_of_run
from .settings_panel import SettingsPanel, in_labels, settings_from
from .trace_store import Run

QUICK = {"show_progress": "hidden", "api_visibility": "private"}
AS_IT_WAS, AGAIN = "A", "B"


def build(resident: Resident, desk: Each[Desk], prompt: gr.Textbox, variations: gr.Slider, panel: SettingsPanel,
          kept: RunResult) -> None:  # fmt: skip
    """The three comparisons, each in a fold below the text."""
    start = resident.first.defaults
    with gr.Accordion("Same noise, other settings (A and B)", open=False, elem_classes="more beside", elem_id="ab"):
        _about("Change settings at the left, then run B: the same prompt and the same noise as the "
                "finished run A, so that what differs comes from the settings.")  # fmt: skip
        ab_run, ab_stop = run_and_stop("Run B")
        ab_line = QueuedProgressLine(elem_classes="fold-progress")
        ab = _rows("A and B", "ab-rows")
    with gr.Accordion("Decode again, without sampling", open=False, elem_classes="more beside", elem_id="again"):
        _about(
            "The latents stay as they are; only the choice of words is made anew. At temperature "
            "0 every place gets its likeliest word."
        )
        with gr.Row(elem_classes="decode"):
            decoding = sliders(
                ("Temperature", "Higher takes chances.", (0, 2, 0.05), 0.8, ""),
                ("Top-k", "0 is all.", (0, 200, 1), start.top_k, ""),
                ("Top-p", "1 is all.", (0.05, 1, 0.05), start.top_p, ""),
                ("Repetition penalty", "1 is off.", (1, 2, 0.05), start.repetition_penalty, ""),
            )
        with gr.Row(elem_classes="small-buttons"):
            again_run = gr.Button("Decode again", min_width=40, elem_classes="small-run")
        again_line = ProgressLine(elem_classes="fold-progress")
        again = _rows("Decoded again", "again-rows")
    with gr.Accordion("Beside an autoregressive model", open=False, elem_classes="more beside", elem_id="baseline"):
        _about(
            "The bundled baseline writes word after word, as most language models do, from "
            "the same prompt and seed. It was trained on the same stories, for a shorter time."
        )
        with gr.Row(elem_classes="decode"):
            chance = sliders(
                (
                    "Temperature of the baseline",
                    "Its texts differ by its choice of words alone.",
                    (0, 2, 0.05),
                    0.8,
                    "",
                ),
                ("Top-p of the baseline", "1 is all.", (0.05, 1, 0.05), 0.95, ""),
            )
        base_run, base_stop = run_and_stop("Write with the baseline")
        base_line = QueuedProgressLine(elem_classes="fold-progress")
        base = _rows("The model and the baseline", "baseline-rows")
        measures = gr.HTML("", elem_id="baseline-numbers", js_on_load=None)

    def on_ab(kept: dict | None, request: gr.Request, *values: Any) -> Iterator[tuple[Any, Any]]:
        yield from run_beside(desk(), visitor_of_run(request, kept), kept, *values)

    def on_again(kept: dict | None, request: gr.Request, *values: Any) -> tuple[Any, Any]:
        return decode_again(desk(), visitor_of_run(request, kept), kept, *values)

    def on_baseline(kept: dict | None, request: gr.Request, *values: Any) -> Iterator[tuple[Any, Any, Any]]:
        yield from write_baseline(desk(), visitor_of_run(request, kept), kept, *values)

    connect_run("ab", [ab_run.click], ab_stop, on_ab, [kept, *panel.inputs], [ab, ab_line])
    again_run.click(on_again, [kept, *decoding], [again, again_line], trigger_mode="once", **QUICK, **IN_TURNS)
    connect_run("baseline", [base_run.click], base_stop, on_baseline, [kept, *chance], [base, base_line, measures])


def run_and_stop(label: str) -> tuple[gr.Button, gr.Button]:
    """The two buttons of a fold that runs the model."""
    with gr.Row(elem_classes="small-buttons"):
        return gr.Button(label, min_width=40, elem_classes="small-run"), gr.Button(
            "Stop", min_width=40, elem_classes="stop"
        )


def _about(text: str) -> None:
    gr.HTML(f"<p class='about'>{text}</p>", js_on_load=None)


def _rows(label: str, name: str) -> TextRows:
    return TextRows(label, "", "not in the other", "", "", elem_id=name, elem_classes="beside-rows")


class LiveSecond(LiveRows):
    """Run B on its way."""

    def outcome(self) -> list[str]:
        return ["B is written"]


def run_beside(desk: Desk, visitor: str, kept: dict | None, *values: Any) -> Iterator[tuple[Any, Any]]:
    """Run B: the kept run's prompt, noise and length of turn with the settings of the panel. (rows, progress line)."""
    rows: Any = gr.skip()
    try:
        found = desk.kept(visitor, kept)
        trace, s, model = found.trace, found.sequence, desk.model
        old = trace.recipe
        settings = dataclasses.replace(settings_from(values), seed=old.settings.seed)
        changed = differences(old.settings, settings)
        if not changed:
            said = "Change a setting at the left first: with the same settings B would be A."
            raise RecipeError("the settings", Said("those of A"), "others", said)
        recipe = Recipe(old.operation, old.texts, settings, old.variations, model=model.fingerprint)
        before = model.tokenize(old.texts[0])
        blocks, rest = model.new_blocks(len(before), settings)
        row = Row(AGAIN, context=before[-8:], room=settings.max_new_tokens, skip=rest * model.patch_size)
        live = LiveSecond(model, recipe, [row], blocks, settings.stop_at_end)
        live.notes = ["B differs in: " + "; ".join(changed) + "."]
        first = _as_it_was(model, found)
        answer: list[int] = []
        text, ended = "", False

        def operation() -> Requests:
            return pass_on(Batch(model.plans([old.texts[0]], settings, sequences=[s]), settings))

        def watched(events: Iterator[Any]) -> Iterator[Any]:
            nonlocal answer, text, ended
            try:
                for event in events:
                    if isinstance(event, Finished):
                        answer, text, ended = event.token_ids[0], event.texts[0], event.reasons[0] == "end"
                    yield event
            finally:
                events.close()

        events = desk.scheduler.operate(model, operation, visitor, "compare", steps="some")
        for rows, progress in live.frames(watched(events)):
            rows = {**rows, "rows": [first, *rows["rows"]]}
            yield rows, progress
        ids = trace.answers[s]
        lead = shown_prompt(old.texts[0])
        texts = ((trace.texts[s], trace.reasons[s] == "end", len(ids)), (text, ended, len(answer)))
        scores = measured(desk, old.texts[0], *texts)
        shown = [row_value(AS_IT_WAS, lead, final=marked(model, ids, answer, old.texts[0])),
                 row_value(AGAIN, lead, final=marked(model, answer, ids, old.texts[0]))]  # fmt: skip
        notes = [*live.notes, *(f"{name}: {', '.join(said_numbers(score))}." for name, score in
                                zip((AS_IT_WAS, AGAIN), scores, strict=True) if score)]  # fmt: skip
        yield rows_value(live.run, "done", shown, notes), progress
    except Exception as error:
        if "run" in rows:
            rows = {**rows, "state": "error"}
        yield rows, progress_value("error", message=in_labels(sentence(error)))


def decode_again(desk: Desk, visitor: str, kept: dict | None, temperature: Any, top_k: Any, top_p: Any,
                 penalty: Any) -> tuple[Any, Any]:  # fmt: skip
    """The kept run's latents decoded by other settings, beside how they were. (rows, progress line)."""
    try:
        found = desk.kept(visitor, kept)
        trace, s, model = found.trace, found.sequence, desk.model
        begun = time.perf_counter()
        settings = dataclasses.replace(
            trace.recipe.settings, temperature=number(temperature, "Temperature"), top_k=whole(top_k, "Top-k"),
            top_p=number(top_p, "Top-p"), repetition_penalty=number(penalty, "Repetition penalty"),
        )  # fmt: skip
        again = desk.scheduler.look(lambda: redecode(model, trace, s, settings))
        seconds = time.perf_counter() - begun
        prompt, ids = trace.prompts[s], trace.answers[s]
        lead = shown_prompt(prompt)
        rows = [row_value("before", lead, final=marked(model, ids, again.answer, prompt)),
                row_value("again", lead, final=marked(model, again.answer, ids, prompt))]  # fmt: skip
        notes = []
        if trace.recipe.settings.history == "reencoded":
            notes.append("In this run later blocks read the words that were chosen. A new run with other words would "
                         "have other latents from there on; this shows what these latents can be read as.")  # fmt: skip
        other = sum(a != b for a, b in zip(ids, again.answer, strict=False)) + abs(len(ids) - len(again.answer))
        parts = [f"{other} of {max(len(ids), len(again.answer))} tokens differ", f"{1000 * seconds:.0f} ms"]
        return rows_value("again", "done", rows, notes), progress_value("done", parts, 1.0)
    except Exception as error:
        return gr.skip(), progress_value("error", message=in_labels(sentence(error)))


def write_baseline(desk: Desk, visitor: str, kept: dict | None, temperature: Any,
                   top_p: Any) -> Iterator[tuple[Any, Any, Any]]:  # fmt: skip
    """The baseline's text beside the kept run's, then their measures. (rows, progress line, table as HTML)."""
    rows: Any = gr.skip()
    try:
        found = desk.kept(visitor, kept)
        trace, s, model = found.trace, found.sequence, desk.model
        recipe, prompt = trace.recipe, trace.prompts[s]
        baseline = desk.baseline.get(model.device)
        settings = BaselineSettings(
            max_new_tokens=recipe.settings.max_new_tokens, temperature=number(temperature, "Temperature"),
            top_p=number(top_p, "Top-p"), seed=recipe.settings.seed, stop_at_end=recipe.settings.stop_at_end,
        )  # fmt: skip
        first, lead = _as_it_was(model, found, "model"), shown_prompt(prompt)
        begun = shown = time.perf_counter()
        ids: list[int] = []
        writing = desk.scheduler.alone(lambda: baseline.sample([prompt], settings, sequences=[s]), visitor, "baseline")
        with contextlib.closing(writing) as events:
            for event in events:
                now = time.perf_counter()
                if isinstance(event, Waiting):
                    if event.ahead:
                        begun = now
                        yield gr.skip(), progress_value("running", waiting_parts(event), 0.0, "Waiting"), gr.skip()
                    continue
                if isinstance(event, Chosen):
                    ids.append(int(event.token_ids[0]))
                    if now - shown < FRAME_SECONDS:
                        continue
                    shown = now
                    row = row_value("baseline", lead, final=[(baseline.read(ids), 0)])
                    rows = rows_value("baseline", "running", [first, row])
                    parts = [f"token {len(ids)} of {settings.max_new_tokens}", f"{now - begun:.1f} s"]
                    yield rows, progress_value("running", parts, len(ids) / settings.max_new_tokens, "Writing"), ""
                elif isinstance(event, Finished):
                    seconds, text, count = now - begun, event.texts[0], len(event.token_ids[0])
                    ended = event.reasons[0] == "end"
        rows = rows_value("baseline", "done", [first, row_value("baseline", lead, final=[(text, 0)])])
        texts = ((trace.texts[s], trace.reasons[s] == "end", len(trace.answers[s])), (text, ended, count))
        mine, theirs = measured(desk, prompt, *texts)
        share = kept["seconds"] / len(trace.texts)
        note = f"The model has {_millions(model)}, the baseline {_millions(baseline)} parameters."
        if len(trace.texts) > 1:
            note += f" The model's time is a share of a batch of {len(trace.texts)}."
        shown_table = table([("Model", mine, share, len(trace.answers[s])),
                             ("Baseline", theirs, seconds, count)], note)  # fmt: skip
        done = progress_value("done", [f"{count} tokens", f"{seconds:.1f} s"], 1.0)
        yield rows, done, shown_table
    except Exception as error:
        yield rows, progress_value("error", message=in_labels(sentence(error))), gr.skip()


def measured(desk: Desk, prompt: str, *texts: tuple[str, bool, int]) -> list[dict[str, Any]]:
    """The measures of texts, each with whether it has come to its end and how many tokens it has."""

    def measure() -> list[dict[str, Any]]:
        baseline = desk.baseline.get(desk.model.device)
        return [numbers(baseline, prompt, *text) for text in texts]

    return desk.scheduler.look(measure)


def _millions(model: ColaDLM | Baseline) -> str:
    return f"{model.parameters / 1e6:.1f} million"


def _as_it_was(model: ColaDLM, found: Run, label: str = AS_IT_WAS) -> dict[str, Any]:
    """The kept run's text as a row."""
    trace, s = found.trace, found.sequence
    prompt, ids = trace.prompts[s], trace.answers[s]
    return row_value(label, shown_prompt(prompt), final=marked(model, ids, ids, prompt))

"""The tab Edit: a span of a text is changed in latent space and carried back; the rest stays, or follows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import gradio as gr

from coladlm import ColaDLM

from ..components import ProgressLine, ShareLink, TextRows, TokenPicker
from ..runs.registry import Frame, RunContext
from ..shared.event_options import EVERY, EventOptions
from ..shared.operation_controls import fold_button
from ..shared.resident import Resident
from ..shared.run_controls import RunControls
from ..shared.settings_panel import SettingsPanel
from ..shared.tab_links import Restore, Sender, TabLinks
from .controls import NAMES, OWN, EditControls
from .handlers import (
    EXAMPLES,
    OPERATION,
    choose,
    edit,
    first_history,
    restore,
    show,
    take_example,
    tokens_of,
    travel,
    typed,
)
from .history import current, push

MISFIT = (
    "Best first. The misfit says how badly the words that were kept go with the new ones: the squared error of the "
    "flow's velocity at their latents, the mean of four noise levels. Less fits better."
)
QUICK: EventOptions = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}


class Question(NamedTuple):
    """The box of the text, and buttons that fill it."""

    text: gr.Textbox
    examples: list[gr.Button]


class Text(NamedTuple):
    """The text as tokens, and what is done with it; all but the picker are buttons."""

    picker: TokenPicker
    undo: gr.Button
    redo: gr.Button
    to_generate: gr.Button
    to_interpolate: gr.Button


class Candidates(NamedTuple):
    """What shows a run."""

    progress: ProgressLine
    rows: TextRows


def build(resident: Resident, page: gr.Blocks) -> TabLinks:
    """Lays the tab out inside the current context of `page` and connects it; says how texts leave and come in."""
    with gr.Row(elem_classes="workbench", elem_id="edit"):
        with gr.Column(elem_classes="controls"):
            box, examples = lay_out_question()
            controls = RunControls("edit", "Change the span")
            edit_controls = EditControls(resident)
            fold_button("edit")
            with (
                gr.Column(elem_classes="setting-list"),
                gr.Accordion("Sampler", open=False, elem_classes="more"),
            ):
                panel = SettingsPanel(resident.first.defaults)
        with gr.Column(elem_classes="results"):
            text = lay_out_text(resident.first)
            candidates = lay_out_candidates()

    history = gr.State(first_history(resident.first))
    shown = [box, text.picker, history, text.undo, text.redo]
    connect_text(resident, Question(box, examples), text, candidates.rows, history)
    other, other_picker = (edit_controls.by_name[name] for name in ("other", "other_picker"))
    other.change(lambda t: tokens_of(resident.model, t), other, other_picker, trigger_mode="always_last", **QUICK)

    def on_run(context: RunContext, named: Mapping[str, Any]) -> Iterator[Frame]:
        yield from edit(resident.model, resident.scheduler, context, named)

    def take(sent: str, history: dict[str, Any]) -> list[Any]:
        return show(resident.model, push(history, sent), "Sent here; Undo goes back.")

    options = {f"options.{name}": edit_controls.by_name[name] for name in NAMES}
    named = {"text": box, "picker": text.picker, **options, **panel.by_name}
    controls.connect("edit", named, also=[candidates.rows.submit])
    return TabLinks(
        take=take,
        inputs=[history],
        outputs=shown,
        sends=[Sender(text.to_generate.click, "generate", box), Sender(text.to_interpolate.click, "interpolate", box)],
        take_lists=lambda first, second: ["direction", OWN, "\n".join(first), "\n".join(second)],
        list_outputs=edit_controls.lists,
        restore=Restore(
            (OPERATION,),
            lambda query: restore(resident.model, query, resident.first),
            [*shown, *options.values(), *panel.inputs, candidates.progress],
            bench="edit",
        ),
        views={"edit": on_run},
    )


def lay_out_question() -> Question:
    """The box with the first example in it."""
    with gr.Group(elem_classes="ask"):
        text = gr.Textbox(
            EXAMPLES[0][0],
            label="Text",
            info="Type or paste it here, then select words of it where it stands in large.",
            lines=3,
            max_lines=10,
            elem_classes="prompt-box",
            html_attributes=gr.InputHTMLAttributes(spellcheck=False),
        )
        with gr.Row(elem_classes="examples notranslate"):
            examples = [gr.Button(t, size="sm", elem_classes="example", min_width=40) for t, _ in EXAMPLES]
    return Question(text, examples)


def lay_out_text(model: ColaDLM) -> Text:
    """The text in large, token by token: from the start the first example, as Run may be pressed at once."""
    picker = TokenPicker(
        "The text, token by token",
        "No text yet. Write one into the box, or take an example.",
        "Select what to change: click a word and drag, tap the first and the last, or use arrows with Shift.",
        tokens_of(model, *current(first_history(model))),
        elem_id="picker",
    )
    with gr.Row(elem_classes="small-buttons tools"):
        undo = gr.Button("Undo", size="sm", min_width=40, interactive=False)
        redo = gr.Button("Redo", size="sm", min_width=40, interactive=False)
        to_generate = gr.Button("Continue in Generate", size="sm", min_width=40)
        to_interpolate = gr.Button("Send to Interpolate", size="sm", min_width=40)
    return Text(picker, undo, redo, to_generate, to_interpolate)


def lay_out_candidates() -> Candidates:
    """The new versions of the text."""
    gr.HTML(f"<h2>Candidates</h2><p>{MISFIT}</p>", elem_classes="section-title", js_on_load=None)
    with gr.Row(elem_classes="over"):
        progress = ProgressLine(part="progress", elem_classes="progress")
        ShareLink(part="link", elem_classes="link")
    rows = TextRows(
        "Candidates",
        "Use it",
        "not what stood there before",
        "New versions of the text will stand here, with what is new in them marked: they change the words that are "
        "selected above.",
        "Change the span",
        part="rows",
        elem_id="candidates",
    )
    return Candidates(progress, rows)


def connect_text(resident: Resident, question: Question, text: Text, rows: TextRows, history: gr.State) -> None:
    """Connects what makes another text the one that is edited."""
    box, picker = question.text, text.picker
    shown = [box, picker, history, text.undo, text.redo]

    def on_typed(text: str, history: dict[str, Any]) -> list[Any]:
        return typed(resident.model, text, history)[1:]

    def on_undo(picker: dict[str, Any], history: dict[str, Any], event: gr.EventData) -> list[Any]:
        return travel(resident.model, picker, history, -1 if event.by < 0 else 1)

    def on_select(picker: dict[str, Any], history: dict[str, Any], event: gr.EventData) -> list[Any]:
        return choose(resident.model, event.text, picker, history)

    box.change(on_typed, [box, history], shown[1:], trigger_mode="always_last", **QUICK)
    for button, example in zip(question.examples, EXAMPLES, strict=True):
        button.click(lambda h, example=example: take_example(resident.model, example, h), history, shown, **QUICK)
    for button, by in ((text.undo, -1), (text.redo, 1)):
        button.click(lambda p, h, by=by: travel(resident.model, p, h, by), [picker, history], shown, **EVERY, **QUICK)
    picker.undo(on_undo, [picker, history], shown, **EVERY, **QUICK)
    rows.select(on_select, [picker, history], shown, **EVERY, **QUICK)

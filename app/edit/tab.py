"""The tab Edit: a span of a text is changed in latent space and carried back; the rest stays, or follows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import gradio as gr

from coladlm import ColaDLM
from coladlm.latent.directions import load_pairs, shipped

from ..components import CandidateStage, ChoiceList, ProgressLine, ShareLink, TokenPicker
from ..components.setting_chips import SettingChips
from ..runs.registry import Frame, RunContext
from ..shared.event_options import EVERY, EventOptions
from ..shared.resident import Resident
from ..shared.run_controls import RunControls
from ..shared.settings_panel import SettingsPanel
from ..shared.tab_links import Restore, Sender, TabLinks
from .controls import METHOD_CHOICES, NAMES, OWN, EditControls
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
    "Underlined: not what stood there before. The misfit says how unlikely the model finds the text from there on, in "
    "nats a token; of a model that names no tokens it is the error of its velocity. Less fits better."
)
BEFORE_STRIP = "With several texts on the strip, here stands what each strength gives, to slide along."
NO_STRIP = (
    "No strip here: the span starts from pure noise, so there is no strength to slide along. The other ways have one."
)
CHIPS = (  # settings that have a button of their own: name, words before and after the value
    ("values", "strength ", ""),
    ("direction", "", ""),
    ("other", "with “", "”"),
    ("component", "component ", ""),
    ("renoise", "carried back from ", " %"),
    ("follow", "what follows ", ""),
    ("candidates", "", " candidates"),
    ("seed", "seed ", ""),
    ("guidance", "guidance ", ""),
)
# what stands on them, in the order of CHIPS; `titles` are those of the directions
CHIPS_JS = """(method, strengthFrom, strength, mixedFrom, mixed, pushFrom, push, values, direction, other, component,
  renoise, follow, candidates, seed, guidance) => {
  const ends = {renoise: [strengthFrom, strength, ' %%'], mix: [mixedFrom, mixed, ' %%']};
  const [from, to, unit] = ends[method] ?? [pushFrom, push, ''], titles = %s;
  return [[(values === 1 ? '' : from + ' to ') + to + unit, titles[direction] ?? 'my own lists', other, component,
    renoise, follow === 0 ? 'kept' : 'free to ' + follow + ' %%', candidates, seed, guidance]];
}"""
QUICK: EventOptions = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}


class Question(NamedTuple):
    """The box of the text with Run beside it, and buttons that fill it."""

    text: gr.Textbox
    examples: list[gr.Button]
    run: RunControls


class Text(NamedTuple):
    """The text as tokens, and what is done with it; all but the picker are buttons."""

    picker: TokenPicker
    undo: gr.Button
    redo: gr.Button
    to_generate: gr.Button
    to_interpolate: gr.Button


class Stage(NamedTuple):
    """The text as it is, and what becomes of its span."""

    text: Text
    candidates: CandidateStage
    progress: ProgressLine


def build(resident: Resident, page: gr.Blocks) -> TabLinks:
    """Lays the tab out inside the current context of `page` and connects it; says how texts leave and come in."""
    with gr.Column(elem_classes="workbench on-stage", elem_id="edit"):
        stage = lay_out_stage(resident.first)
        with gr.Column(elem_classes="controls"):
            question = lay_out_question()
            method = ChoiceList(
                "What to do with the span", "method", METHOD_CHOICES, METHOD_CHOICES[0].value, elem_classes="in-a-row"
            )
            chips = SettingChips(CHIPS, [], elem_classes="setting-chips")
            with gr.Column(elem_classes="setting-list"):
                edit_controls = EditControls(resident)
                panel = SettingsPanel(resident.first.defaults)
        edit_controls.complete(method)

    box, text = question.text, stage.text
    history = gr.State(first_history(resident.first))
    shown = [box, text.picker, history, text.undo, text.redo]
    connect_text(resident, question, stage, history)
    connect_chips(chips, edit_controls, panel)
    other, other_picker = (edit_controls.by_name[name] for name in ("other", "other_picker"))
    other.change(lambda t: tokens_of(resident.model, t), other, other_picker, trigger_mode="always_last", **QUICK)

    def on_run(context: RunContext, named: Mapping[str, Any]) -> Iterator[Frame]:
        yield from edit(resident.model, resident.scheduler, context, named)

    def take(sent: str, history: dict[str, Any]) -> list[Any]:
        return show(resident.model, push(history, sent), "Sent here; Undo goes back.")

    options = {f"options.{name}": edit_controls.by_name[name] for name in NAMES}
    named = {"text": box, "picker": text.picker, **options, **panel.by_name}
    question.run.connect("edit", named, also=[stage.candidates.submit])
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
            [*shown, *options.values(), *panel.inputs, stage.progress],
            bench="edit",
        ),
        views={"edit": on_run},
    )


def lay_out_stage(model: ColaDLM) -> Stage:
    """The text as it is on the left, what becomes of its span on the right, and the strip of strengths below both."""
    with gr.Column(elem_classes="results stage"):
        with gr.Column(elem_classes="stage-views"):
            text = lay_out_text(model)
            candidates = CandidateStage(
                "New versions of the text will stand here, with what is new in them marked: they change the words that "
                "are selected.",
                "Change the span",
                BEFORE_STRIP,
                NO_STRIP,
                MISFIT,
                part="rows",
                elem_id="candidates",
            )
        with gr.Row(elem_classes="over"):
            progress = ProgressLine(part="progress", elem_classes="progress")
            ShareLink(part="link", elem_classes="link")
    return Stage(text, candidates, progress)


def lay_out_text(model: ColaDLM) -> Text:
    """The text in large, token by token: from the start the first example, as Run may be pressed at once."""
    with gr.Column(elem_classes="text-side"):
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


def lay_out_question() -> Question:
    """The box with the first example in it, and Run."""
    with gr.Row(elem_classes="yours"):
        text = gr.Textbox(
            EXAMPLES[0][0],
            label="Text",
            info="Type or paste it here, then select words of it where it stands in large.",
            lines=2,
            max_lines=3,  # all of it stands in large above
            elem_classes="prompt-box ask",
            html_attributes=gr.InputHTMLAttributes(spellcheck=False),
        )
        run = RunControls("edit", "Change the span")
    with gr.Row(elem_classes="examples notranslate"):
        examples = [gr.Button(t, size="sm", elem_classes="example", min_width=40) for t, _ in EXAMPLES]
    return Question(text, examples, run)


def connect_chips(chips: SettingChips, controls: EditControls, panel: SettingsPanel) -> None:
    """Keeps the values on the chips those of their controls."""
    names = ("method", "strength_from", "strength", "mixed_from", "mixed", "push_from", "push", "values", "direction",
             "other", "component", "renoise", "follow", "candidates")  # fmt: skip
    settings = [panel.by_name[f"settings.{name}"] for name in ("seed", "guidance")]
    shown = [*(controls.by_name[name] for name in names), *settings]
    titles = {name: load_pairs(name).title for name in shipped()}
    gr.on([one.change for one in shown], None, shown, chips, js=CHIPS_JS % json.dumps(titles), **QUICK)
    value = {name: one.value for name, one in zip((*names, "seed", "guidance"), shown, strict=True)}
    chips.value = [f"{value['strength_from']} to {value['strength']} %", titles.get(value["direction"]), value["other"],
                   value["component"], value["renoise"], "kept", value["candidates"], value["seed"],
                   value["guidance"]]  # fmt: skip


def connect_text(resident: Resident, question: Question, stage: Stage, history: gr.State) -> None:
    """Connects what makes another text the one that is edited."""
    text = stage.text
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
    stage.candidates.select(on_select, [picker, history], shown, **EVERY, **QUICK)

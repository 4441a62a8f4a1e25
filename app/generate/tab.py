"""The tab Generate: a prompt, and the text that the model writes after it, as it crystallises."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import gradio as gr

from coladlm import SamplerSettings

from ..components import ProgressLine, RunResult, ShareLink, TextRows, TokenStrip
from ..components.token_card import TokenCard
from ..runs.registry import View
from ..shared.event_options import EVERY, UNLIMITED, EventOptions
from ..shared.generation import EXAMPLES, MOST_VARIATIONS, OPERATION, restore
from ..shared.operation_controls import fold_button
from ..shared.resident import PerModel, Resident
from ..shared.run_controls import RunControls, visitor_of_run
from ..shared.settings_panel import SettingSlider, SettingsPanel
from ..shared.tab_links import Restore, RunSender, TabLinks
from ..shared.trace_store import Run, TraceStore
from . import comparisons as beside
from . import sweep
from .handlers import GenerateHandlers, Shown

QUICK: EventOptions = {"show_progress": "hidden", "api_visibility": "private"}


class _Controls(NamedTuple):
    """What stands at the left of the tab."""

    prompt: gr.Textbox
    variations: gr.Slider
    panel: SettingsPanel
    buttons: RunControls


class _Results(NamedTuple):
    """What stands at the right: of the run itself, and the views of what can be done with it."""

    strip: TokenStrip
    progress: ProgressLine
    card: TokenCard
    rows: TextRows
    kept: RunResult
    views: dict[str, View]


def build(resident: Resident, page: gr.Blocks) -> TabLinks:
    """Lays the tab out inside the current context of `page` and connects it; says how texts and runs leave and come."""
    store = TraceStore()
    handlers = resident.per_model(lambda model: GenerateHandlers(model, store, resident.scheduler, resident.baseline))
    with gr.Row(elem_classes="workbench", elem_id="generate"):
        controls = _controls(resident.first.defaults)
        results = _results(resident, handlers, controls)
    prompt, variations, panel, buttons = controls

    named = {"prompt": prompt, "variations": variations, **panel.by_name}
    buttons.connect("generate", named, also=[results.strip.submit, prompt.submit])
    return TabLinks(
        take=lambda text: [text],
        outputs=[prompt],
        run_sends=[_sender(handlers, results)],
        restore=Restore(
            OPERATION,
            lambda query: restore(resident.model, query),
            [prompt, variations, *panel.inputs, results.progress],
            bench="generate",
        ),
        views={"generate": handlers.view(GenerateHandlers.write), **results.views},
    )


def _controls(defaults: SamplerSettings) -> _Controls:
    with gr.Column(elem_classes="controls"):
        prompt = _prompt()
        buttons = RunControls("generate")
        fold_button("generate")
        with gr.Column(elem_classes="setting-list"):
            variations = SettingSlider(
                1,
                MOST_VARIATIONS,
                1,
                step=1,
                label="Variations",
                info="How many texts to write at once, each from its own noise.",
                buttons=["reset"],
                elem_classes="setting",
            )
            panel = SettingsPanel(defaults)
    return _Controls(prompt, variations, panel, buttons)


def _prompt() -> gr.Textbox:
    """The prompt, with examples below it."""
    with gr.Group(elem_classes="ask"):
        prompt = gr.Textbox(
            EXAMPLES[0],
            label="Prompt",
            info="The model goes on from here. Empty is fine: then it begins by itself. Shift + Enter runs.",
            lines=3,
            max_lines=10,
            elem_classes="prompt-box",
            html_attributes=gr.InputHTMLAttributes(spellcheck=False),
        )
        with gr.Row(elem_classes="examples notranslate"):
            for text in EXAMPLES:
                example = gr.Button(text, size="sm", elem_classes="example", min_width=40)
                example.click(None, None, prompt, js=f"() => {json.dumps(text)}", api_visibility="private")
    return prompt


def _results(resident: Resident, handlers: PerModel[GenerateHandlers], controls: _Controls) -> _Results:
    with gr.Column(elem_classes="results"):
        with gr.Row(elem_classes="over"):
            progress = ProgressLine(part="progress", elem_classes="progress")
            ShareLink(part="link", elem_classes="link")
        strip = TokenStrip(
            "Nothing written yet. Press Run, and watch a text come out of noise, block by block.",
            "Write something",
            part="strip",
            elem_id="text",
        )
        card = TokenCard(part="card", elem_id="token")
        rows = TextRows("Variations", "Look into it", "new", "", "", part="rows", elem_id="variations")
        kept = RunResult(part="kept")
        views = beside.build(resident, handlers, controls.panel, kept)
        views |= sweep.build(resident, controls.prompt, controls.variations, controls.panel)
    results = _Results(strip, progress, card, rows, kept, views)
    _connect_looks(handlers, results)
    return results


def _connect_looks(handlers: PerModel[GenerateHandlers], results: _Results) -> None:
    """Shows another variation, and what is to know of a token, when it is chosen."""
    outputs, kept = [results.strip, results.progress, results.card, results.kept], results.kept

    def on_read(event: gr.EventData, kept: dict[str, Any] | None, request: gr.Request) -> Shown:
        return handlers().read(visitor_of_run(request, kept), event.row, kept)

    def on_select(event: gr.EventData, kept: dict[str, Any] | None, request: gr.Request) -> Shown:
        return handlers().inspect(visitor_of_run(request, kept), event.block, event.token, kept, event.requested)

    results.rows.select(on_read, kept, outputs, queue=False, **EVERY, **QUICK)
    results.strip.select(on_select, kept, outputs, **EVERY, **QUICK, **UNLIMITED)


def _sender(handlers: PerModel[GenerateHandlers], results: _Results) -> RunSender:
    """Opens the run on the tab Trajectories, at the token whose card is shown."""

    def find(request: gr.Request, event: gr.EventData, kept: dict[str, Any] | None) -> tuple[Run, int, int]:
        block, token = event.point
        return handlers().kept(visitor_of_run(request, kept), kept), block, token

    return RunSender(results.card.select, "trajectories", results.kept, find)

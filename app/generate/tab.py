"""The tab Generate: a prompt, and the text that the model writes after it, as it crystallises."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import gradio as gr

from coladlm import ColaDLM, SamplerSettings
from coladlm.recipe import RecipeError, check_options
from coladlm.run import OPERATIONS

from ..components import ProgressLine, RunResult, ShareLink, TextRows, TokenStrip
from ..components.flow_line import FlowLine
from ..components.flow_view import FlowView
from ..components.progress_line import progress_value
from ..components.setting_chips import SettingChips
from ..components.share_card import ShareCard
from ..components.token_card import TokenCard
from ..runs.registry import View
from ..shared.errors import sentence
from ..shared.event_options import EVERY, UNLIMITED, EventOptions
from ..shared.generation import CANDIDATES, EXAMPLES, FILL, HOLES, MOST_VARIATIONS, OPERATION, restore, with_seed_of
from ..shared.links import recipe_from
from ..shared.resident import PerModel, Resident
from ..shared.run_controls import RunControls, connect_view, run_after, visitor_of_run
from ..shared.settings_panel import SettingSlider, SettingsPanel
from ..shared.settings_panel import values_of as settings_values
from ..shared.tab_links import Restore, RunSender, TabLinks
from ..shared.trace_store import Run, TraceStore
from . import comparisons as beside
from . import sweep
from .direction_dial import CHIP_JS, NONE
from .handlers import GenerateHandlers, Shown
from .other_texts import DEFAULTS, OtherTexts, values_of
from .other_texts import build as build_other_texts
from .recorded import recorded_run
from .steered import STEERED, SteeredControls
from .steered import build as build_steered
from .steered import values_of as steered_values
from .steering import write_on

QUICK: EventOptions = {"show_progress": "hidden", "api_visibility": "private"}
NOTHING_WRONG = progress_value("idle")
CHIPS = (  # settings that have a button of their own: name, words before and after the value
    ("seed", "seed ", ""),
    ("max_new_tokens", "", " tokens"),
    ("variations", "", " texts"),
    ("guidance", "guidance ", ""),
    ("steps", "", " steps a block"),
    ("stagger", "stagger ", ""),
    ("towards", "towards ", ""),
    ("negative", "away from ", ""),
    ("direction", "direction ", ""),
    (STEERED, "steered to ", ""),
)
EXPLAINED = (
    "A few words are written at a time. Each begins as noise and follows the model's flow, all of them reading each "
    "other on the way, until the decoder can say which word it has become; then the next ones begin."
)


class _Controls(NamedTuple):
    """What is below the stage: the prompt, Run, and the settings."""

    prompt: gr.Textbox
    variations: gr.Slider
    panel: SettingsPanel
    others: OtherTexts
    steered: SteeredControls
    buttons: RunControls


class _Results(NamedTuple):
    """The stage, on which a run plays, and the views of what can be done with it."""

    strip: TokenStrip
    flow: FlowView
    progress: ProgressLine
    card: TokenCard
    rows: TextRows
    kept: RunResult
    link: ShareLink
    views: dict[str, View]


def build(resident: Resident, page: gr.Blocks) -> TabLinks:
    """Lays the tab out inside the current context of `page` and connects it; says how texts and runs leave and come."""
    store = TraceStore()
    handlers = resident.per_model(
        lambda model: GenerateHandlers(
            model, store, resident.scheduler, resident.baseline, resident.clouds(), recorded_run(model)
        )
    )
    with gr.Column(elem_classes="workbench on-stage", elem_id="generate"):
        stage = _stage(handlers().first())
        controls = _controls(with_seed_of(resident.first.defaults, handlers().recorded))
        results = _results(resident, handlers, controls, stage)
    prompt, variations, panel, others, steered, buttons = controls

    named = {"prompt": prompt, "variations": variations, **panel.by_name, **others.by_name, **steered.by_name}
    _connect_without(handlers, results, controls, named)
    buttons.connect("generate", named, also=[results.strip.submit, prompt.submit])
    connect_view("generate", [results.card.input], None, "steer", {"kept": results.kept, "card": results.card})
    return TabLinks(
        take=lambda text: [text],
        outputs=[prompt],
        run_sends=[_sender(handlers, results)],
        restore=Restore(
            (OPERATION, FILL),
            lambda query: _restored(resident.model, query),
            [*others, *steered, prompt, variations, *panel.inputs, results.progress],
            bench="generate",
            options={*DEFAULTS, STEERED},
        ),
        views={
            "generate": handlers.view(GenerateHandlers.write),
            "steer": handlers.view(write_on),
            **results.views,
        },
    )


def _controls(defaults: SamplerSettings) -> _Controls:
    with gr.Column(elem_classes="controls"):
        with gr.Row(elem_classes="yours"):
            prompt = _prompt()
            buttons = RunControls("generate")
        _examples(prompt)
        start = {
            "towards": "",
            "negative": "",
            "direction": NONE,
            STEERED: "",
            **dict(zip(SettingsPanel.names_of(), settings_values(defaults), strict=True)),
            "variations": 1,
        }
        chips = SettingChips(CHIPS, [start[name] for name, *_ in CHIPS], rare=[STEERED], elem_classes="setting-chips")
        with gr.Column(elem_classes="setting-list"):
            variations = SettingSlider(
                1,
                MOST_VARIATIONS,
                1,
                step=1,
                label="Variations",
                info="How many texts to write at once, each from its own noise.",
                buttons=["reset"],
                elem_classes="setting set-variations",
            )
            panel = SettingsPanel(defaults)
            others, steered = build_other_texts(), build_steered()
        named = {
            **{name.removeprefix("settings."): control for name, control in panel.by_name.items()},
            "variations": variations,
            "towards": others.text,
            "negative": others.negative,
            "direction": others.direction,
            STEERED: steered.text,
        }
        names = [name for name, *_ in CHIPS]
        # the chip of the direction says its strength too, and that of the variations how many ways holes are filled
        shown = [prompt, others.strength, *(named[name] for name in names)]
        place, many = names.index("direction"), names.index("variations")
        read = f"""(prompt, strength, ...values) => [values.with({place}, ({CHIP_JS})(values[{place}], strength))
          .with({many}, values[{many}] === 1 && /_{{3,}}/.test(prompt) ? {CANDIDATES} : values[{many}])]"""
        gr.on([control.change for control in shown], None, shown, chips, js=read, **QUICK)
        # a prompt that another one has taken the place of was steered to nothing
        keep = "(prompt, text, of) => prompt === of ? text : ''"
        prompt.change(None, [prompt, *steered], steered.text, js=keep, **QUICK)
    return _Controls(prompt, variations, panel, others, steered, buttons)


def _prompt() -> gr.Textbox:
    return gr.Textbox(
        EXAMPLES[0],
        label="Prompt",
        info="The model goes on from here, or fills the holes of a text: three underscores each. Left empty, the text "
        "begins with a line of the model's. Shift + Enter runs.",
        lines=2,
        max_lines=10,
        elem_classes="prompt-box ask",
        html_attributes=gr.InputHTMLAttributes(spellcheck=False),
    )


def _examples(prompt: gr.Textbox) -> None:
    with gr.Row(elem_classes="examples notranslate"):
        for text in (*EXAMPLES, HOLES):
            example = gr.Button(text, size="sm", elem_classes="example", min_width=40)
            example.click(None, None, prompt, js=f"() => {json.dumps(text)}", api_visibility="private")


class _Stage(NamedTuple):
    """What a run plays on."""

    strip: TokenStrip
    flow: FlowView
    progress: ProgressLine
    card: TokenCard
    kept: RunResult
    link: ShareLink


def _stage(first: Shown | None) -> _Stage:
    """Text, map and player. first: what stands there before anything was run."""
    with gr.Column(elem_classes="results stage"):
        with gr.Column(elem_classes="stage-views"):
            strip = TokenStrip(
                "Nothing written yet. Press Run, and watch a text come out of noise, block by block.",
                "Write something",
                part="strip",
                elem_id="text",
                value=first.strip if first else None,
            )
            flow = FlowView(first.flow if first else None, part="flow", elem_id="flow-view")
        with gr.Row(elem_classes="over"):
            progress = ProgressLine(part="progress", elem_classes="progress")
            link = ShareLink(part="link", elem_classes="link")
            ShareCard(elem_classes="share-picture")
        card = TokenCard(part="card", elem_id="token")
        kept = RunResult(part="kept", value=first.kept if first else None)
    FlowLine(EXPLAINED, elem_classes="explanation")
    return _Stage(strip, flow, progress, card, kept, link)


def _results(
    resident: Resident, handlers: PerModel[GenerateHandlers], controls: _Controls, stage: _Stage
) -> _Results:  # fmt: skip
    with gr.Column(elem_classes="views"):
        rows = TextRows("Variations", "Look into it", "new", "", part="rows", elem_id="variations")
        beside.buttons()
        views = beside.build(resident, handlers, controls.panel, controls.others, stage.kept)
        views |= sweep.build(resident, controls.prompt, controls.variations, controls.panel, controls.others)
    results = _Results(stage.strip, stage.flow, stage.progress, stage.card, rows, stage.kept, stage.link, views)
    _connect_looks(handlers, results)
    return results


def _connect_looks(handlers: PerModel[GenerateHandlers], results: _Results) -> None:
    """Shows another variation, the text before it was steered, and what is to know of a token, when it is chosen."""
    kept = results.kept
    outputs = [results.strip, results.flow, results.progress, results.card, kept, results.link]

    def on_read(event: gr.EventData, kept: dict[str, Any] | None, request: gr.Request) -> Shown:
        return handlers().read(visitor_of_run(request, kept), event.row, kept)

    def on_select(event: gr.EventData, kept: dict[str, Any] | None, request: gr.Request) -> Shown:
        return handlers().inspect(visitor_of_run(request, kept), event.block, event.token, kept, event.requested)

    gr.on([results.rows.select, results.strip.undo], on_read, kept, outputs, queue=False, **EVERY, **QUICK)
    results.strip.select(on_select, kept, outputs, **EVERY, **QUICK, **UNLIMITED)


def _connect_without(
    handlers: PerModel[GenerateHandlers],
    results: _Results,
    controls: _Controls,
    named: Mapping[str, gr.components.Component],
) -> None:
    """Runs the run on the stage again without fresh noise, its prompt and its settings in the controls."""
    prompt, variations, panel, others, steered, _ = controls

    def on_without(kept: dict[str, Any] | None, request: gr.Request) -> list[Any]:
        try:
            recipe = handlers().without_fresh_noise(visitor_of_run(request, kept), kept)
        except RecipeError as error:  # gradio shows no error of an event that hides its progress
            return [*(gr.skip() for _ in outputs[:-1]), progress_value("error", message=sentence(error))]
        begun = steered_values(handlers().model, recipe)
        settings = settings_values(begun.settings)
        return [
            *values_of(recipe.options),
            begun.text,
            begun.of,
            begun.prompt,
            recipe.variations,
            *settings,
            NOTHING_WRONG,
        ]

    outputs = [*others, *steered, prompt, variations, *panel.inputs, results.progress]
    given = results.flow.submit(on_without, results.kept, outputs, **QUICK)
    run_after(given, results.progress, "generate", "generate", named)


def _sender(handlers: PerModel[GenerateHandlers], results: _Results) -> RunSender:
    """Opens the run on the tab Trajectories, at the token whose card is shown."""

    def find(request: gr.Request, event: gr.EventData, kept: dict[str, Any] | None) -> tuple[Run, int, int]:
        block, token = event.point
        return handlers().kept(visitor_of_run(request, kept), kept), block, token

    return RunSender(results.card.select, "trajectories", results.kept, find, results.progress)


def _restored(model: ColaDLM, query: Mapping[str, str]) -> list[Any]:
    """Values of the controls of other texts, of what was steered, and of `restore` for the query of an address."""
    unchanged: list[Any] = [gr.skip()] * (len(OtherTexts._fields) + len(SteeredControls._fields))
    prompt, variations, *rest = restore(model, query)
    try:
        recipe = recipe_from(query, OPERATION, FILL)
        if recipe is None:
            return [*unchanged, prompt, variations, *rest]
        options = check_options(recipe.options, OPERATIONS[recipe.operation].options)
        begun = steered_values(model, recipe)
    except ValueError:  # RecipeError, or PromptError for a text that is too long
        return [*unchanged, prompt, variations, *rest]  # the progress line says so
    settings = settings_values(begun.settings)
    return [*values_of(options), begun.text, begun.of, begun.prompt, variations, *settings, rest[-1]]

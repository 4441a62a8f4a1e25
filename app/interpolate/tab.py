"""The tab Interpolate: two texts or more, and what lies between them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import gradio as gr

from coladlm import ColaDLM
from coladlm.latent.first_interpolation import OPTIONS, TEXTS, first_recipe, first_settings, recorded_interpolation

from ..components import (
    Choice,
    ChoiceBox,
    ChoiceList,
    Distances,
    ProgressLine,
    ShareLink,
    TextRows,
    WaypointStage,
)
from ..components.progress_line import progress_value
from ..components.setting_chips import SettingChips
from ..runs.registry import Frame, RunContext
from ..shared.errors import sentence
from ..shared.event_options import EventOptions
from ..shared.operation_controls import percent, sliders
from ..shared.resident import Resident
from ..shared.run_controls import RunControls, connect_view
from ..shared.settings_panel import SettingsPanel
from ..shared.tab_links import Restore, Sender, TabLinks, TextsSender
from .frames import recorded_parts
from .handlers import (
    MAX_BOXES,
    OPERATION,
    OPTION_NAMES,
    fill_boxes,
    interpolate,
    restore,
    several,
    show_boxes,
    texts_of,
)
from .ways import Compared, compare_ways, lay_out_ways, use_way

ROAD_CHOICES = (
    Choice(
        "through_flow",
        "Through the flow",
        "Mixes the latents of the texts, adds noise and lets the flow carry them back to where texts are. Take it for "
        "waypoints that read like texts.",
    ),
    Choice(
        "decoder_only",
        "Decoder only",
        "Mixes the latents and decodes them as they are, without asking the flow. Take it to see what lies between "
        "two texts in the latent space itself.",
    ),
    Choice(
        "noise_to_noise",
        "Noise to noise",
        "Carries each text back to its noise, mixes the noises and samples every waypoint in full. Take it for whole "
        "texts of the model's own, even if neighbours differ a lot.",
    ),
    Choice(
        "prompt_to_prompt",
        "Prompt to prompt",
        "Mixes the texts as prompts and goes on writing from each, always from the same noise. Take it to see how a "
        "continuation depends on its prompt.",
    ),
)
TITLES = {choice.value: choice.title for choice in ROAD_CHOICES}
EXAMPLES = (
    TEXTS,
    ("The sun was warm and bright.", "The night was cold and dark."),
    ("Tom went to the park with his mom.", "Lily found a big box in her room."),
    ("Tom was very happy.", "Tom was very sad.", "Tom was very angry."),
)
CHIPS = (  # settings that have a button of their own: name, words before and after the value
    ("road", "", ""),
    ("stops", "", " waypoints"),
    ("renoise", "noise ", " %"),
    ("tries", "", " candidates each"),
    ("guidance", "guidance ", ""),
    ("seed", "seed ", ""),
)
QUICK: EventOptions = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}


class Texts(NamedTuple):
    """The boxes of the texts. count: of those in use. more, fewer: buttons that change it."""

    count: gr.Number
    boxes: list[gr.Textbox]
    more: gr.Button
    fewer: gr.Button

    @property
    def shown(self) -> list[gr.components.Component]:
        """What `show_boxes` has values for."""
        return [self.count, *self.boxes, self.fewer, self.more]


def build(resident: Resident, page: gr.Blocks) -> TabLinks:
    """Lays the tab out inside the current context of `page` and connects it; says how texts leave and come in."""
    first = first_parts(resident.first)
    with gr.Column(elem_classes="workbench on-stage", elem_id="interpolate"):
        with gr.Column(elem_classes="controls ends"):
            texts, controls = lay_out_texts()
        stage, progress = lay_out_stage(first.get("stage"))
        with gr.Column(elem_classes="controls"):
            lay_out_examples(texts)
            chips = SettingChips(CHIPS, [], elem_classes="setting-chips")
            with gr.Column(elem_classes="setting-list"):
                options = lay_out_options()
                panel = SettingsPanel(first_settings(resident.first))
        rows, to_map, compared = lay_out_views(first.get("rows"), first.get("distances"))

    def on_run(context: RunContext, named: Mapping[str, Any]) -> Iterator[Frame]:
        yield from interpolate(resident.model, resident.scheduler, context, named)

    def on_compare(context: RunContext, named: Mapping[str, Any]) -> Iterator[Frame]:
        yield from compare_ways(resident.model, resident.scheduler, context, named, TITLES)

    connect_boxes(texts)
    connect_chips(chips, options, panel)
    named = {
        "count": texts.count,
        **{f"texts.{i}": box for i, box in enumerate(texts.boxes, 1)},
        **{f"options.{name}": options[name] for name in OPTION_NAMES},
        **panel.by_name,
    }
    controls.connect("interpolate", named, also=[stage.submit, *(box.submit for box in texts.boxes)])
    connect_view("four-ways", [compared.start.click], compared.stop, "ways", named)
    shown = [*texts.shown, *(options[name] for name in OPTION_NAMES), *panel.inputs, progress]

    def on_use(event: gr.EventData) -> list[Any]:
        try:
            return use_way(resident.model, event.recipe)
        except ValueError as error:  # gradio shows no error of an event that hides its progress
            return [*[gr.skip() for _ in shown[:-1]], progress_value("error", message=sentence(error))]

    compared.ways.select(on_use, None, shown, **QUICK)
    return TabLinks(
        take=lambda text: [text],
        outputs=[texts.boxes[0]],
        sends=[Sender(rows.select, "edit"), Sender(stage.select, "edit")],
        take_texts=lambda visitor, sent: [several(sent)],
        texts_outputs=texts.shown,
        texts_sends=[TextsSender(to_map.click, "map", stage, texts_of)],
        restore=Restore((OPERATION,), lambda query: restore(resident.model, query), shown, bench="interpolate"),
        views={"interpolate": on_run, "ways": on_compare},
    )


def first_parts(model: ColaDLM) -> dict[str, Any]:
    """What stands there before anything was run, by the names of the parts: the interpolation that ships, if it is one
    of this model.
    """
    found = recorded_interpolation(model)
    return {} if found is None else recorded_parts(model, first_recipe(model), found)


def lay_out_texts() -> tuple[Texts, RunControls]:
    """The boxes, the first two of them filled in, with Run beside them."""
    first = EXAMPLES[0]
    with gr.Row(elem_classes="yours"):
        with gr.Column(elem_classes="ask texts"):
            boxes = [
                gr.Textbox(
                    first[i] if i < len(first) else "",
                    label=f"Text {i + 1}",
                    lines=1,
                    max_lines=8,
                    visible=i < 2,
                    elem_classes="prompt-box",
                    html_attributes=gr.InputHTMLAttributes(spellcheck=False),
                )
                for i in range(MAX_BOXES)
            ]
        controls = RunControls("interpolate", "Interpolate")
    # a component and no gr.State: a run is started in the browser, which knows the values of components alone
    count = gr.Number(2, precision=0, visible="hidden")
    with gr.Row(elem_classes="small-buttons"):
        more = gr.Button("Add a text", size="sm", min_width=40)
        fewer = gr.Button("Remove the last", size="sm", min_width=40, interactive=False)
    return Texts(count, boxes, more, fewer), controls


def lay_out_examples(texts: Texts) -> None:
    with gr.Row(elem_classes="examples notranslate"):
        for example in EXAMPLES:
            button = gr.Button(" → ".join(example), size="sm", elem_classes="example", min_width=40)
            button.click(lambda example=example: fill_boxes(example), None, texts.shown, **QUICK)


def connect_boxes(texts: Texts) -> None:
    """Connects the buttons that show, hide and fill the boxes."""
    texts.more.click(lambda n: show_boxes((n or 2) + 1), texts.count, texts.shown, **QUICK)
    texts.fewer.click(lambda n: show_boxes((n or 2) - 1), texts.count, texts.shown, **QUICK)


def connect_chips(chips: SettingChips, options: Mapping[str, Any], panel: SettingsPanel) -> None:
    """Keeps the values on the chips those of their controls."""
    named: dict[str, Any] = {
        **options,
        **{name.removeprefix("settings."): control for name, control in panel.by_name.items()},
    }
    shown = [named[name] for name, *_ in CHIPS]
    words = json.dumps({choice.value: choice.title[0].lower() + choice.title[1:] for choice in ROAD_CHOICES})
    js = f"(road, ...values) => [[({words})[road] ?? road, ...values]]"
    gr.on([control.change for control in shown], None, shown, chips, js=js, **QUICK)
    chips.value = ["through the flow", *(control.value for control in shown[1:])]


def lay_out_options() -> dict[str, gr.components.Component]:
    """The controls of the interpolation, by their names in a recipe."""
    road = ChoiceList("How to interpolate", "road", ROAD_CHOICES, OPTIONS["road"], elem_classes="setting set-road")
    stops, renoise, tries = sliders(
        ("Waypoints from text to text", "Both texts counted.", (2, 33, 1), OPTIONS["stops"], "set-stops"),
        (
            "Noise (%)",
            "How much noise the mixed latents get. Less stays closer to the mixture, more to what the model would "
            "write.",
            (0, 100, 1),
            percent(OPTIONS["renoise"]),
            "set-renoise when road-through_flow",
        ),
        (
            "Candidates for each waypoint",
            "How often each waypoint is made, from different noise and from less of it. Those are kept that go "
            "steadily from text to text and that the flow finds likeliest. 1 keeps what comes first.",
            (1, 32, 1),
            OPTIONS["tries"],
            "set-tries when road-through_flow",
        ),
    )
    before = gr.Textbox(
        "",
        label="A text before (not shown in the waypoints)",
        info="The waypoints follow it, so that their first words have something to go by. It pulls at all of them.",
        lines=2,
        max_lines=6,
        elem_classes="setting set-before",
        html_attributes=gr.InputHTMLAttributes(spellcheck=False),
    )
    profile = ChoiceBox(
        "Where to add noise",
        "",
        [("less towards the texts", "arch"), ("the same at all waypoints", "flat")],
        "arch",
        elem_classes="setting when road-through_flow",
    )
    align = ChoiceBox(
        "Texts of different length",
        "Padded, a waypoint loses its last words first; stretched, it reads each text at the nearest place of its own "
        "length.",
        [("pad the shorter at its end", "pad"), ("stretch both to a length between", "stretch")],
        "pad",
        elem_classes="setting when road-through_flow road-decoder_only",
    )
    return {"road": road, "stops": stops, "renoise": renoise, "tries": tries, "profile": profile, "align": align,
            "before": before}  # fmt: skip


def lay_out_stage(first: dict[str, Any] | None) -> tuple[WaypointStage, ProgressLine]:
    """The waypoint under the thumb. first: what stands there before anything was run."""
    with gr.Column(elem_classes="results stage"):
        stage = WaypointStage(
            "No waypoints yet. Press Interpolate, and the texts in between come out of the noise together.",
            "Interpolate",
            value=first,
            part="stage",
            elem_id="walk",
        )
        with gr.Row(elem_classes="over"):
            progress = ProgressLine(part="progress", elem_classes="progress")
            ShareLink(part="link", elem_classes="link")
    return stage, progress


def lay_out_views(
    rows: dict[str, Any] | None, distances: dict[str, Any] | None
) -> tuple[TextRows, gr.Button, Compared]:
    """The four ways side by side, all waypoints as a list, their distances; the button that takes them to the map.

    rows, distances: what stands there before anything was run.
    """
    with gr.Column(elem_classes="views"):
        with gr.Row(elem_classes="small-buttons tools to-map"):
            to_map = gr.Button("See the waypoints on the map", size="sm", min_width=40)
        compared = lay_out_ways()
        with gr.Accordion("All waypoints as a list", open=False, elem_classes="below"):
            listed = TextRows("Waypoints", "Edit", "not in the waypoint above", "No waypoints yet.",
                            value=rows, part="rows", elem_id="waypoints")  # fmt: skip
        with gr.Accordion("Distances to the texts", open=False, elem_classes="below"):
            Distances(distances, part="distances")
    return listed, to_map, compared

"""The tab Interpolate: two texts or more, and what lies between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import gradio as gr

from coladlm.latent.interpolate import METHODS

from ..components import (
    Choice,
    ChoiceBox,
    ChoiceList,
    Distances,
    ProgressLine,
    ShareLink,
    TextRows,
)
from ..runs.registry import Frame, RunContext
from ..shared.event_options import EventOptions
from ..shared.operation_controls import fold_button, sliders
from ..shared.resident import Resident
from ..shared.run_controls import RunControls
from ..shared.settings_panel import SettingsPanel
from ..shared.tab_links import Restore, Sender, TabLinks, TextsSender
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
EXAMPLES = (
    ("The sun was warm and bright.", "The night was cold and dark."),
    ("The cat slept on the bed.", "The dog ran in the park."),
    ("Tom was very happy.", "Tom was very sad.", "Tom was very angry."),
)
BEFORE = "Once upon a time, there was a little girl named Lily."
QUICK: EventOptions = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}


class Texts(NamedTuple):
    """The boxes of the texts. count: of those in use. more, fewer, examples: buttons that change it."""

    count: gr.Number
    boxes: list[gr.Textbox]
    more: gr.Button
    fewer: gr.Button
    examples: list[gr.Button]

    @property
    def shown(self) -> list[gr.components.Component]:
        """What `show_boxes` has values for."""
        return [self.count, *self.boxes, self.fewer, self.more]


class Results(NamedTuple):
    """What stands beside the controls. to_map: a button."""

    progress: ProgressLine
    rows: TextRows
    to_map: gr.Button


def build(resident: Resident, page: gr.Blocks) -> TabLinks:
    """Lays the tab out inside the current context of `page` and connects it; says how texts leave and come in."""
    defaults = resident.first.defaults
    with gr.Row(elem_classes="workbench", elem_id="interpolate"):
        with gr.Column(elem_classes="controls"):
            texts = lay_out_texts()
            controls = RunControls("interpolate", "Interpolate")
            options = lay_out_options()
            fold_button("interpolate")
            with (
                gr.Column(elem_classes="setting-list"),
                gr.Accordion("Sampler and alignment", open=False, elem_classes="more"),
            ):
                options |= lay_out_more_options()
                panel = SettingsPanel(defaults)
        with gr.Column(elem_classes="results"):
            results = lay_out_results()

    def on_run(context: RunContext, named: Mapping[str, Any]) -> Iterator[Frame]:
        yield from interpolate(resident.model, resident.scheduler, context, named)

    connect_boxes(texts)
    named = {
        "count": texts.count,
        **{f"texts.{i}": box for i, box in enumerate(texts.boxes, 1)},
        **{f"options.{name}": options[name] for name in OPTION_NAMES},
        **panel.by_name,
    }
    controls.connect("interpolate", named, also=[results.rows.submit, *(box.submit for box in texts.boxes)])
    shown = [*texts.shown, *(options[name] for name in OPTION_NAMES), *panel.inputs, results.progress]
    return TabLinks(
        take=lambda text: [text],
        outputs=[texts.boxes[0]],
        sends=[Sender(results.rows.select, "edit")],
        take_texts=lambda visitor, sent: [several(sent)],
        texts_outputs=texts.shown,
        texts_sends=[TextsSender(results.to_map.click, "map", results.rows, texts_of)],
        restore=Restore((OPERATION,), lambda query: restore(resident.model, query), shown, bench="interpolate"),
        views={"interpolate": on_run},
    )


def lay_out_texts() -> Texts:
    """The boxes, the first two of them filled in."""
    first = EXAMPLES[0]
    with gr.Group(elem_classes="ask"):
        boxes = [
            gr.Textbox(
                first[i] if i < len(first) else "",
                label=f"Text {i + 1}",
                lines=2,
                max_lines=8,
                visible=i < 2,
                elem_classes="prompt-box",
                html_attributes=gr.InputHTMLAttributes(spellcheck=False),
            )
            for i in range(MAX_BOXES)
        ]
        # a component and no gr.State: a run is started in the browser, which knows the values of components alone
        count = gr.Number(2, precision=0, visible="hidden")
        with gr.Row(elem_classes="small-buttons"):
            more = gr.Button("Add a text", size="sm", min_width=40)
            fewer = gr.Button("Remove the last", size="sm", min_width=40, interactive=False)
        with gr.Row(elem_classes="examples notranslate"):
            examples = [
                gr.Button(" → ".join(texts), size="sm", elem_classes="example", min_width=40) for texts in EXAMPLES
            ]
    return Texts(count, boxes, more, fewer, examples)


def connect_boxes(texts: Texts) -> None:
    """Connects the buttons that show, hide and fill the boxes."""
    texts.more.click(lambda n: show_boxes((n or 2) + 1), texts.count, texts.shown, **QUICK)
    texts.fewer.click(lambda n: show_boxes((n or 2) - 1), texts.count, texts.shown, **QUICK)
    for button, example in zip(texts.examples, EXAMPLES, strict=True):
        button.click(lambda example=example: fill_boxes(example), None, texts.shown, **QUICK)


def lay_out_options() -> dict[str, gr.components.Component]:
    """The controls of the interpolation that are always at hand, by their names in a recipe."""
    road = ChoiceList("How to interpolate", "road", ROAD_CHOICES, METHODS[0])
    stops, renoise = sliders(
        ("Waypoints from text to text", "Both texts counted. All waypoints run as one batch.", (2, 33, 1), 9, ""),
        (
            "Noise (%)",
            "How much noise the mixed latents get. Less stays closer to the mixture, more to what the model would "
            "write.",
            (0, 100, 1),
            80,
            "when road-through_flow",
        ),
    )
    before = gr.Textbox(
        BEFORE,
        label="A text before (not shown in the waypoints)",
        info="The waypoints follow on it, so that their first words have something to go by. It may be empty.",
        lines=2,
        max_lines=6,
        elem_classes="setting",
        html_attributes=gr.InputHTMLAttributes(spellcheck=False),
    )
    return {"road": road, "stops": stops, "renoise": renoise, "before": before}


def lay_out_more_options() -> dict[str, gr.components.Component]:
    """Those that are folded away."""
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
    return {"profile": profile, "align": align}


def lay_out_results() -> Results:
    """What shows a run."""
    with gr.Row(elem_classes="over"):
        progress = ProgressLine(part="progress", elem_classes="progress")
        ShareLink(part="link", elem_classes="link")
    rows = TextRows(
        "Waypoints",
        "Edit",
        "not in the waypoint above",
        "No waypoints yet. Press Interpolate, and the texts in between come out of the noise together.",
        "Interpolate",
        part="rows",
        elem_id="waypoints",
    )
    Distances(part="distances")
    with gr.Row(elem_classes="small-buttons tools to-map"):
        to_map = gr.Button("See the waypoints on the map", size="sm", min_width=40)
    return Results(progress, rows, to_map)

"""The tab Bench: what follows from the results that ship, two small parts to run oneself, and the results."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from coladlm.checkpoint import BUNDLED
from coladlm.evaluate.bench.results import Result, load

from ..components import ChoiceBox, ProgressLine
from ..shared.event_options import UNLIMITED, EventOptions
from ..shared.resident import Resident
from ..shared.tab_links import TabLinks
from . import structured
from .likelihood import likelihood_values
from .result_html import results_html, summary_html

NAME = "bench"
RESULTS = BUNDLED.parent / "bench"
ORDER = ("strengths", "tasks", "structured", "long", "likelihood", "cost")  # in which parts are shown, then others
LINKS = (
    "<p class='jump'>Try it: <a href='#bench-likelihood'>how likely is a text?</a> <a href='#structured'>a task with "
    "strict rules</a> Look it up: <a href='#bench-results'>all tables, curves and commands</a></p>"
)
RESULTS_TITLE = (
    "<h2>All tables and curves</h2><p>Numbers in brackets are 95 % intervals: the figure would mostly fall between "
    "them with other items of the same kind.</p>"
)
LIKELIHOOD = (
    "<h2>How likely is a text?</h2><p>A transformer gives the probability of a text exactly. A diffusion model gives a "
    "bound: noise is put on the latents of each word and the model takes it off again; the better it guesses, the less "
    "there is to pay, counted in nats (1 nat is 1.44 bits). A likely text is not yet a good one: the likeliest texts "
    "are dull, and guidance, which makes better texts, makes the bound worse.</p>"
)
TEXT = "Once upon a time, there was a little dog. The dog liked to play with the moon in the park."
ORDERS = (("one word after another", "tokens"), ("the words of a block at once", "blocks"))
HERE = Path(__file__).parent
SCRIPTS = "\n".join(
    file.read_text(encoding="utf-8") for file in (HERE.parent / "components" / "clipboard.js", HERE / "commands.js")
)
# some 100 KB of tables, which no visitor of another tab gets: JavaScript of a tab starts when it is first shown
WHEN_SHOWN = f"{SCRIPTS}\ntrigger('submit');"
QUICK: EventOptions = {"show_progress": "hidden", "api_visibility": "private"}


def shipped_results(folder: Path = RESULTS) -> list[Result]:
    """The results in a folder, in the order of ORDER. Raises ResultError for a file that is none."""
    found = [load(file) for file in sorted(folder.glob("*.json"))]
    return sorted(found, key=lambda result: ORDER.index(result.part) if result.part in ORDER else len(ORDER))


def build(resident: Resident, page: gr.Blocks) -> TabLinks:
    """Lays the tab out inside the current context of `page` and connects it; no text comes in or leaves."""
    results = shipped_results()
    with gr.Column(elem_classes="workbench model-tab", elem_id=NAME):
        gr.HTML(LINKS + summary_html(results), elem_id="bench-summary", js_on_load=None)
        with gr.Column(elem_classes="beside bare", elem_id="bench-likelihood"):
            gr.HTML(LIKELIHOOD, elem_classes="section-title", js_on_load=None)
            text = gr.Textbox(TEXT, label="Text", lines=2, max_lines=8, elem_classes="prompt-box")
            order = ChoiceBox(
                "Written as", "Both are ways in which the model can write.", ORDERS, "tokens", elem_classes="setting"
            )
            measure = gr.Button("Measure", elem_classes="small-run")
            line = ProgressLine(elem_classes="fold-progress")
            found = gr.HTML("", elem_id="bench-found", js_on_load=None)
        views = structured.build(resident)
        gr.HTML(RESULTS_TITLE, elem_classes="section-title", js_on_load=None)
        shown = gr.HTML("", elem_id="bench-results", js_on_load=WHEN_SHOWN)

    def on_measure(text: str, order: str) -> Iterator[tuple[Any, Any]]:
        yield from likelihood_values(resident.model, resident.scheduler, resident.baseline, text, order)

    def on_show() -> str:
        return results_html(results, resident.model.fingerprint)

    # a press while one is measured is of another text or order: it comes after
    measure.click(on_measure, [text, order], [found, line], trigger_mode="always_last", **QUICK, **UNLIMITED)
    shown.submit(on_show, None, shown, queue=False, **QUICK)
    return TabLinks(views=views)

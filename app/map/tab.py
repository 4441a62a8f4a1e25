"""The tab Map: texts as points of latent space, in clusters that their words name."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import Any, NamedTuple

import gradio as gr

from coladlm.latent.reference_cloud import load_sentences

from ..components import ProgressLine
from ..components.saver import Saver
from ..components.text_map import TextMap
from ..shared.event_options import EVERY, UNLIMITED, EventOptions
from ..shared.resident import Resident
from ..shared.session import session_of
from ..shared.tab_links import READS, ListSender, Sender, TabLinks, TextsSender
from .handlers import MOST_LISTED, Maps
from .text_files import ENDINGS

NAME = "map"
QUICK: EventOptions = {"show_progress": "hidden", "api_visibility": "private"}
EMPTY = "No texts on the map. Begin with the {count} sentences that ship with this page, or open your own above."
NOTE = (
    "Every point is a text, at the mean of its latents: texts of like words lie together, their order counts little. "
    "The map flattens {channels} dimensions to two, so what lies together on it may still be far apart; the numbers in "
    "the lists are true distances."
)
UPLOAD_NOTE = (
    "A text a line; or a table, JSON lines or a JSON array with a column or key “text” and, if you like, “set”. Up to "
    "20 MB; of more than 5,000 texts, 5,000 are drawn by lot. The file is read once and deleted after a few minutes."
)
FILES = (
    ("html", "Page (HTML)", "The map in one file that can be searched and coloured without a server or a network"),
    ("csv", "Table (CSV)", "A row for every text: set, cluster, where it lies on each map"),
    ("npz", "Latents (npz)", "Texts, latents, clusters and maps as arrays, for a notebook with numpy"),
)


def _paragraph(text: str) -> str:
    return f"<p role='status'>{html.escape(text)}</p>"


class _LaidOut(NamedTuple):
    """The components of the tab. note: of a direction. fitted: how far a UMAP is."""

    file: gr.File
    progress: ProgressLine
    texts: TextMap
    note: gr.HTML
    to_edit: gr.Button
    fitted: ProgressLine
    saver: Saver


def _lay_out(resident: Resident, no_direction: str) -> _LaidOut:
    """no_direction: what is said, as HTML, while there is none."""
    with gr.Column(elem_classes="workbench-wide", elem_id=NAME):
        gr.HTML(f"<p class='about'>{NOTE.format(channels=resident.first.latent_dim)}</p>", js_on_load=None)
        with gr.Accordion("Open texts of your own", open=False, elem_classes="more"):
            gr.HTML(f"<p class='about'>{UPLOAD_NOTE}</p>", js_on_load=None)
            file = gr.File(label=f"Texts ({', '.join(ENDINGS)})", file_types=list(ENDINGS), height=120)
        progress = ProgressLine(elem_classes="progress")
        texts = TextMap(EMPTY.format(count=len(load_sentences())), "Show the sentences", elem_id="texts")
        with gr.Row(elem_classes="direction"):
            note = gr.HTML(no_direction, elem_id="direction-note", js_on_load=None)
            to_edit = gr.Button("Use the direction in Edit", interactive=False, min_width=160, scale=0)
        fitted = ProgressLine(elem_classes="fitting")
        saver = Saver("Save", FILES, elem_id="map-save")
    return _LaidOut(file, progress, texts, note, to_edit, fitted, saver)


def build(resident: Resident, page: gr.Blocks) -> TabLinks:
    """Lays the tab out inside the current context of `page` and connects it; says how texts leave it."""
    maps = resident.per_model(lambda model: Maps(model, resident.scheduler))
    laid_out = _lay_out(resident, _paragraph(maps().direction([], [])))
    file, progress, texts, note, to_edit, fitted, saver = laid_out
    first, second = gr.State([]), gr.State([])

    # gradio empties what a generator that yields nothing is to change

    def on_shipped(request: gr.Request) -> Iterator[list[Any]]:
        yield [gr.skip(), gr.skip()]
        yield from maps().shipped(session_of(request))

    def on_file(file: str | None, request: gr.Request) -> Iterator[list[Any]]:
        yield [gr.skip(), gr.skip(), None]
        for values in maps().upload(session_of(request), file):
            yield [*values, gr.skip()]

    def on_fit(request: gr.Request) -> Iterator[list[Any]]:
        yield [gr.skip(), gr.skip()]
        yield from maps().fit(session_of(request))

    def on_near(event: gr.EventData, request: gr.Request) -> list[Any]:
        return maps().near(session_of(request), event.text)

    def on_end(event: gr.EventData, first: list[str], second: list[str]) -> list[Any]:
        chosen = [text for text in event.texts if isinstance(text, str)][:MOST_LISTED]
        ends = (chosen, second) if event.end == "first" else (first, chosen)
        return [*ends, _paragraph(maps().direction(*ends)), gr.Button(interactive=all(ends))]

    def on_save(event: gr.EventData, request: gr.Request) -> dict[str, Any]:
        return maps().save(session_of(request), event.kind)

    def take_waypoints(visitor: str, texts: list[str]) -> Iterator[list[Any]]:
        yield from maps().take_waypoints(visitor, texts)

    fitting: EventOptions = {"concurrency_id": "umap", "concurrency_limit": 1, **QUICK}

    def then_fit(listener: Any) -> None:
        listener.then(on_fit, None, [texts, fitted], **fitting)

    then_fit(texts.submit(on_shipped, None, [texts, progress], **QUICK, **UNLIMITED))
    then_fit(file.upload(on_file, file, [texts, progress, file], **EVERY, **QUICK, **UNLIMITED))
    texts.input(on_near, None, [texts, progress], **EVERY, **QUICK, **UNLIMITED)
    texts.like(on_end, [first, second], [first, second, note, to_edit], **QUICK, **UNLIMITED)
    saver.select(on_save, None, saver, **QUICK)
    return TabLinks(
        sends=[Sender(texts.edit, "edit")],
        take_texts=take_waypoints,
        texts_outputs=[texts, progress],
        texts_options=READS,
        texts_then=then_fit,
        texts_sends=[TextsSender(texts.select, "interpolate")],
        list_sends=[ListSender(to_edit.click, "edit", first, second)],
    )

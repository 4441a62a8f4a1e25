"""The tab Map: texts as points of latent space, in clusters that their words name."""

from __future__ import annotations

import html
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import gradio as gr

from coladlm.latent.reference_cloud import load_sentences
from coladlm.latent.sentence_map import UMAP_SETTINGS

from ..components import ProgressLine
from ..components.progress_line import progress_value
from ..components.saver import Saver
from ..components.text_map import TextMap
from ..shared.event_options import EVERY, UNLIMITED, EventOptions, then_nothing
from ..shared.resident import Resident
from ..shared.saving import file_or_reason
from ..shared.session import session_of
from ..shared.tab_links import READS, ListSender, Sender, TabLinks, TextsSender
from .charts import MIN_DIST, NEIGHBOURS
from .handlers import MOST_LISTED, Maps
from .text_files import ENDINGS, TEXT_NAMES
from .vector_files import ENDING as VECTORS_ENDING

NAME = "map"
QUICK: EventOptions = {"show_progress": "hidden", "api_visibility": "private"}
EMPTY = "No texts on the map. Begin with the {count} sentences that ship with this page, or open your own below."
NOTE = (
    "Every point is a text, placed by what the model takes it to mean: the states of its diffusion transformer as it "
    "reads the text, averaged. Search by a word, or write a sentence and press Enter: it gets a point of its own, and "
    "the texts nearest to it are listed. A click on a line or its point selects the text, a second click deselects "
    "it; Lasso, Box and a cluster's name select many. One text goes on to Edit, two or more go to Interpolate, and two "
    "selections, A and B, are the ends of a direction. In the list, the arrows move, Space selects and N lists the "
    "neighbours."
)
UMAP_NOTE = (
    "A UMAP keeps near neighbours near and leaves the rest to chance. With few neighbours it shows small groups, "
    "with many the whole; a small distance packs the points of a group, a large one spreads them. It is fitted "
    "in the background, in some seconds, and then offered: the map that you see stays until you choose another."
)
UPLOAD_NOTE = (
    "One text per line; or a table, JSON lines or a JSON array with a column or key “text” and, if you like, “set”; "
    "where several hold texts, you choose. Up to 20 MB; of more than 5,000 texts, 5,000 are drawn at random. The file "
    "is deleted after a few minutes. An .npz file of numpy with “vectors” (n, d) and, if you like, “texts” (n) shows "
    "vectors that another program made; a map that was saved here as “Map (npz)” opens as it was."
)
FILES = (
    ("html", "Page (HTML)", "The map in one file that can be searched and coloured without a server or a network"),
    ("csv", "Table (CSV)", "A row for every text: set, cluster, where it lies on each map"),
    ("npz", "Map (npz)", "Opens again above as it is now; texts, vectors, clusters and maps for a notebook with numpy"),
)


def _paragraph(text: str) -> str:
    return f"<p role='status'>{html.escape(text)}</p>"


class _LaidOut(NamedTuple):
    """The components of the tab. note: of a direction. fit, neighbours, min_dist: for another UMAP. fitted: how far it
    is.
    """

    texts: TextMap
    progress: ProgressLine
    note: gr.HTML
    to_edit: gr.Button
    fitted: ProgressLine
    file: gr.File
    column: gr.Radio
    sentences: gr.Button
    neighbours: gr.Slider
    min_dist: gr.Slider
    fit: gr.Button
    saver: Saver


def _lay_out(no_direction: str) -> _LaidOut:
    """no_direction: what is said, as HTML, while there is none."""
    with gr.Column(elem_classes="workbench on-stage", elem_id=NAME):
        with gr.Column(elem_classes="results stage"):
            texts = TextMap(EMPTY.format(count=len(load_sentences())), "Show the sentences", elem_id="texts")
            with gr.Row(elem_classes="over"):
                progress = ProgressLine(elem_classes="progress")
        gr.HTML(f"<p class='about'>{NOTE}</p>", js_on_load=None)
        with gr.Row(elem_classes="small-buttons direction"):
            note = gr.HTML(no_direction, elem_id="direction-note", js_on_load=None)
            to_edit = gr.Button("Use the direction in Edit", size="sm", interactive=False, min_width=40)
        fitted = ProgressLine(elem_classes="fitting")
        with gr.Accordion("Open texts of your own", open=False, elem_classes="more"):
            gr.HTML(f"<p class='about'>{UPLOAD_NOTE}</p>", js_on_load=None)
            endings = [*ENDINGS, VECTORS_ENDING]
            file = gr.File(label=f"Texts or vectors ({', '.join(endings)})", file_types=endings, height=120)
            column = gr.Radio([], label="Column with the texts", visible=False)
            sentences = gr.Button("Show the sentences that ship with this page", min_width=160)
        with gr.Accordion("Another UMAP", open=False, elem_classes="more"):
            gr.HTML(f"<p class='about'>{UMAP_NOTE}</p>", js_on_load=None)
            with gr.Row():
                neighbours = gr.Slider(*NEIGHBOURS, UMAP_SETTINGS.neighbours, step=1, label="Neighbours (n_neighbors)")
                min_dist = gr.Slider(*MIN_DIST, UMAP_SETTINGS.min_dist, step=0.01, label="Distance (min_dist)")
            fit = gr.Button("Fit this UMAP", min_width=160)
        saver = Saver("Save", FILES, elem_id="map-save")
    return _LaidOut(texts, progress, note, to_edit, fitted, file, column, sentences, neighbours, min_dist, fit, saver)


def build(resident: Resident, page: gr.Blocks) -> TabLinks:
    """Lays the tab out inside the current context of `page` and connects it; says how texts leave it."""
    maps = resident.per_model(lambda model: Maps(model, resident.scheduler))
    laid_out = _lay_out(_paragraph(maps().direction([], [])))
    fitting = _connect_texts(maps, laid_out)
    _connect_selections(maps, laid_out)

    def take_waypoints(visitor: str, texts: list[str]) -> Iterator[Sequence[Any]]:
        yield from then_nothing(maps().take_waypoints(visitor, texts), 2)

    first, second = _connect_direction(maps, laid_out)
    return TabLinks(
        sends=[Sender(laid_out.texts.edit, "edit")],
        take_texts=take_waypoints,
        texts_outputs=[laid_out.texts, laid_out.progress],
        texts_options=READS,
        texts_then=fitting,
        texts_sends=[TextsSender(laid_out.texts.select, "interpolate")],
        list_sends=[ListSender(laid_out.to_edit.click, "edit", first, second)],
    )


def _connect_texts(maps: Callable[[], Maps], laid_out: _LaidOut) -> Callable[[Any], None]:
    """What puts texts on the map, and maps of them beside it; returns what connects the usual UMAP to a listener."""
    texts, progress, fitted, file = laid_out.texts, laid_out.progress, laid_out.fitted, laid_out.file

    def on_open(request: gr.Request) -> Iterator[Sequence[Any]]:
        yield from then_nothing(maps().open(session_of(request)), 2)

    def on_shipped(request: gr.Request) -> Iterator[Sequence[Any]]:
        yield from then_nothing(maps().shipped(session_of(request)), 2)

    def on_file(file: str | None, request: gr.Request) -> list[Any]:
        asked = maps().ask(session_of(request))  # before its columns are there: what is chosen among them comes later
        columns = maps().columns(file)
        usual = next((column for name in TEXT_NAMES for column in columns if column.lower() == name), None)
        return [None, gr.Radio(choices=columns, value=usual, visible=bool(columns)), file, asked]

    def on_opened(file: str | None, asked: int | None, request: gr.Request) -> Iterator[Sequence[Any]]:
        yield from then_nothing(maps().upload(session_of(request), file, asked=asked), 2)

    def on_column(column: str | None, file: str | None, request: gr.Request) -> Iterator[Sequence[Any]]:
        yield from then_nothing(maps().upload(session_of(request), file, column) if column else (), 2)

    def on_usual_fit(request: gr.Request) -> Iterator[Sequence[Any]]:
        yield from then_nothing(maps().fit(session_of(request)), 2)

    def on_fit(neighbours: float, min_dist: float, request: gr.Request) -> Iterator[Sequence[Any]]:
        begun = progress_value("idle", message="The UMAP begins as soon as no other is being fitted.")
        fits = maps().fit(session_of(request), neighbours, min_dist)
        yield from then_nothing(itertools.chain([[gr.skip(), begun]], fits), 2)

    options: EventOptions = {"concurrency_id": "umap", "concurrency_limit": 1, **QUICK}

    def then_fit(listener: Any) -> None:
        listener.then(on_usual_fit, None, [texts, fitted], **options)

    then_fit(texts.submit(on_open, None, [texts, progress], **QUICK, **UNLIMITED))
    then_fit(laid_out.sentences.click(on_shipped, None, [texts, progress], **QUICK, **UNLIMITED))
    opened, asked = gr.State(), gr.State()  # the file that was opened last, while it is there, and when it was
    there = file.upload(on_file, file, [file, laid_out.column, opened, asked], **EVERY, **QUICK, **UNLIMITED)
    then_fit(there.then(on_opened, [opened, asked], [texts, progress], **EVERY, **QUICK, **UNLIMITED))
    choice = [laid_out.column, opened]
    then_fit(laid_out.column.input(on_column, choice, [texts, progress], **EVERY, **QUICK, **UNLIMITED))
    laid_out.fit.click(on_fit, [laid_out.neighbours, laid_out.min_dist], [texts, fitted], **options)
    return then_fit


def _connect_selections(maps: Callable[[], Maps], laid_out: _LaidOut) -> None:
    """What a visitor does with the texts that are there."""
    texts, progress, saver = laid_out.texts, laid_out.progress, laid_out.saver

    def on_near(event: gr.EventData, request: gr.Request) -> list[Any]:
        return maps().near(session_of(request), event.text)

    def on_view(event: gr.EventData, request: gr.Request) -> None:
        maps().set_view(session_of(request), event.selected, event.chart, event.by, event.asked)

    def on_save(event: gr.EventData, request: gr.Request) -> dict[str, Any]:
        return file_or_reason(lambda: maps().save(session_of(request), event.kind, event.address))

    texts.input(on_near, None, [texts, progress], **EVERY, **QUICK, **UNLIMITED)
    texts.blur(on_view, None, None, **EVERY, **QUICK, **UNLIMITED)
    saver.select(on_save, None, saver, **EVERY, **QUICK)


def _connect_direction(maps: Callable[[], Maps], laid_out: _LaidOut) -> tuple[gr.State, gr.State]:
    """Two selections as the ends of a direction: their texts."""
    first, second = gr.State([]), gr.State([])

    def on_end(event: gr.EventData, first: list[str], second: list[str]) -> list[Any]:
        chosen = [text for text in event.texts if isinstance(text, str)][:MOST_LISTED]
        ends = (chosen, second) if event.end == "first" else (first, chosen)
        return [*ends, _paragraph(maps().direction(*ends)), gr.Button(interactive=all(ends))]

    outputs = [first, second, laid_out.note, laid_out.to_edit]
    # one at a time: each goes on from the ends that the one before has left
    laid_out.texts.like(on_end, [first, second], outputs, concurrency_limit=1, **EVERY, **QUICK)
    return first, second

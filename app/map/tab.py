"""The tab Map: texts as points of latent space, in clusters that their words name."""

from __future__ import annotations

import html
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
import numpy as np

from coladlm import ColaDLM
from coladlm.latent.directions import build as build_direction
from coladlm.latent.projection import (
    MAX_FITTED,
    PCAMap,
    UMAPMap,
    UMAPSettings,
    cache_folder,
    fit_pca,
    fit_umap,
    trustworthiness,
)
from coladlm.latent.reference_cloud import load_sentences
from coladlm.latent.text_map import cluster, cluster_words, text_vectors
from coladlm.serve import Scheduler

from ..components import ProgressLine
from ..components.progress_line import progress_value
from ..components.saver import Saver, not_saved, saved
from ..components.text_map import TextMap, text_map_value
from ..shared.event_options import EventOptions
from ..shared.model_turn import EVERY, IN_TURNS, Waiting, sentence, waiting_parts
from ..shared.operation_controls import in_words
from ..shared.resident import Resident
from ..shared.session import session_of
from ..shared.tab_links import READS, ListSender, Sender, TextsSender, Ways
from ..trajectories.records import INT16, compact, packed_int16
from .files import text_arrays, text_page, text_table
from .text_files import ENDINGS, TextFileError, Texts, read_texts

NAME = "map"
MOST_KEPT = 16  # visitors whose maps are kept
NEAREST = 20
MEASURED = 1500  # texts that the trustworthiness is measured on
MOST_LISTED = 256  # texts of an end of a direction
SETTINGS = UMAPSettings(neighbours=20, min_dist=0.2)
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


class TextCloud:
    """Texts with their vectors and the maps of them."""

    def __init__(self, texts: Texts, vectors: np.ndarray) -> None:
        self.texts, self.vectors = texts, vectors
        self.clusters = cluster(vectors)
        self.names = cluster_words(texts.texts, self.clusters)
        self.pca = fit_pca(vectors, min(2, vectors.shape[1]))
        self.charts: dict[str, PCAMap | UMAPMap] = {"pca": self.pca}
        self.road: tuple[list[str], np.ndarray] | None = None  # texts that were sent here, and their vectors

    def placed(self) -> dict[str, np.ndarray]:
        """Where the texts lie on each map, (n, 2)."""
        return {name: chart.place(self.vectors) for name, chart in self.charts.items()}

    def value(self, near: dict[str, Any] | None = None) -> dict[str, Any]:
        """For a TextMap. near: see `text_map_value`."""
        return text_map_value(self.json(), near, self._road())

    def _road(self) -> dict[str, Any] | None:
        if self.road is None:
            return None
        texts, vectors = self.road
        steps = np.linalg.norm(np.diff(vectors, axis=0), axis=1)
        ends, way = float(np.linalg.norm(vectors[-1] - vectors[0])), float(steps.sum())
        said = f"{len(texts)} waypoints, numbered in their order. From one to the next the way is {way:.2f} long in all"
        said += f", {way / ends:.1f} times the straight way between the ends." if ends > 1e-6 else "."
        at = {name: np.round(chart.place(vectors), 4).tolist() for name, chart in self.charts.items()}
        return {"texts": texts, "at": at, "said": said + " The numbers are true latent distances."}

    def json(self) -> str:
        """Everything that a TextMap draws of the texts, in units of its own."""
        placed = self.placed()
        arrays = {**placed, "latents": self.vectors}
        units = {name: float(np.abs(array).max() or 1) / INT16 for name, array in arrays.items()}
        packed = {name: packed_int16(array, units[name]) for name, array in arrays.items()}
        return compact(
            {
                "texts": self.texts.texts,
                "sets": self.texts.sets,
                "lengths": [len(text) for text in self.texts.texts],
                "cluster": self.clusters.tolist(),
                "names": self.names,
                "width": self.vectors.shape[1],
                "latents": packed.pop("latents"),
                "at": packed,
                "units": units,
                "numbers": {name: self._said(name, placed[name]) for name in placed},
            }
        )

    def _said(self, name: str, placed: np.ndarray) -> str:
        """How far a map can be believed."""
        some = np.linspace(0, len(placed) - 1, min(MEASURED, len(placed))).astype(int)
        trust = trustworthiness(self.vectors[some], placed[some])
        found = "too few texts to measure the trustworthiness of near neighbours"
        if np.isfinite(trust):
            found = f"trustworthiness of near neighbours {trust:.2f} (1 is perfect)"
        if name == "pca":
            return f"PCA shows {self.pca.explained.sum():.0%} of the variance in two dimensions; {found}."
        return f"Distances on a UMAP are not latent distances: near is near, far means little; {found}."

    def nearest(self, vector: np.ndarray) -> list[list[float]]:
        """[index, distance] of the nearest texts."""
        distances = np.linalg.norm(self.vectors - vector, axis=1)
        return [[int(i), round(float(distances[i]), 4)] for i in np.argsort(distances, kind="stable")[:NEAREST]]


class Maps:
    """The handlers, and the maps of the last visitors."""

    def __init__(self, model: ColaDLM, scheduler: Scheduler) -> None:
        self.model, self.scheduler = model, scheduler
        self._clouds: OrderedDict[str, TextCloud] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, visitor: str) -> TextCloud | None:
        with self._lock:
            return self._clouds.get(visitor)

    def forget(self, visitor: str) -> None:
        with self._lock:
            self._clouds.pop(visitor, None)

    def shipped(self, visitor: str) -> Iterator[list[Any]]:
        """(map, progress) with the sentences that ship with the app."""
        sentences = load_sentences()
        texts = Texts(sentences, [""] * len(sentences), f"{len(sentences)} sentences from TinyStories.")
        yield from self._made(visitor, texts)

    def upload(self, visitor: str, file: str | None) -> Iterator[list[Any]]:
        """(map, progress) with the texts of a file. What is wrong with it comes as a sentence.

        The file stays: gradio keeps equal uploads of several visitors as one, and deletes it when it is old.
        """
        if file is None:
            return
        try:
            texts = read_texts(file)
        except (ValueError, OSError) as error:
            yield [gr.skip(), progress_value("error", message=_said(error))]
            return
        yield from self._made(visitor, texts)

    def _made(self, visitor: str, texts: Texts) -> Iterator[list[Any]]:
        try:
            if len(set(texts.texts)) < 2:
                raise TextFileError("all texts are the same, expected at least two that differ")
            vectors = None
            for event in self._encoding(visitor, texts.texts):
                if isinstance(event, Waiting):
                    if event.ahead:
                        yield [gr.skip(), progress_value("waiting", waiting_parts(event), 0.0, "Waiting", "texts")]
                    continue
                share, vectors = event
                parts = ["encoding", f"{round(share * len(texts.texts)):,} of {len(texts.texts):,} texts"]
                yield [gr.skip(), progress_value("running", parts, share, "Encoding", "texts")]
            assert vectors is not None  # the last one brings them
            if len(np.unique(vectors, axis=0)) < 2:
                raise TextFileError("all texts have the same latents, expected at least two that differ")
            cloud = TextCloud(texts, vectors)
        except Exception as error:  # a visitor gets a sentence, never a traceback; see `sentence`
            yield [gr.skip(), progress_value("error", message=_said(error))]
            return
        with self._lock:
            self._clouds[visitor] = cloud
            self._clouds.move_to_end(visitor)
            while len(self._clouds) > MOST_KEPT:
                self._clouds.popitem(last=False)
        yield [cloud.value(), progress_value("idle", message=texts.said)]

    def _encoding(self, visitor: str, texts: Sequence[str]) -> Iterator[Any]:
        """What `text_vectors` gives, in turns, and Waiting in between."""
        with self.scheduler.alone(lambda: text_vectors(self.model, texts), visitor, "encode") as events:
            yield from events

    def take_road(self, visitor: str, texts: Sequence[str]) -> Iterator[list[Any]]:
        """(map, progress) with texts that were sent here as waypoints, on the visitor's map or one of the sentences."""
        cloud = self.get(visitor)
        shown = text_map_value() if cloud is None else cloud.value()
        if cloud is None:
            for _, progress in self.shipped(visitor):
                yield [shown, progress]
            cloud = self.get(visitor)
        if cloud is None:  # the last value said why
            return
        try:
            if len(texts) < 2:
                raise TextFileError("the interpolation has fewer than two waypoints with a text, expected at least two")
            found = self._encoding(visitor, list(texts)[:MOST_LISTED])
            *_, (_, vectors) = (event for event in found if not isinstance(event, Waiting))
        except ValueError as error:
            yield [cloud.value(), progress_value("error", message=_said(error))]
            return
        cloud.road = list(texts)[:MOST_LISTED], vectors
        yield [cloud.value(), progress_value("idle", message=cloud.texts.said)]

    def save(self, visitor: str, kind: str) -> dict[str, Any]:
        """The map as a file, for a Saver."""
        cloud = self.get(visitor)
        if cloud is None:
            return not_saved("There are no texts on the map to save.")
        if kind == "npz":
            return saved("texts.npz", "application/octet-stream", text_arrays(cloud))
        if kind == "csv":
            return saved("texts.csv", "text/csv", text_table(cloud))
        return saved("text-map.html", "text/html", text_page(cloud.value()))

    def fit(self, visitor: str) -> Iterator[list[Any]]:
        """(map, its own progress) with a UMAP of the visitor's texts, fitted in a process of its own."""
        cloud = self.get(visitor)
        if cloud is None or "umap" in cloud.charts or len(set(cloud.texts.texts)) < 2 * SETTINGS.neighbours:
            return
        points = cloud.vectors
        if len(points) > MAX_FITTED:
            points = points[np.linspace(0, len(points) - 1, MAX_FITTED).astype(int)]
        try:
            with _folder_for(cloud) as folder:
                for progress in fit_umap(points, SETTINGS, self.model.fingerprint, Path(folder)):
                    if progress.result is not None:
                        cloud.charts["umap"] = progress.result
                    yield [gr.skip(), progress_value("idle", message=f"UMAP, in the background: {progress.message}")]
        except ValueError as error:
            yield [gr.skip(), progress_value("error", message=_said(error))]
            return
        if self.get(visitor) is cloud:  # else there are other texts on the map by now
            yield [cloud.value(), progress_value("idle")]

    def near(self, visitor: str, text: str) -> list[Any]:
        """(map, progress) with the texts that lie nearest to a text of the visitor's."""
        cloud = self.get(visitor)
        if cloud is None:
            return [gr.skip(), progress_value("error", message="The map is not there any more: make it again.")]
        try:
            *_, (_, vectors) = self.scheduler.look(lambda: list(text_vectors(self.model, [text])))
        except ValueError as error:
            return [gr.skip(), progress_value("error", message=_said(error))]
        return [cloud.value({"text": text, "pairs": cloud.nearest(vectors[0])}), gr.skip()]

    def direction(self, first: Sequence[str], second: Sequence[str]) -> str:
        """What two selections make, in a sentence."""
        if not first or not second:
            there = f"A has {len(first)} texts. " if first else f"B has {len(second)} texts. " if second else ""
            return there + "Select texts for both ends, A and B: the way from one to the other is a direction."
        try:
            found = self.scheduler.look(lambda: build_direction(self.model, list(first), list(second)))
        except ValueError as error:
            return _said(error)
        return (
            f"From A ({len(first)} texts) to B ({len(second)} texts) the mean latent moves by {found.length:.2f} radii "
            "of the sphere of latents. In Edit, it is a direction that a span can be pushed along."
        )


def _folder_for(cloud: TextCloud) -> Any:
    """Where a fit may be kept: the cache for texts that ship, and nowhere that lasts for a visitor's own."""
    if cloud.texts.texts == load_sentences():
        return _Lasting(cache_folder())
    return tempfile.TemporaryDirectory()


class _Lasting:
    """A folder that stays, where a temporary one is expected."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> str:
        return str(self.folder)

    def __exit__(self, *_: Any) -> None:
        return None


def _said(error: Exception) -> str:
    """What went wrong, as a sentence about texts."""
    return in_words(sentence(error), {"a prompt": "a text"})


def _paragraph(text: str) -> str:
    return f"<p role='status'>{html.escape(text)}</p>"


class _LaidOut(NamedTuple):
    """The components of the tab. said: of a direction. fitted: how far a UMAP is."""

    file: gr.File
    progress: ProgressLine
    texts: TextMap
    said: gr.HTML
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
            said = gr.HTML(no_direction, elem_id="direction-said", js_on_load=None)
            to_edit = gr.Button("Use the direction in Edit", interactive=False, min_width=160, scale=0)
        fitted = ProgressLine(elem_classes="fitting")
        saver = Saver("Save", FILES, elem_id="map-save")
    return _LaidOut(file, progress, texts, said, to_edit, fitted, saver)


def build(resident: Resident, page: gr.Blocks) -> Ways:
    """Lays the tab out inside the current context of `page` and connects it; says how texts leave it."""
    maps = resident.each(lambda model: Maps(model, resident.scheduler))
    laid_out = _lay_out(resident, _paragraph(maps().direction([], [])))
    file, progress, texts, said, to_edit, fitted, saver = laid_out
    first, second = gr.State([]), gr.State([])

    def on_shipped(request: gr.Request) -> Iterator[list[Any]]:
        yield from maps().shipped(session_of(request))

    def on_file(file: str | None, request: gr.Request) -> Iterator[list[Any]]:
        for values in maps().upload(session_of(request), file):
            yield [*values, None]

    def on_fit(request: gr.Request) -> Iterator[list[Any]]:
        yield [gr.skip(), gr.skip()]  # gradio empties what a generator that yields nothing is to change
        yield from maps().fit(session_of(request))

    def on_near(event: gr.EventData, request: gr.Request) -> list[Any]:
        return maps().near(session_of(request), event.text)

    def on_end(event: gr.EventData, first: list[str], second: list[str]) -> list[Any]:
        chosen = [text for text in event.texts if isinstance(text, str)][:MOST_LISTED]
        first, second = (chosen, second) if event.end == "first" else (first, chosen)
        return [
            first,
            second,
            _paragraph(maps().direction(first, second)),
            gr.Button(interactive=bool(first and second)),
        ]

    def on_save(event: gr.EventData, request: gr.Request) -> dict[str, Any]:
        return maps().save(session_of(request), event.kind)

    def take_road(visitor: str, texts: list[str]) -> Iterator[list[Any]]:
        yield from maps().take_road(visitor, texts)

    def on_leave(request: gr.Request) -> None:
        maps().forget(session_of(request))

    fitting: EventOptions = {"concurrency_id": "umap", "concurrency_limit": 1, **QUICK}
    texts.submit(on_shipped, None, [texts, progress], **QUICK, **IN_TURNS).then(
        on_fit, None, [texts, fitted], **fitting
    )
    file.upload(on_file, file, [texts, progress, file], **QUICK, **IN_TURNS).then(
        on_fit, None, [texts, fitted], **fitting
    )
    texts.input(on_near, None, [texts, progress], **EVERY, **QUICK, **IN_TURNS)
    texts.like(on_end, [first, second], [first, second, said, to_edit], **QUICK, **IN_TURNS)
    saver.select(on_save, None, saver, **QUICK)
    page.unload(on_leave)
    return Ways(
        sends=[Sender(texts.edit, "edit")],
        take_texts=take_road,
        texts_outputs=[texts, progress],
        texts_options=READS,
        texts_sends=[TextsSender(texts.select, "interpolate")],
        list_sends=[ListSender(to_edit.click, "edit", first, second)],
    )

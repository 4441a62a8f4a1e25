"""What the tab Map does: texts become points, clusters and maps, kept for the last visitors."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from coladlm import ColaDLM
from coladlm.latent.directions import build as build_direction
from coladlm.latent.projection import (
    MAX_FITTED,
    UMAPSettings,
    cache_folder,
    fit_umap,
)
from coladlm.latent.reference_cloud import load_sentences
from coladlm.latent.text_map import text_vectors
from coladlm.serve import Scheduler, Waiting

from ..components.progress_line import progress_value
from ..components.saver import not_saved, saved
from ..components.text_map import text_map_value
from ..shared.bounded_store import BoundedStore
from ..shared.errors import sentence
from ..shared.operation_controls import in_words
from ..shared.waiting import waiting_parts
from .cloud import TextCloud
from .files import text_arrays, text_page, text_table
from .text_files import TextFileError, Texts, read_texts

MOST_REQUESTS = 1024  # visitors whose latest request is known: more than can wait
MOST_KEPT = 16  # maps that are kept
MOST_KEPT_BYTES = 256 << 20
KEPT_SECONDS = 2 * 60 * 60  # since a map was last asked for something
MOST_LISTED = 256  # texts of an end of a direction
SETTINGS = UMAPSettings(neighbours=20, min_dist=0.2)


class Maps:
    """The handlers, and the maps of the last visitors, by the sessions of their pages.

    A map outlives its page's connection: gradio takes one that breaks off for a page that was closed.
    """

    def __init__(self, model: ColaDLM, scheduler: Scheduler, clock: Callable[[], float] = time.monotonic) -> None:
        self.model, self.scheduler = model, scheduler
        self._clouds: BoundedStore[str, TextCloud] = BoundedStore(
            MOST_KEPT, MOST_KEPT_BYTES, KEPT_SECONDS, lambda cloud: cloud.nbytes, clock
        )
        # what each visitor has requested last
        self._requested: BoundedStore[str, object] = BoundedStore(
            MOST_REQUESTS, MOST_REQUESTS, KEPT_SECONDS, lambda _: 1, clock
        )

    def get(self, visitor: str) -> TextCloud | None:
        return self._clouds.get(visitor)

    def shipped(self, visitor: str) -> Iterator[list[Any]]:
        """(map, progress) with the sentences that ship with the app, until the visitor asks for other texts."""
        sentences = load_sentences()
        texts = Texts(sentences, [""] * len(sentences), f"{len(sentences)} sentences from TinyStories.")
        yield from self._made(visitor, texts, self._ask(visitor))

    def upload(self, visitor: str, file: str | None) -> Iterator[list[Any]]:
        """(map, progress) with the texts of a file, until the visitor asks for other texts. What is wrong with it comes
        as a sentence.

        The file stays: gradio keeps equal uploads of several visitors as one, and deletes it when it is old.
        """
        if file is None:
            return
        requested = self._ask(visitor)
        try:
            texts = read_texts(file)
        except (ValueError, OSError) as error:
            yield [gr.skip(), progress_value("error", message=_note(error))]
            return
        yield from self._made(visitor, texts, requested)

    def _ask(self, visitor: str) -> object:
        """Stands for what a visitor asks for now."""
        requested = object()
        self._requested.keep(visitor, requested)
        return requested

    def _made(self, visitor: str, texts: Texts, requested: object) -> Iterator[list[Any]]:
        try:
            if len(set(texts.texts)) < 2:
                raise TextFileError("all texts are the same, expected at least two that differ")
            vectors = None
            for event in self._encoding(visitor, texts.texts):
                if self._requested.get(visitor) is not requested:
                    return
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
            yield [gr.skip(), progress_value("error", message=_note(error))]
            return
        if self._requested.get(visitor) is not requested:
            return
        self._clouds.keep(visitor, cloud)
        yield [cloud.value(), progress_value("idle", message=texts.note)]

    def _encoding(self, visitor: str, texts: Sequence[str]) -> Iterator[Any]:
        """What `text_vectors` gives, in turns, and Waiting in between."""
        with self.scheduler.alone(lambda: text_vectors(self.model, texts), visitor, "encode") as events:
            yield from events

    def take_waypoints(self, visitor: str, texts: Sequence[str]) -> Iterator[list[Any]]:
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
            yield [cloud.value(), progress_value("error", message=_note(error))]
            return
        cloud.waypoints = list(texts)[:MOST_LISTED], vectors
        yield [cloud.value(), progress_value("idle", message=cloud.texts.note)]

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
            yield [gr.skip(), progress_value("error", message=_note(error))]
            return
        still = self.get(visitor) is cloud  # else there are other texts on the map by now
        yield [cloud.value() if still else gr.skip(), progress_value("idle")]

    def near(self, visitor: str, text: str) -> list[Any]:
        """(map, progress) with the texts that lie nearest to a text of the visitor's."""
        cloud = self.get(visitor)
        if cloud is None:
            return [gr.skip(), progress_value("error", message="The map is not there any more: make it again.")]
        try:
            *_, (_, vectors) = self.scheduler.look(lambda: list(text_vectors(self.model, [text])))
        except ValueError as error:
            return [gr.skip(), progress_value("error", message=_note(error))]
        return [cloud.value({"text": text, "pairs": cloud.nearest(vectors[0])}), gr.skip()]

    def direction(self, first: Sequence[str], second: Sequence[str]) -> str:
        """What two selections make, in a sentence."""
        if not first or not second:
            there = f"A has {len(first)} texts. " if first else f"B has {len(second)} texts. " if second else ""
            return there + "Select texts for both ends, A and B: the way from one to the other is a direction."
        try:
            found = self.scheduler.look(lambda: build_direction(self.model, list(first), list(second)))
        except ValueError as error:
            return _note(error)
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


def _note(error: Exception) -> str:
    """What went wrong, as a sentence about texts."""
    return in_words(sentence(error), {"a prompt": "a text"})

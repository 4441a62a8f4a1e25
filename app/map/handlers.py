"""What the tab Map does: texts become points, clusters and maps, kept for the last visitors."""

from __future__ import annotations

import contextlib
import tempfile
import threading
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
    ProjectionError,
    UMAPSettings,
    cache_folder,
    fit_umap,
)
from coladlm.latent.reference_cloud import load_sentences
from coladlm.latent.sentence_map import UMAP_SETTINGS, SentenceMap, read_sentences
from coladlm.latent.sentence_meaning import meaning_vectors
from coladlm.serve import Scheduler, Waiting

from ..components.progress_line import progress_value
from ..components.saver import not_saved, saved
from ..components.text_map import text_map_value
from ..shared.bounded_store import BoundedStore
from ..shared.errors import sentence
from ..shared.operation_controls import in_words
from ..shared.run_facts import model_name
from ..shared.waiting import waiting_parts
from .charts import MOST_CHARTS, chart_label, chart_name, umap_settings
from .cloud import COLOURINGS, Query, TextCloud, View, moment
from .files import text_page, text_table
from .saved_maps import is_saved_map, map_file, read_map
from .text_file_error import TextFileError
from .text_files import Texts, read_texts, text_columns
from .vector_files import ENDING, read_vectors

MOST_REQUESTS = 1024  # visitors whose latest request is known: more than can wait
MOST_KEPT = 16  # maps that are kept
MOST_KEPT_BYTES = 256 << 20
KEPT_SECONDS = 2 * 60 * 60  # since a map was last asked for something
MOST_LISTED = 256  # texts of an end of a direction
GONE = "The map is not here any more. Open the sentences or your texts anew."


class Maps:
    """The handlers, and the maps of the last visitors, by the sessions of their pages.

    A map outlives its page's connection: gradio takes one that breaks off for a page that was closed. sentences: those
    that ship, as the model reads them; they are read when they are first needed where that is not known.
    """

    def __init__(
        self, model: ColaDLM, scheduler: Scheduler, clock: Callable[[], float] = time.monotonic,
        sentences: SentenceMap | None = None,
    ) -> None:  # fmt: skip
        self.model, self.scheduler = model, scheduler
        self.sentences = sentences or _shipped_for(model)
        self._clouds: BoundedStore[str, TextCloud] = BoundedStore(
            MOST_KEPT, MOST_KEPT_BYTES, KEPT_SECONDS, lambda cloud: cloud.nbytes, clock
        )
        # what each visitor has requested last
        self._requested: BoundedStore[str, int] = BoundedStore(
            MOST_REQUESTS, MOST_REQUESTS, KEPT_SECONDS, lambda _: 1, clock
        )
        self._lock = threading.Lock()  # of both, where one decides what becomes of the other

    def get(self, visitor: str) -> TextCloud | None:
        return self._clouds.get(visitor)

    def open(self, visitor: str) -> Iterator[list[Any]]:
        """(map, progress) of the map that the visitor has, or of the sentences that ship. Nothing, where texts are on
        their way already.
        """
        cloud = self.get(visitor)
        if cloud is not None:
            yield [cloud.value(), progress_value("idle", message=cloud.texts.note)]
        elif self._requested.get(visitor) is None:
            yield from self.shipped(visitor)

    def shipped(self, visitor: str) -> Iterator[list[Any]]:
        """(map, progress) with the sentences that ship with the app, until the visitor asks for other texts."""
        sentences = load_sentences()
        texts = Texts(sentences, [""] * len(sentences), f"{len(sentences)} sentences from TinyStories.")
        yield from self._made(visitor, texts, self.ask(visitor))

    def columns(self, file: str | None) -> list[str]:
        """The columns of a file that hold texts, where there are several to choose from."""
        try:
            found = [] if file is None or Path(file).suffix.lower() == ENDING else text_columns(file)
        except (ValueError, OSError):
            return []  # `upload` says what is wrong with the file
        return found if len(found) > 1 else []

    def ask(self, visitor: str) -> int:
        """Stands for what a visitor asks for now: what was asked for before comes too late."""
        with self._lock:
            requested = moment()
            self._requested.keep(visitor, requested)
        return requested

    def upload(self, visitor: str, file: str | None, column: str = "", asked: int | None = None) -> Iterator[list[Any]]:
        """(map, progress) with the texts of a file, until the visitor asks for other texts. What is wrong with it comes
        as a sentence. column: see `read_texts`. asked: what `ask` returned, if the visitor has asked for it before.

        The file stays: gradio keeps equal uploads of several visitors as one, and deletes it when it is old.
        """
        if file is None:
            return
        if asked is not None and self._requested.get(visitor) != asked:
            return
        requested = asked or self.ask(visitor)
        try:
            if not Path(file).exists():
                raise TextFileError("the file is deleted by now, expected it within minutes: open it again")
            if Path(file).suffix.lower() == ENDING:
                yield from self._arrays(visitor, file, requested)
                return
            texts = read_texts(file, column=column)
        except (ValueError, OSError) as error:
            if self._requested.get(visitor) == requested:
                self._forget(visitor, requested)
                yield [self._still(visitor), progress_value("error", message=_note(error))]
            return
        yield from self._made(visitor, texts, requested)

    def _arrays(self, visitor: str, file: str, requested: int) -> Iterator[list[Any]]:
        """(map, progress) with a saved map, or vectors of the visitor's own, until the visitor asks for something else:
        nothing is read by the model. Raises TextFileError.
        """
        yield [gr.skip(), progress_value("running", ["reading the arrays"], 0.0, "Reading", "texts")]
        if is_saved_map(file):
            cloud = read_map(file, self.model.fingerprint, self.model.dit.config.txt_dim)
        else:
            texts, vectors = read_vectors(file)
            cloud = TextCloud(texts, vectors, "")
        yield from self._come(visitor, cloud, requested)

    def _made(self, visitor: str, texts: Texts, requested: int) -> Iterator[list[Any]]:
        try:
            if len(set(texts.texts)) < 2:
                raise TextFileError("all texts are the same, expected at least two that differ")
            cloud = None
            for event in self._reading(visitor, texts.texts):
                if self._requested.get(visitor) != requested:
                    yield _overtaken()
                    return
                if isinstance(event, Waiting):
                    if event.ahead:
                        yield [gr.skip(), progress_value("waiting", waiting_parts(event), 0.0, "Waiting", "texts")]
                    continue
                share, vectors = event
                cloud = None if vectors is None else self._cloud(texts, vectors)
                parts = ["reading", f"{round(share * len(texts.texts)):,} of {len(texts.texts):,} texts"]
                yield [gr.skip(), progress_value("running", parts, share, "Reading", "texts")]
            assert cloud is not None  # the last one brings it
        except Exception as error:  # a visitor gets a sentence, never a traceback; see `sentence`
            note = _note(error)
            if self._requested.get(visitor) == requested:
                self._forget(visitor, requested)
                yield [self._still(visitor), progress_value("error", message=note)]
            return
        yield from self._come(visitor, cloud, requested)

    def _come(self, visitor: str, cloud: TextCloud, requested: int) -> Iterator[list[Any]]:
        """Makes this the visitor's map, unless other texts have been asked for."""
        with self._lock:
            overtaken = self._requested.get(visitor) != requested
            if not overtaken:
                self._requested.forget(visitor)
                cloud.since = moment()
                self._clouds.keep(visitor, cloud)
        yield _overtaken() if overtaken else [cloud.value(), progress_value("idle", message=cloud.texts.note)]

    def _still(self, visitor: str) -> Any:
        """What the map shows when nothing new has come: what it did, or that there is nothing."""
        return _empty(failed=True) if self.get(visitor) is None else gr.skip()

    def _forget(self, visitor: str, requested: int) -> None:
        with self._lock:
            if self._requested.get(visitor) == requested:
                self._requested.forget(visitor)

    def _cloud(self, texts: Texts, vectors: np.ndarray) -> TextCloud:
        if len(np.unique(vectors, axis=0)) < 2:
            raise TextFileError("all texts have the same vector, expected at least two that differ")
        known = self.sentences
        if known is None or vectors is not known.vectors:
            return TextCloud(texts, vectors, self.model.fingerprint)
        cloud = TextCloud(texts, vectors, self.model.fingerprint, known.clusters, known.pca)
        if known.umap is not None:
            cloud.charts[chart_name(UMAP_SETTINGS)] = known.umap
        return cloud

    def _reading(self, visitor: str, texts: Sequence[str]) -> Iterator[Any]:
        """(share done, where the texts lie (n, d) in the last one), in turns, and Waiting in between."""
        if self.sentences is None:
            with self.scheduler.alone(lambda: read_sentences(self.model), visitor, "encode") as events:
                for event in events:
                    if isinstance(event, Waiting):
                        yield event
                    else:
                        share, found = event
                        self.sentences = found or self.sentences
                        yield 0.5 * share, None
        known = self.sentences
        assert known is not None  # read above
        if list(texts) == load_sentences():
            yield 1.0, known.vectors
            return
        with self.scheduler.alone(
            lambda: meaning_vectors(self.model, texts, known.common), visitor, "encode"
        ) as events:  # fmt: skip
            yield from events

    def take_waypoints(self, visitor: str, texts: Sequence[str]) -> Iterator[list[Any]]:
        """(map, progress) with texts that were sent here as waypoints, on the visitor's map or one of the sentences."""
        cloud = self.get(visitor)
        shown = _empty() if cloud is None else cloud.value()
        if cloud is None:
            for _, progress in self.shipped(visitor):
                yield [shown, progress]
            cloud = self.get(visitor)
        if cloud is None:  # the last value said why
            return
        try:
            if not cloud.readable:
                whose = "another model" if cloud.model else "your own"
                raise TextFileError(
                    f"the map shows vectors of {whose}, among which the waypoints have no place: show the sentences "
                    "that ship with this page first"
                )
            if len(texts) < 2:
                raise TextFileError("the interpolation has fewer than two waypoints with a text, expected at least two")
            vectors = self._read_now(visitor, list(texts)[:MOST_LISTED])
        except ValueError as error:
            yield [cloud.value(), progress_value("error", message=_note(error))]
            return
        cloud.waypoints = list(texts)[:MOST_LISTED], vectors
        cloud.query = None
        yield [cloud.value(), progress_value("idle", message=cloud.texts.note)]

    def _read_now(self, visitor: str, texts: Sequence[str]) -> np.ndarray:
        *_, (_, vectors) = (event for event in self._reading(visitor, texts) if not isinstance(event, Waiting))
        return vectors

    def set_view(self, visitor: str, selected: Any, chart: Any, by: Any, asked: Any = True) -> None:
        """Keeps how the visitor looks at the map, for a file of it. What does not fit the map is left out."""
        cloud = self.get(visitor)
        if cloud is None:
            return
        chosen = selected if isinstance(selected, list) else []
        indices = sorted({i for i in chosen if type(i) is int and 0 <= i < len(cloud.vectors)})
        cloud.view = View(
            tuple(indices),
            chart if chart in cloud.charts else "",
            by if by in COLOURINGS else COLOURINGS[0],
            asked is not False,
        )

    def save(self, visitor: str, kind: str, address: Any = None) -> dict[str, Any]:
        """The map as a file, for a Saver. address: of the page, for a link."""
        cloud = self.get(visitor)
        if cloud is None:
            return not_saved("There are no texts on the map to save.")
        if kind == "npz":
            return saved("map.npz", "application/octet-stream", map_file(cloud))
        if kind == "csv":
            return saved("texts.csv", "text/csv", text_table(cloud))
        return saved("text-map.html", "text/html", text_page(cloud, model_name(self.model), address))

    def fit(self, visitor: str, neighbours: Any = None, min_dist: Any = None) -> Iterator[list[Any]]:
        """(map, its own progress) with one more UMAP of the visitor's texts, fitted in a process of its own.

        neighbours, min_dist: its settings; without them it is the usual one, and nothing where the texts are too few or
        the map is a saved one, which has what it had.
        """
        cloud = self.get(visitor)
        usual = neighbours is None
        try:
            settings = UMAP_SETTINGS if usual else umap_settings(neighbours, min_dist)
            if cloud is None:
                raise ProjectionError(GONE)
            if usual and cloud.saved:
                return
            if not usual and len(cloud.charts) >= MOST_CHARTS:
                raise ProjectionError(
                    f"there are {len(cloud.charts)} maps of these texts, expected fewer than {MOST_CHARTS} before "
                    "another: open the texts anew to begin again"
                )
            different = len(np.unique(cloud.vectors, axis=0))
            if different < 2 * settings.neighbours:
                found = f"{different} different texts with {settings.neighbours} neighbours"
                raise ProjectionError(f"the map has {found}, expected twice as many texts as neighbours")
        except ValueError as error:
            if not usual:
                yield [gr.skip(), progress_value("error", message=_note(error))]
            return
        if chart_name(settings) in cloud.charts:
            if not usual:
                note = f"There is a map of these settings already: {chart_label(chart_name(settings))}."
                yield [gr.skip(), progress_value("idle", message=note)]
            return
        yield from self._fitting(visitor, cloud, settings)

    def _fitting(self, visitor: str, cloud: TextCloud, settings: UMAPSettings) -> Iterator[list[Any]]:
        points, name = cloud.vectors, chart_name(settings)
        if len(points) > MAX_FITTED:
            points = points[np.linspace(0, len(points) - 1, MAX_FITTED).astype(int)]
        try:
            with self._folder_for(cloud) as folder:
                for progress in fit_umap(points, settings, cloud.model, Path(folder)):
                    if self.get(visitor) is not cloud:  # there are other texts by now; the fit of these ends with it
                        break
                    if progress.result is not None:
                        cloud.add_chart(name, progress.result)
                    note = f"{chart_label(name)}, in the background: {progress.message}"
                    yield [gr.skip(), progress_value("idle", message=note)]
        except ValueError as error:
            yield [gr.skip(), progress_value("error", message=_note(error))]
            return
        still = self.get(visitor) is cloud  # else there are other texts on the map by now
        yield [cloud.value() if still else gr.skip(), progress_value("idle")]

    def _folder_for(self, cloud: TextCloud) -> contextlib.AbstractContextManager[str]:
        """Where a fit may be kept: the cache for texts that ship, and nowhere that lasts for a visitor's own."""
        if self.sentences is not None and cloud.vectors is self.sentences.vectors:
            return contextlib.nullcontext(str(cache_folder()))
        return tempfile.TemporaryDirectory()

    def near(self, visitor: str, text: str) -> list[Any]:
        """(map, progress) with the texts that lie nearest to a text of the visitor's, and where it lies. Nothing where
        another search has been asked for meanwhile.
        """
        cloud = self.get(visitor)
        if cloud is None:
            return [_empty(failed=True), progress_value("error", message=GONE)]
        searched = cloud.searched = object()
        try:
            if not cloud.readable:
                whose = "of another model" if cloud.model else "your own"
                raise TextFileError(
                    f"these vectors are {whose}, so the model cannot say where a text lies among them: search by words"
                )
            vectors = self._near(visitor, text)
        except ValueError as error:
            if cloud.searched is not searched:
                return [gr.skip(), gr.skip()]
            return [cloud.value({"text": text, "error": _note(error)}), gr.skip()]
        if cloud.searched is not searched:
            return [gr.skip(), gr.skip()]
        cloud.query = Query(text, vectors[0])
        return [cloud.value(), gr.skip()]

    def _near(self, visitor: str, text: str) -> np.ndarray:
        known = self.sentences
        if known is None:
            return self._read_now(visitor, [text])
        *_, (_, vectors) = self.scheduler.look(lambda: list(meaning_vectors(self.model, [text], known.common)))
        assert vectors is not None  # the last one brings them
        return vectors

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


def _shipped_for(model: ColaDLM) -> SentenceMap | None:
    """The sentences as they ship, where it is this model that read them."""
    found = SentenceMap.load()
    return found if found.fingerprint == model.fingerprint else None


def _empty(failed: bool = False) -> dict[str, Any]:
    """No texts, as of this moment."""
    now = moment()
    return text_map_value(failed=failed, order=(now, now))


def _overtaken() -> list[Any]:
    """The last frame of a reading that another request has overtaken: gradio shows it twice, and the one before it says
    that texts are being read.
    """
    return [gr.skip(), None]


def _note(error: Exception) -> str:
    """What went wrong, as a sentence about texts."""
    return in_words(sentence(error), {"a prompt": "a text"})

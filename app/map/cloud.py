"""Texts as points: their vectors, the clusters of these, and the maps of them."""

from __future__ import annotations

import dataclasses
import itertools
import secrets
import time
from typing import Any

import numpy as np

from coladlm.latent.faithfulness import trustworthiness
from coladlm.latent.projection import PCAMap, UMAPMap, fit_pca
from coladlm.latent.text_map import cluster, cluster_words

from ..components.text_map import text_map_value
from ..shared.encoding import INT16, compact, packed_int16
from .charts import PCA, chart_label
from .text_files import Texts

COLOURINGS = ("cluster", "length", "set")  # what points may be coloured by, the usual one first
NEAREST = 20
MEASURED = 1500  # texts that the trustworthiness is measured on
CHUNK = 512  # texts whose distances to all others are in memory at once
_moments = itertools.count(time.time_ns() // 1_000_000)


def moment() -> int:
    """A number that grows with every call, and from one start of the server to the next, which a page may outlive."""
    return next(_moments)


@dataclasses.dataclass(frozen=True)
class View:
    """How a visitor looks at a map. selected: indices of texts. chart: a name of `TextCloud.charts`. by: what the
    points are coloured by. asked: are the texts nearest to the query listed?
    """

    selected: tuple[int, ...] = ()
    chart: str = ""
    by: str = COLOURINGS[0]
    asked: bool = True


@dataclasses.dataclass(frozen=True, eq=False)
class Query:
    """A text that is compared with those on the map, and where it lies (d,)."""

    text: str
    vector: np.ndarray


class TextCloud:
    """Texts with their vectors and the maps of them.

    model: fingerprint of the model that the vectors come from, "" for vectors of the visitor's own. charts: maps by
    name, in the order in which they came. clusters, pca: of the vectors, where they are known already. readable: is
    that model the one that is loaded, so that it can say where another text lies? saved: it comes out of a file.
    """

    def __init__(
        self, texts: Texts, vectors: np.ndarray, model: str, clusters: np.ndarray | None = None,
        pca: PCAMap | None = None, readable: bool = True, saved: bool = False,
    ) -> None:  # fmt: skip
        self.texts, self.vectors, self.model = texts, vectors, model
        self.readable, self.saved = readable and bool(model), saved
        self.id = secrets.token_hex(8)  # by which a page knows whether it shows these texts already
        self.clusters = cluster(vectors) if clusters is None else clusters
        self.names = cluster_words(texts.texts, self.clusters)
        self.pca = pca or fit_pca(vectors, min(2, vectors.shape[1]))
        self.charts: dict[str, PCAMap | UMAPMap] = {PCA: self.pca}
        self.nearest_texts, self.nearest_distances = _neighbours(vectors, min(NEAREST + 1, len(vectors)))
        self.waypoints: tuple[list[str], np.ndarray] | None = None  # texts that were sent here, and their vectors
        self.query: Query | None = None
        self.searched: object = None  # stands for the search that was asked for last
        self.view = View()
        self.since = moment()  # when it became a visitor's map
        self._written: dict[tuple[str, ...], str] = {}  # what `json` says, by the charts that there were

    @property
    def nbytes(self) -> int:
        """About how much memory it takes: of its texts, and of the arrays of its charts, which a fit may add to."""
        written = sum(len(text) for texts in (self.texts.texts, self.texts.sets) for text in texts)
        parts = [vars(chart).values() for chart in self.charts.values()]
        arrays = [self.vectors, self.nearest_texts, self.nearest_distances]
        arrays += [array for values in parts for array in values if isinstance(array, np.ndarray)]
        return 2 * written + sum(map(len, self._written.values())) + sum(array.nbytes for array in arrays)

    def add_chart(self, name: str, chart: UMAPMap) -> None:
        """One more map. The one that is shown stays: where the visitor has not chosen, the newest before."""
        if not self.view.chart:
            self.view = dataclasses.replace(self.view, chart=list(self.charts)[-1])
        self.charts[name] = chart

    def placed(self) -> dict[str, np.ndarray]:
        """Where the texts lie on each map, (n, 2)."""
        return {name: _plane(chart.place(self.vectors)) for name, chart in self.charts.items()}

    def value(self, wrong: dict[str, Any] | None = None) -> dict[str, Any]:
        """For a TextMap. wrong: what a search came to that found no place, see `text_map_value`."""
        order = self.since, moment()  # before anything is read that may change meanwhile
        view = dataclasses.asdict(self.view)
        return text_map_value(self.json(), wrong or self._near(), self._waypoints(), view, order=order)

    def _near(self) -> dict[str, Any] | None:
        if self.query is None:
            return None
        at = {name: spot[0] for name, spot in self._at(self.query.vector[None]).items()}
        return {"text": self.query.text, "pairs": self.nearest(self.query.vector), "at": at}

    def _waypoints(self) -> dict[str, Any] | None:
        if self.waypoints is None:
            return None
        texts, vectors = self.waypoints
        steps = np.linalg.norm(np.diff(vectors, axis=0), axis=1)
        ends, way = float(np.linalg.norm(vectors[-1] - vectors[0])), float(steps.sum())
        note = f"{len(texts)} waypoints, numbered in their order. From one to the next the way is {way:.2f} long in all"
        note += f", {way / ends:.1f} times the straight way between the ends." if ends > 1e-6 else "."
        return {"texts": texts, "at": self._at(vectors), "note": note + " The numbers are true distances of meaning."}

    def _at(self, vectors: np.ndarray) -> dict[str, list[list[float]]]:
        """Where vectors (n, d) lie on each map."""
        return {name: np.round(_plane(chart.place(vectors)), 4).tolist() for name, chart in self.charts.items()}

    def json(self) -> str:
        """Everything that a TextMap draws of the texts, in units of its own."""
        charts = tuple(self.charts)
        if charts not in self._written:
            self._written = {charts: self._json()}
        return self._written[charts]

    def _json(self) -> str:
        placed = self.placed()
        units = {name: float(np.abs(array).max() or 1) / INT16 for name, array in placed.items()}
        far = float(self.nearest_distances.max() or 1) / INT16
        return compact(
            {
                "id": self.id,
                "texts": self.texts.texts,
                "sets": self.texts.sets,
                "lengths": [len(text) for text in self.texts.texts],
                "cluster": self.clusters.tolist(),
                "names": self.names,
                "neighbours": {
                    "count": self.nearest_texts.shape[1],
                    "texts": packed_int16(self.nearest_texts, 1),
                    "distances": packed_int16(self.nearest_distances, far),
                    "unit": far,
                },
                "charts": [[name, chart_label(name)] for name in placed],
                "at": {name: packed_int16(array, units[name]) for name, array in placed.items()},
                "units": units,
                "numbers": {name: self._note(name, placed[name]) for name in placed},
                "written": self.texts.written,
                "readable": self.readable,
            }
        )

    def _note(self, name: str, placed: np.ndarray) -> str:
        """How far a map can be believed."""
        _, firsts = np.unique(np.array(self.texts.texts, dtype=object), return_index=True)
        firsts.sort()  # of equal texts one: which of them is nearer than the others is chance
        some = firsts[np.linspace(0, len(firsts) - 1, min(MEASURED, len(firsts))).astype(int)]
        trust = trustworthiness(self.vectors[some], placed[some])
        found = "too few different texts to measure the trustworthiness of near neighbours"
        if np.isfinite(trust):
            found = f"trustworthiness of near neighbours {trust:.2f} (1 if all that lie near here are near in truth)"
        if name == PCA:
            return f"PCA shows {self.pca.explained.sum():.0%} of the variance in two dimensions; {found}."
        return f"Distances on a UMAP are not those of the vectors: near is near, far means little; {found}."

    def nearest(self, vector: np.ndarray) -> list[list[float]]:
        """[index, distance] of the nearest texts."""
        distances = np.linalg.norm(self.vectors - vector, axis=1)
        return [[int(i), round(float(distances[i]), 4)] for i in np.argsort(distances, kind="stable")[:NEAREST]]


def _plane(placed: np.ndarray) -> np.ndarray:
    """Points (n, 1 or 2) as (n, 2): vectors of one number lie on a line."""
    return np.pad(placed, ((0, 0), (0, 2 - placed.shape[1])))


def _neighbours(vectors: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The nearest texts of every text, itself among them (n, count), and their distances, nearest first."""
    squares = np.square(vectors, dtype=np.float64).sum(1)
    found = np.empty((len(vectors), count), np.int32)
    distances = np.empty((len(vectors), count), np.float32)
    for start in range(0, len(vectors), CHUNK):
        mine = slice(start, start + CHUNK)
        apart = squares[mine, None] + squares - 2 * (vectors[mine] @ vectors.T)
        own = np.arange(start, start + len(apart))
        apart[own - start, own] = -1  # itself before its equals
        few = np.argpartition(apart, count - 1, axis=1)[:, :count]
        # from the differences, which leave no rounding between equal vectors
        true = np.linalg.norm(vectors[mine, None] - vectors[few], axis=-1)
        order = np.lexsort((few, few != own[:, None], true))
        found[mine] = np.take_along_axis(few, order, 1)
        distances[mine] = np.take_along_axis(true, order, 1)
    return found, distances

"""Texts as points: their vectors, the clusters of these, and the maps of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from coladlm.latent.faithfulness import trustworthiness
from coladlm.latent.projection import PCAMap, UMAPMap, fit_pca
from coladlm.latent.text_map import cluster, cluster_words

from ..components.text_map import text_map_value
from ..shared.encoding import INT16, compact, packed_int16
from .text_files import Texts

NEAREST = 20
MEASURED = 1500  # texts that the trustworthiness is measured on


class TextCloud:
    """Texts with their vectors and the maps of them."""

    def __init__(self, texts: Texts, vectors: np.ndarray) -> None:
        self.texts, self.vectors = texts, vectors
        self.clusters = cluster(vectors)
        self.names = cluster_words(texts.texts, self.clusters)
        self.pca = fit_pca(vectors, min(2, vectors.shape[1]))
        self.charts: dict[str, PCAMap | UMAPMap] = {"pca": self.pca}
        self.waypoints: tuple[list[str], np.ndarray] | None = None  # texts that were sent here, and their vectors

    @property
    def nbytes(self) -> int:
        """About how much memory it takes: of its texts, and of the arrays of its charts, which a fit may add to."""
        written = sum(len(text) for texts in (self.texts.texts, self.texts.sets) for text in texts)
        parts = [vars(chart).values() for chart in self.charts.values()]
        arrays = [self.vectors, *(array for values in parts for array in values if isinstance(array, np.ndarray))]
        return 2 * written + sum(array.nbytes for array in arrays)

    def placed(self) -> dict[str, np.ndarray]:
        """Where the texts lie on each map, (n, 2)."""
        return {name: chart.place(self.vectors) for name, chart in self.charts.items()}

    def value(self, near: dict[str, Any] | None = None) -> dict[str, Any]:
        """For a TextMap. near: see `text_map_value`."""
        return text_map_value(self.json(), near, self._waypoints())

    def _waypoints(self) -> dict[str, Any] | None:
        if self.waypoints is None:
            return None
        texts, vectors = self.waypoints
        steps = np.linalg.norm(np.diff(vectors, axis=0), axis=1)
        ends, way = float(np.linalg.norm(vectors[-1] - vectors[0])), float(steps.sum())
        note = f"{len(texts)} waypoints, numbered in their order. From one to the next the way is {way:.2f} long in all"
        note += f", {way / ends:.1f} times the straight way between the ends." if ends > 1e-6 else "."
        at = {name: np.round(chart.place(vectors), 4).tolist() for name, chart in self.charts.items()}
        return {"texts": texts, "at": at, "note": note + " The numbers are true latent distances."}

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
                "numbers": {name: self._note(name, placed[name]) for name in placed},
            }
        )

    def _note(self, name: str, placed: np.ndarray) -> str:
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

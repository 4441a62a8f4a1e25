"""The sentences that ship, as points: where they lie by what they mean, so that a map of them is there at once.

`assets/map/sentences.npz` holds them for the bundled model; for another one they are read anew.
"""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..model import ColaDLM
from .array_files import save_arrays
from .projection import (
    PCA_ARRAYS,
    PCAMap,
    ProjectionError,
    UMAPMap,
    UMAPSettings,
    fit_pca,
    fit_umap,
    umap_arrays,
    umap_of,
)
from .reference_cloud import FOLDER, load_sentences
from .sentence_meaning import CommonPart, common_part, meaning_vectors
from .text_map import cluster

SHIPPED = FOLDER / "sentences.npz"
VERSION = 1
# placed by few: in so many dimensions most texts are about equally far, and a mean of many lies in the middle
UMAP_SETTINGS = UMAPSettings(neighbours=20, min_dist=0.2, placed_by=5)


@dataclasses.dataclass(frozen=True, eq=False)
class SentenceMap:
    """fingerprint: of the model that read the sentences. common: what they have in common. vectors: (n, d), where they
    lie. clusters: (n,), see `text_map.cluster`. pca, umap: maps of them in two dimensions; the second is fitted with
    UMAP_SETTINGS, None where there is none yet.
    """

    fingerprint: str
    common: CommonPart
    vectors: NDArray[np.float32]
    clusters: NDArray[np.int64]
    pca: PCAMap
    umap: UMAPMap | None = None

    def save(self, file: Path) -> None:
        """Writes an .npz file, whole or not at all. Raises OSError."""
        about = {"version": VERSION, "fingerprint": self.fingerprint}
        arrays: dict[str, Any] = {
            "about": np.frombuffer(json.dumps(about).encode(), np.uint8),
            "mean": self.common.mean,
            "component": self.common.component,
            "vectors": self.vectors.astype(np.float16),
            "clusters": self.clusters.astype(np.int16),
            **{f"pca.{name}": getattr(self.pca, name) for name in PCA_ARRAYS},
        }
        if self.umap is not None:
            stored = {**umap_arrays(self.umap), "states": self.umap.states.astype(np.float16)}
            arrays |= {f"umap.{name}": array for name, array in stored.items()}
        save_arrays(file, arrays)

    @classmethod
    def load(cls, file: Path = SHIPPED) -> SentenceMap:
        """Reads what `save` wrote of the sentences that ship. Raises ProjectionError for anything else."""
        sentences = load_sentences()
        try:
            with np.load(file, allow_pickle=False) as opened:
                arrays = {name: opened[name] for name in opened.files}
            about = json.loads(bytes(arrays["about"]))
            vectors = arrays["vectors"].astype(np.float32)
            common = CommonPart(tuple(sentences), arrays["mean"], arrays["component"])
            stored = {name.removeprefix("umap."): a for name, a in arrays.items() if name.startswith("umap.")}
            if about["version"] != VERSION or vectors.shape != (len(sentences), *common.mean.shape):
                found = f"version {about['version']} with vectors of shape {vectors.shape}"
                wanted = f"version {VERSION} with {len(sentences)} of them"
                raise ProjectionError(f"{file.name} has {found}, expected {wanted}")
            pca = PCAMap(*(arrays[f"pca.{name}"] for name in PCA_ARRAYS))
            clusters = arrays["clusters"].astype(np.int64)
            return cls(about["fingerprint"], common, vectors, clusters, pca, umap_of(stored) if stored else None)
        except ProjectionError:
            raise
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise ProjectionError(f"{file.name} holds no sentences or is damaged ({error})") from error


def read_sentences(model: ColaDLM) -> Iterator[tuple[float, SentenceMap | None]]:
    """(share done, the sentences that ship as a model reads them, without a UMAP, in the last one)."""
    sentences = load_sentences()
    common = None
    for share, found in common_part(model, sentences):
        common = found
        yield 0.5 * share, None
    assert common is not None  # the last one brings it
    for share, vectors in meaning_vectors(model, sentences, common):
        yield 0.5 + 0.5 * share, None if vectors is None else _with_clusters(model.fingerprint, common, vectors)


def _with_clusters(fingerprint: str, common: CommonPart, vectors: NDArray[np.float32]) -> SentenceMap:
    return SentenceMap(fingerprint, common, vectors, cluster(vectors), fit_pca(vectors, 2))


def make_sentence_map(model: ColaDLM) -> SentenceMap:
    """The same with a UMAP, which takes some seconds."""
    *_, (_, found) = read_sentences(model)
    assert found is not None  # the last one brings it
    *_, last = fit_umap(found.vectors, UMAP_SETTINGS, model.fingerprint)
    return dataclasses.replace(found, umap=last.result)

"""The reference cloud of the resident model: the shipped one, one from the cache, or one that is made anew."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

from coladlm import ColaDLM
from coladlm.latent.projection import ProjectionError, UMAPSettings, cache_folder, fit_umap
from coladlm.latent.reference_cloud import (
    SHIPPED,
    ReferenceCloud,
    Survey,
    load_sentences,
    surveyed,
    with_pca,
    with_umap,
)

from .charts import Charts


class CloudHolder:
    """Holds the charts of a model for everybody who visits the page; `charts` is None until there are any."""

    def __init__(self, model: ColaDLM, shipped: Path = SHIPPED, cache: Path | None = None) -> None:
        self.model, self.cache = model, cache or cache_folder()
        self.kept = self.cache / "clouds" / f"{model.fingerprint or 'unnamed'}.npz"
        self.charts: Charts | None = None
        self._fitting, self._drawing = threading.Lock(), threading.Lock()
        self._survey: Survey | None = None
        for file in (shipped, self.kept):
            cloud = _fitting(file, model)
            if cloud is not None:
                self.charts = Charts(model, cloud)
                break

    @property
    def complete(self) -> bool:
        """Are the UMAPs there too?"""
        return self.charts is not None and set(self.charts.cloud.umaps) == {2, 3}

    def survey(self) -> Iterator[tuple[float, str]]:
        """Runs the model over the shipped texts: (share done, what is done). `draw` makes charts of what it found."""
        survey = None
        for share, message, found in surveyed(self.model, load_sentences()):
            survey = found
            yield share, message
        assert survey is not None  # the last one brings it
        self._survey = survey

    def draw(self) -> None:
        """Sets `charts` with PCA of what `survey` found; calls no network."""
        with self._drawing:
            if self.charts is None and self._survey is not None:  # else another visitor was first
                self.charts = Charts(self.model, with_pca(self._survey))

    def fit(self) -> Iterator[tuple[float, str]]:
        """Fits the UMAPs on what `survey` found, in processes of their own, and sets `charts` anew when both are there.

        One at a time: who comes second waits, and then finds it done.
        """
        with self._fitting:
            if self.complete or self._survey is None or self.charts is None:
                return
            cloud = self.charts.cloud
            for index, dimensions in enumerate((2, 3)):
                settings = UMAPSettings(dimensions)
                for progress in fit_umap(self._survey.fitted_on(), settings, self.model.fingerprint, self.cache):
                    if progress.result is not None:
                        cloud = with_umap(cloud, self._survey, progress.result)
                    yield (index + progress.share) / 2, f"UMAP in {dimensions} dimensions: {progress.message}"
            self.charts, self._survey = Charts(self.model, cloud), None
            if self.model.fingerprint:
                self._keep(cloud)

    def _keep(self, cloud: ReferenceCloud) -> None:
        try:
            cloud.save(self.kept)
        except OSError as error:  # a disk that cannot be written to costs the next start a survey and nothing else
            logging.getLogger(__name__).warning("the reference cloud is not kept in the cache: %s", error)


def _fitting(file: Path, model: ColaDLM) -> ReferenceCloud | None:
    """The cloud in a file, if it is one of this model."""
    if not model.fingerprint or not file.exists():
        return None
    try:
        cloud = ReferenceCloud.load(file)
    except ProjectionError:
        return None  # a damaged one is made anew
    return cloud if cloud.fingerprint == model.fingerprint else None

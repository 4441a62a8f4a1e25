"""A reference cloud and its maps in the form in which the page draws on them."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from numpy.typing import ArrayLike

from coladlm import ColaDLM
from coladlm.latent.faithfulness import Faithfulness
from coladlm.latent.projection import fitted_alike, place_on
from coladlm.latent.reference_cloud import ReferenceCloud

from .encoding import INT16, compact, packed_int16

PLANE_WORDS = 600
NOISE_SHOWN = 2.6  # standard deviations of the noise that are in sight around its middle
ROOM = 4.0  # how far beyond the cloud's own extent a point can lie; what goes farther is drawn at that edge


class Charts:
    """A reference cloud as the page draws on it. text: the cloud for a FlowMap's `cloud`."""

    def __init__(self, model: ColaDLM, cloud: ReferenceCloud) -> None:
        self.model, self.cloud = model, cloud
        umaps = list(cloud.umaps.values())
        alike = all(fitted_alike(umaps[0], other) for other in umaps[1:])
        self._together = [umaps] if alike and umaps else [[each] for each in umaps]
        placed = self._placed(cloud.latents)
        self.units = {name: float(np.abs(points).max()) * ROOM / INT16 for name, points in placed.items()}
        words = [model.tokenizer.decode([int(token)], skip_special_tokens=False) for token in cloud.token_ids]
        self.text = compact(
            {
                "words": words,
                "units": self.units,
                "at": {name: self._packed(name, points) for name, points in placed.items()},
                "explained": [round(float(share), 4) for share in cloud.pca.explained],
                "numbers": {name: _plain_numbers(found) for name, found in cloud.numbers.items()},
            }
        )

    @functools.cached_property
    def plane(self) -> str:
        """Words of the cloud on the first two principal components, for a FlowView, as JSON: made once for all runs.

        "unit": of all packed places. "box": [left, right, bottom, top] of what is in sight. "at": places of "words".
        """
        cloud, unit = self.cloud, self.units["pca"]
        chosen = np.unique(np.linspace(0, len(cloud.latents) - 1, min(PLANE_WORDS, len(cloud.latents))).astype(int))
        at = cloud.pca.place(cloud.latents)[:, :2]
        middle = cloud.pca.place(np.zeros((1, cloud.latents.shape[1]), np.float32))[0, :2]
        low, high = np.minimum(at.min(0), middle - NOISE_SHOWN), np.maximum(at.max(0), middle + NOISE_SHOWN)
        words = [self.model.tokenizer.decode([int(cloud.token_ids[i])], skip_special_tokens=False) for i in chosen]
        box = [round(float(x), 3) for x in (low[0], high[0], low[1], high[1])]
        return compact({"unit": unit, "box": box, "at": packed_int16(at[chosen], unit), "words": words})

    def coordinates(self, points: ArrayLike) -> dict[str, str]:
        """Where points (n, d) lie on every map: "pca" (three components), "umap2" and "umap3" if they are fitted."""
        return {name: self._packed(name, placed) for name, placed in self._placed(points).items()}

    def _placed(self, points: ArrayLike) -> dict[str, np.ndarray]:
        found = {"pca": self.cloud.pca.place(points)}
        for maps in self._together:
            for each, placed in zip(maps, place_on(maps, points), strict=True):
                found[f"umap{each.dimensions}"] = placed
        return found

    def _packed(self, name: str, points: np.ndarray) -> str:
        return packed_int16(points, self.units[name])


def _plain_numbers(found: Faithfulness) -> dict[str, float | None]:
    values = dataclasses.asdict(found)
    return {name: None if v is None or not np.isfinite(v) else round(v, 3) for name, v in values.items()}

"""The maps of a text cloud by name: PCA, and UMAPs of the settings that a visitor may choose."""

from __future__ import annotations

import dataclasses
from typing import Any

from coladlm.latent.projection import ProjectionError, UMAPSettings
from coladlm.latent.sentence_map import UMAP_SETTINGS

PCA = "pca"
MOST_CHARTS = 8  # maps of the same texts
NEIGHBOURS = (2, 100)  # bounds of a UMAP's settings
MIN_DIST = (0.0, 0.99)


def umap_settings(neighbours: Any, min_dist: Any) -> UMAPSettings:
    """Raises ProjectionError."""
    (fewest, most), (least, largest) = NEIGHBOURS, MIN_DIST
    if not isinstance(neighbours, int | float) or not fewest <= neighbours <= most or neighbours != int(neighbours):
        raise ProjectionError(f"neighbours is {neighbours!r}, expected a whole number from {fewest} to {most}")
    if not isinstance(min_dist, int | float) or not least <= min_dist <= largest:
        raise ProjectionError(f"min_dist is {min_dist!r}, expected a number from {least:g} to {largest:g}")
    return dataclasses.replace(UMAP_SETTINGS, neighbours=int(neighbours), min_dist=round(float(min_dist), 2))


def chart_name(settings: UMAPSettings) -> str:
    """The name of a UMAP among a cloud's charts."""
    return f"umap-{settings.neighbours}-{settings.min_dist:g}"


def chart_label(name: str) -> str:
    """What a visitor calls a chart."""
    if name == PCA:
        return "PCA"
    _, neighbours, min_dist = name.split("-")
    return f"UMAP ({neighbours}, {min_dist})"


def is_umap_name(name: str) -> bool:
    """Is it what `chart_name` calls a UMAP of settings within the bounds?"""
    parts = name.split("-")
    try:
        return len(parts) == 3 and chart_name(umap_settings(int(parts[1]), float(parts[2]))) == name
    except ValueError:
        return False

"""How far a map of latents can be believed: near neighbours, lengths of steps, and their order, drawn and in truth."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike

from .projection import Array, PCAMap, ProjectionError, UMAPMap, checked_points


@dataclasses.dataclass(frozen=True)
class Faithfulness:
    """How far a map can be believed.

    trustworthiness: in [0, 1], 1 if the nearest neighbours on the map are near in truth (Venna & Kaski 2001), of all
    given points, or of as many as fit. steps_kept: drawn over true length of all steps of the paths together, None
    where the map has units of its own (UMAP). steps_rank: rank correlation (Spearman) of drawn and true step lengths:
    1 if a longer step is always drawn longer, 0 if the drawing says nothing. largest_step, largest_true_step: the
    median over paths of the largest step as a share of the path's length, on the map and in truth.
    """

    trustworthiness: float
    steps_kept: float | None
    steps_rank: float
    largest_step: float
    largest_true_step: float


def faithfulness(
    chart: PCAMap | UMAPMap, paths: ArrayLike, cloud: ArrayLike | None = None, neighbours: int = 15, most: int = 1500
) -> Faithfulness:
    """Measures a map on paths (S, n, d) and, for the trustworthiness, a cloud (m, d) beside them.

    most: points for the trustworthiness, whose time grows with their square; they are taken evenly. Paths that never
    move are left out; NaN where nothing is left. Raises ProjectionError.
    """
    paths = checked_points(paths)
    if paths.ndim != 3 or len(paths) < 2:
        raise ProjectionError(f"paths have shape {paths.shape}, expected (states, paths, d) with two states or more")
    drawn, true = (np.linalg.norm(np.diff(p, axis=0), axis=-1) for p in (chart.place(paths), paths))
    moving = true.sum(0) > 0
    drawn, true = drawn[:, moving], true[:, moving]
    points = paths.reshape(-1, paths.shape[-1])
    if cloud is not None:
        points = np.concatenate((checked_points(cloud, paths.shape[-1]), points))
    if len(points) > most:
        points = points[np.linspace(0, len(points) - 1, most).astype(int)]
    nothing = not moving.any()
    return Faithfulness(
        trustworthiness(points, chart.place(points), neighbours),
        None if isinstance(chart, UMAPMap) else (float("nan") if nothing else float(drawn.sum() / true.sum())),
        rank_correlation(drawn.ravel(), true.ravel()),
        _largest_step(drawn),
        _largest_step(true),
    )


def trustworthiness(points: ArrayLike, placed: ArrayLike, neighbours: int = 15) -> float:
    """Trustworthiness of placed (n, k) for points (n, d); fewer neighbours where n is small, NaN below 3 points."""
    from sklearn.manifold import trustworthiness as measured

    neighbours = min(neighbours, (len(np.asarray(points)) - 1) // 2)
    return float(measured(points, placed, n_neighbors=neighbours)) if neighbours > 0 else float("nan")


def _largest_step(lengths: Array) -> float:
    """The median over paths of the largest step's share; lengths: (steps, paths)."""
    whole = lengths.sum(0)
    shares = lengths.max(0)[whole > 0] / whole[whole > 0]
    return float(np.median(shares)) if len(shares) else float("nan")


def rank_correlation(a: Array, b: Array) -> float:
    """Spearman's; NaN where all values of either are alike, or there are fewer than two."""
    from scipy.stats import spearmanr

    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(spearmanr(a, b).statistic)

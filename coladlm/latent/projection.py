"""Latents on a map of two or three dimensions: PCA and UMAP.

A UMAP is fitted once, by a process of its own (this file, run as a script: nothing else of the library is imported
there), and lives on as plain arrays: the states it was fitted on and where they lie. New points are placed among their
nearest fitted states, at the mean of those weighted by inverse squared distance. That needs neither umap-learn nor a
pickle, takes milliseconds, and keeps a path together better than UMAP's own transform (measured on 64 paths of an exact
flow in 16 channels, fitted on 100 other paths and 1,300 clean latents: the median largest step is 0.2 of a path's
length, against 0.26 to 0.38; fitted along with the rest, it would be 0.15).
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import logging
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

MAX_FITTED = 4095  # umap-learn leaves exact neighbours for a slow approximation from 4,096 points on
MOST_SIZE = 1e12  # of a number to fit: the squares of distances, and sums of them, are float32 still
CACHE_VARIABLE = "COLADLM_CACHE"
CHUNK = 1024  # points placed at once: bounds the table of distances
PCA_ARRAYS = ("mean", "components", "explained")  # of a stored PCA
UMAP_ARRAYS = (*PCA_ARRAYS, "states", "embedding", "placed_by")  # of a stored UMAP, its reduction's among them

Array = NDArray[np.float32]


class ProjectionError(ValueError):
    """Points or a stored map cannot be used; the message names what was found and what was wanted."""


@dataclasses.dataclass(frozen=True, eq=False)
class PCAMap:
    """Principal components. mean: (d,). components: (k, d), orthonormal. explained: (k,), shares of the variance.

    Each component points to where its greatest entry is positive, so that a picture never comes out mirrored.
    """

    mean: Array
    components: Array
    explained: Array

    @property
    def dimensions(self) -> int:
        return len(self.components)

    def place(self, points: ArrayLike) -> Array:
        """(..., d) -> (..., k), in latent units: an orthogonal projection, so no distance ever grows."""
        return np.asarray((checked_points(points, len(self.mean)) - self.mean) @ self.components.T, np.float32)


def fit_pca(points: ArrayLike, dimensions: int) -> PCAMap:
    """The first principal components of points (n, d), at most n and d of them. Raises ProjectionError."""
    from sklearn.decomposition import PCA  # imports slowly, and a stored map needs none

    points = checked_points(points)
    if points.ndim != 2 or len(points) < 2 or points.shape[1] < dimensions or dimensions < 1:
        raise ProjectionError(f"points have shape {points.shape}, expected (n, d) with n >= 2 and d >= {dimensions}")
    with np.errstate(invalid="ignore"):  # points that are all one explain nothing of nothing
        fitted = PCA(min(dimensions, len(points)), svd_solver="full").fit(points.astype(np.float64))
    components = fitted.components_
    greatest = np.abs(components).argmax(1)
    components = components * np.where(components[np.arange(len(components)), greatest] < 0, -1.0, 1.0)[:, None]
    explained = np.nan_to_num(fitted.explained_variance_ratio_)
    padding = dimensions - len(components)
    return PCAMap(
        fitted.mean_.astype(np.float32),
        np.pad(components, ((0, padding), (0, 0))).astype(np.float32),
        np.pad(explained, (0, padding)).astype(np.float32),
    )


@dataclasses.dataclass(frozen=True)
class UMAPSettings:
    """How a UMAP is fitted (McInnes et al. 2018, arXiv:1802.03426).

    reduced: principal components kept before. placed_by: fitted states that a new point is placed among.
    """

    dimensions: int = 2
    neighbours: int = 30
    min_dist: float = 0.9
    epochs: int = 200
    seed: int = 0
    reduced: int = 32
    placed_by: int = 50


@dataclasses.dataclass(frozen=True, eq=False)
class UMAPMap:
    """A fitted UMAP as arrays. reduction: PCA to the space it was fitted in. states: (n, r) there. embedding: (n, k).

    Distances on it are not latent distances: near is near, but far means little.
    """

    reduction: PCAMap
    states: Array
    embedding: Array
    placed_by: int = 30

    @property
    def dimensions(self) -> int:
        return self.embedding.shape[1]

    def place(self, points: ArrayLike) -> Array:
        """(..., d) -> (..., k): the weighted mean of where the nearest fitted states lie. A fitted state stays put."""
        return place_on([self], points)[0]

    @functools.cached_property
    def _squares(self) -> Array:
        return np.square(self.states).sum(1)

    def _neighbours(self, points: Array) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The nearest fitted states of points (n, r), (n, placed_by), and their weights in the mean."""
        k = min(self.placed_by, len(self.states))
        squares = self._squares - 2 * (points @ self.states.T)  # without that of the point, which is the same in a row
        nearest = np.argpartition(squares, k - 1, axis=1)[:, :k]
        # from the differences, which for a point on a fitted state leave no rounding
        apart = np.square(points[:, None] - self.states[nearest], dtype=np.float64).sum(-1)
        weights = 1 / np.maximum(apart, 1e-12)
        return nearest, weights / weights.sum(1, keepdims=True)


def place_on(maps: Sequence[UMAPMap], points: ArrayLike) -> list[Array]:
    """Where points (..., d) lie on each of some maps that were fitted on the same states, (..., k): `UMAPMap.place`.

    Their neighbours, which take most of the time, are looked for once. Which maps those are says `fitted_alike`.
    """
    points = maps[0].reduction.place(points)
    flat = points.reshape(-1, points.shape[-1])
    placed = [np.empty((len(flat), each.dimensions), np.float32) for each in maps]
    for start in range(0, len(flat), CHUNK):
        nearest, weights = maps[0]._neighbours(flat[start : start + CHUNK])
        for each, into in zip(maps, placed, strict=True):
            into[start : start + CHUNK] = (weights[..., None] * each.embedding[nearest]).sum(1)
    return [part.reshape(*points.shape[:-1], part.shape[-1]) for part in placed]


def fitted_alike(one: UMAPMap, other: UMAPMap) -> bool:
    """Were both fitted on the same states, so that a point has the same neighbours on either?"""
    arrays = ((each.states, each.reduction.mean, each.reduction.components) for each in (one, other))
    return one.placed_by == other.placed_by and all(map(np.array_equal, *arrays))


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a fit is. share: in [0, 1]. message: what it does, for people. result: the map, in the last one."""

    share: float
    message: str
    result: UMAPMap | None = None


def fit_umap(
    points: ArrayLike, settings: UMAPSettings | None = None, fingerprint: str = "", cache: Path | None = None
) -> Iterator[Progress]:
    """Fits a UMAP on points (n, d) in a process of its own; the last Progress holds the map.

    fingerprint: of the model the points come from. cache: where fitted maps are kept (`cache_folder()` if absent); one
    of the same points, fingerprint and settings is read from there at once. Closing the iterator ends the process. The
    same points and settings give the same map, on one machine to the last digit. What it is fitted on should hold the
    states of paths at all times: on clean latents alone, paths leap from end to end. Equal points count as one and lie
    on one place; where fewer than k + 2 different ones are left, they lie where the PCA has them. Raises
    ProjectionError.
    """
    settings = settings or UMAPSettings()
    points = checked_points(points)
    least = settings.dimensions + 2
    if points.ndim != 2 or not least <= len(points) <= MAX_FITTED or points.shape[1] < settings.dimensions:
        wanted = f"(n, d) with n from {least} to {MAX_FITTED} and d from {settings.dimensions}"
        raise ProjectionError(f"points have shape {points.shape}, expected {wanted}")
    if (largest := float(np.abs(points).max())) >= MOST_SIZE:
        raise ProjectionError(f"points hold numbers as large as {largest:.2g}, expected less than {MOST_SIZE:g}")
    return _fitted(points, settings, _cache_file(points, settings, fingerprint, cache or cache_folder()))


def _fitted(points: Array, settings: UMAPSettings, file: Path) -> Iterator[Progress]:
    if file.exists():
        try:
            yield Progress(1.0, "read from the cache", load_umap(file))
            return
        except ProjectionError:
            file.unlink(missing_ok=True)  # a damaged file is fitted anew
    from ..extras import MissingExtraError, require  # here, since this file runs as a script, too

    try:
        require("umap", "Fitting a UMAP")
    except MissingExtraError as error:
        raise ProjectionError(str(error)) from error
    reduction = fit_pca(points, max(settings.dimensions, min(settings.reduced, points.shape[1])))
    different, which = _different(points)
    states = reduction.place(different)
    if len(states) < settings.dimensions + 2:
        embedding = states[:, : settings.dimensions]
    else:
        with tempfile.TemporaryDirectory() as folder:
            np.save(Path(folder) / "states.npy", states)
            yield from _worker(Path(folder), settings)
            embedding = np.load(Path(folder) / "embedding.npy", allow_pickle=False)
    fitted = UMAPMap(reduction, states[which], embedding[which], settings.placed_by)
    try:
        save_umap(file, fitted)
    except OSError as error:  # a disk that cannot be written to costs the next start a fit and nothing else
        logging.getLogger(__name__).warning("the map is not kept in the cache: %s", error)
    yield Progress(1.0, "fitted", fitted)


def _different(points: Array) -> tuple[Array, NDArray[np.int64]]:
    """The different ones among points (n, d) in the order in which they come, and for each point which it is (n,).

    UMAP divides by the extent of its points, and has none where all of them are one.
    """
    _, first, which = np.unique(points, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return points[first[order]], rank[which.reshape(-1)]


def _worker(folder: Path, settings: UMAPSettings) -> Iterator[Progress]:
    """Runs this file as a script on `folder`, and says how far it is."""
    arguments = [sys.executable, "-P", str(Path(__file__).resolve()), str(folder), json.dumps(vars(settings))]
    with (
        open(folder / "errors.txt", "w+", encoding="utf-8", errors="replace") as errors,
        subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=errors, text=True, encoding="utf-8") as process,
    ):
        try:
            for line in process.stdout or ():
                share, _, message = line.strip().partition(" ")
                yield Progress(float(share), message)
        finally:
            process.kill()  # nothing, where it has ended
        if process.wait() != 0:
            errors.seek(0)
            last_line = errors.read().strip().rpartition("\n")[2]
            raise ProjectionError(f"UMAP ended with status {process.returncode}, expected 0: {last_line[:200]}")


# maps as files


def cache_folder() -> Path:
    """Where this machine keeps what can be computed again: $COLADLM_CACHE, or the platform's place for it."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "coladlm" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "coladlm"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "coladlm"


def _cache_file(points: Array, settings: UMAPSettings, fingerprint: str, folder: Path) -> Path:
    key = hashlib.sha256(json.dumps([fingerprint, points.shape, vars(settings)], sort_keys=True).encode())
    key.update(np.ascontiguousarray(points).tobytes())
    return folder / "umap" / f"{key.hexdigest()[:32]}.npz"


def save_umap(file: Path, fitted: UMAPMap) -> None:
    """Writes a map as .npz, whole or not at all. Raises OSError."""
    from .array_files import save_arrays  # here, since this file runs as a script, too

    save_arrays(file, umap_arrays(fitted))


def load_umap(file: Path) -> UMAPMap:
    """Reads what `save_umap` wrote. Raises ProjectionError for anything else."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return umap_of({name: arrays[name] for name in arrays.files})
    except ProjectionError as error:
        raise ProjectionError(f"{file.name}: {error}") from error
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ProjectionError(f"{file.name} is no map or a damaged one ({error}), expected an .npz file") from error


def umap_arrays(fitted: UMAPMap) -> dict[str, NDArray[Any]]:
    """A map as plain arrays by name, for a file."""
    return {
        **{name: getattr(fitted.reduction, name) for name in PCA_ARRAYS},
        "states": fitted.states,
        "embedding": fitted.embedding,
        "placed_by": np.array(fitted.placed_by),
    }


def umap_of(arrays: dict[str, NDArray[Any]]) -> UMAPMap:
    """The map that `umap_arrays` made arrays of. Raises ProjectionError for arrays that do not fit together."""
    for name in UMAP_ARRAYS:
        if name not in arrays:
            raise ProjectionError(f"{name} is missing, expected it in every stored map")
        if arrays[name].dtype.kind not in "fiu" or not np.isfinite(arrays[name]).all():
            raise ProjectionError(f"{name} is {arrays[name].dtype} or not finite, expected finite numbers")
    shapes = {name: array.shape for name, array in arrays.items()}
    fits = (
        len(shapes["components"]) == len(shapes["states"]) == len(shapes["embedding"]) == 2
        and shapes["mean"] == shapes["components"][1:]
        and shapes["explained"] == shapes["components"][:1] == shapes["states"][1:]
        and shapes["states"][0] == shapes["embedding"][0] > 0
        and shapes["placed_by"] == ()
    )
    if not fits or arrays["placed_by"] < 1:
        raise ProjectionError(f"the arrays of a stored map have shapes {shapes}, expected ones that fit together")
    mean, components, explained, states, embedding = (arrays[name].astype(np.float32) for name in UMAP_ARRAYS[:-1])
    return UMAPMap(PCAMap(mean, components, explained), states, embedding, int(arrays["placed_by"]))


# shapes


def checked_points(points: ArrayLike, channels: int | None = None) -> Array:
    """Points (..., d) in float32. Raises ProjectionError for another number of channels, and for what is not finite."""
    array = np.asarray(points, dtype=np.float32)
    if array.ndim == 0 or (channels is not None and array.shape[-1] != channels):
        raise ProjectionError(f"points have shape {array.shape}, expected (..., {channels or 'd'})")
    if not np.isfinite(array).all():
        raise ProjectionError("points hold numbers that are not finite, expected finite ones")
    return array


# the process that fits


class _Epochs:
    """A file for umap-learn's progress bar: turns the epochs it writes into lines of progress."""

    def __init__(self, total: int) -> None:
        self.total = total

    def write(self, text: str) -> None:
        if (done := text.strip()).isdigit():
            _say(0.3 + 0.7 * int(done) / self.total, f"epoch {done} of {self.total}")

    def flush(self) -> None:
        sys.stdout.flush()


def _say(share: float, message: str) -> None:
    print(f"{share:.3f} {message}", flush=True)


def _keep_compiled(parts: Iterable[Any]) -> None:
    """Has numba keep on disk what it compiles of these parts of umap-learn, which by itself does so for few of them:
    every fit would compile the others anew, which takes three times as long as all the rest.
    """
    for part in parts:
        if not hasattr(part, "enable_caching"):
            continue
        try:
            part.enable_caching()
            save = part._cache.save_overload
        except (AttributeError, RuntimeError):  # another numba, or no folder that can be written to
            continue
        part._cache.save_overload = functools.partial(_saved_if_possible, save)


def _saved_if_possible(save: Callable[..., None], *compiled: Any) -> None:
    with contextlib.suppress(OSError):  # a full disk costs the next fit its time and nothing else
        save(*compiled)


def _fit_in_this_process(folder: Path, settings: UMAPSettings) -> None:
    """Reads states.npy of the folder and writes embedding.npy beside it."""
    if hasattr(os, "nice"):
        os.nice(10)  # the page and the model come first
    _say(0.0, "loading UMAP")
    import umap
    from sklearn.neighbors import NearestNeighbors

    for name in ("umap.umap_", "umap.layouts"):
        _keep_compiled(vars(sys.modules[name]).values() if name in sys.modules else ())
    _say(0.15, "finding neighbours")
    states = np.load(folder / "states.npy", allow_pickle=False)
    neighbours = min(settings.neighbours, len(states) - 1)
    # exact, and without the compilation that umap-learn's own search needs: a third of the time of a first fit
    distances, indices = NearestNeighbors(n_neighbors=neighbours).fit(states).kneighbors(states)
    _say(0.2, "preparing the layout")
    bar = {"file": _Epochs(settings.epochs), "bar_format": "{n_fmt}\n", "disable": False, "mininterval": 0.2}
    fitted = umap.UMAP(
        n_components=settings.dimensions, n_neighbors=neighbours, min_dist=settings.min_dist, init="pca",
        n_epochs=settings.epochs, random_state=settings.seed, n_jobs=1, tqdm_kwds=bar,
        precomputed_knn=(indices, distances.astype(np.float32), None),
    ).fit(states)  # fmt: skip
    np.save(folder / "embedding.npy", fitted.embedding_.astype(np.float32))


if __name__ == "__main__":
    import warnings

    # that a given table of neighbours cannot place new points is known: `UMAPMap.place` does
    warnings.filterwarnings("ignore", message="precomputed_knn", category=UserWarning)
    _fit_in_this_process(Path(sys.argv[1]), UMAPSettings(**json.loads(sys.argv[2])))

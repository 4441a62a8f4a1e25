"""A visitor's map as a file that opens again: texts, vectors, clusters, every map and how it is looked at.

Its arrays, all of plain numbers and text: `texts`, `sets`, `vectors` (n, d), `cluster` (n,), each map's coordinates
(n, 2) by its name, what each map needs to place another text ("pca.mean", ...), `query` (d,) and `waypoints` (k, d)
where there are any, and `about`, the rest as JSON.
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from coladlm.latent.projection import MAX_FITTED, PCA_ARRAYS, UMAP_ARRAYS, PCAMap, UMAPMap, umap_arrays, umap_of
from coladlm.latent.sentence_map import UMAP_SETTINGS
from coladlm.latent.text_map import MOST_CLUSTERS

from .charts import MOST_CHARTS, PCA, is_umap_name
from .cloud import COLOURINGS, Query, TextCloud, View
from .npz_arrays import MOST_LENGTH, array_names, moderate, opened_npz, read_array
from .text_file_error import HALF_CHARACTER, MAX_SET, TextFileError
from .text_files import MAX_CHARACTERS, MAX_TEXTS, Texts
from .vector_files import VECTORS, checked_vectors

ABOUT = "about"
VERSION = 1
MOST_BYTES = 60 << 20
MOST_ABOUT = 4 << 20
MOST_NUMBERS = 2048  # of a vector: the width of the largest model that is published
MOST_WAYPOINTS = 256
MOST_PLACED_BY = 100
MOST_STATE = MOST_LENGTH * MOST_NUMBERS  # of a vector's projection
SAME = 0.01  # of a map's extent: coordinates that differ by less agree


# out


def map_file(cloud: TextCloud) -> bytes:
    """The map as .npz; no array needs pickle to load."""
    charts = dict(cloud.charts)  # a fit may add to them meanwhile
    query, waypoints, view = cloud.query, cloud.waypoints, cloud.view
    about = {
        "version": VERSION,
        "model": cloud.model,
        "written": cloud.texts.written,
        "charts": list(charts),
        "selected": view.selected,
        "chart": view.chart,
        "by": view.by,
        "asked": view.asked,
        "query": None if query is None else query.text,
        "waypoints": None if waypoints is None else waypoints[0],
    }
    arrays: dict[str, Any] = {
        ABOUT: np.frombuffer(json.dumps(about).encode(), np.uint8),
        "texts": np.array(cloud.texts.texts),
        "sets": np.array(cloud.texts.sets),
        VECTORS: cloud.vectors,
        "cluster": cloud.clusters,
    }
    placed = cloud.placed()
    for name, chart in charts.items():
        arrays[name] = placed[name]
        arrays |= {f"{name}.{part}": array for part, array in _arrays_of(chart).items()}
    if query is not None:
        arrays["query"] = query.vector
    if waypoints is not None:
        arrays["waypoints"] = waypoints[1]
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    return out.getvalue()


def _arrays_of(chart: PCAMap | UMAPMap) -> dict[str, np.ndarray]:
    if isinstance(chart, UMAPMap):
        return umap_arrays(chart)
    return {part: getattr(chart, part) for part in PCA_ARRAYS}


# in


def is_saved_map(path: str | Path) -> bool:
    """Is it an archive with what only a saved map has?"""
    try:
        with opened_npz(path, MOST_BYTES) as archive:
            return ABOUT in array_names(archive)
    except TextFileError:
        return False  # whoever reads it as vectors says what is wrong with it


def read_map(path: str | Path, fingerprint: str, channels: int) -> TextCloud:
    """What `map_file` wrote. fingerprint, channels: of the model that is loaded, and how many numbers its vectors of
    meaning have. Raises TextFileError, OSError.
    """
    with opened_npz(path, MOST_BYTES) as archive:
        about = _about(archive)
        _check_names(archive, about)
        bounds = ((2, MAX_TEXTS), (1, MOST_NUMBERS))
        expected = f"2 to {MAX_TEXTS:,} vectors of 1 to {MOST_NUMBERS:,} numbers"
        vectors = checked_vectors(read_array(archive, VECTORS, "f", "numbers of shape (n, d)", bounds, expected))
        n, d = vectors.shape
        readable = about["model"] == fingerprint
        if about["model"] and readable and d != channels:
            raise TextFileError(f"the vectors have {d:,} numbers, expected {channels:,} as the model's own")
        texts = _strings(archive, "texts", n, MAX_CHARACTERS)
        sets = _strings(archive, "sets", n, MAX_SET)
        clusters = _clusters(archive, n)
        pca, umaps = _charts(archive, about["charts"], vectors)
        note = f"{n:,} texts of a saved map."
        if about["model"] and not readable:
            note += " Another model placed them, so the search finds words alone."
        found = Texts(texts, sets, note, about["written"])
        cloud = TextCloud(found, vectors, about["model"], clusters, pca, readable, saved=True)
        cloud.charts |= umaps
        _check_coordinates(archive, cloud)
        if about["query"] is not None:
            cloud.query = Query(about["query"], _numbers(archive, "query", (d,)))
        if about["waypoints"] is not None:
            cloud.waypoints = about["waypoints"], _numbers(archive, "waypoints", (len(about["waypoints"]), d))
        cloud.view = _view(about, n)
        return cloud


def _about(archive: zipfile.ZipFile) -> dict[str, Any]:
    """What is no array, each entry of its type."""
    written = read_array(archive, ABOUT, "u", "bytes of shape (n,)", ((0, MOST_ABOUT),)).astype(np.uint8).tobytes()
    about = json.loads(written)
    if not isinstance(about, dict) or about.get("version") != VERSION:
        found = about.get("version") if isinstance(about, dict) else type(about).__name__
        raise TextFileError(f"the saved map is of version {found!r}, expected {VERSION}")
    names = ["version", *(name for name, _, _ in ENTRIES)]
    if set(about) != set(names):
        raise TextFileError(f"the saved map says {', '.join(sorted(about))}, expected {', '.join(sorted(names))}")
    for name, fits, expected in ENTRIES:
        if not fits(about[name]):
            raise TextFileError(f"{name!r} of the saved map is {str(about[name])[:60]!r}, expected {expected}")
    return about


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and not HALF_CHARACTER.search(value)


def _are_charts(value: Any) -> bool:
    return (
        isinstance(value, list)
        and value[:1] == [PCA]
        and len(value) <= MOST_CHARTS
        and all(isinstance(name, str) and is_umap_name(name) for name in value[1:])
        and len(set(value)) == len(value)
    )


def _are_waypoints(value: Any) -> bool:
    return isinstance(value, list) and 2 <= len(value) <= MOST_WAYPOINTS and all(map(_is_text, value))


ENTRIES = (  # of `about`: name, is a value fine, what is
    ("model", lambda value: _is_text(value) and len(value) <= 64, "a model's fingerprint"),
    ("written", lambda value: isinstance(value, bool), "true or false"),
    ("charts", _are_charts, f"'{PCA}' and the names of up to {MOST_CHARTS - 1} UMAPs"),
    ("selected", lambda value: isinstance(value, list) and all(type(i) is int for i in value), "whole numbers"),
    ("chart", lambda value: isinstance(value, str), "the name of a map"),
    ("by", lambda value: value in COLOURINGS, f"one of {', '.join(COLOURINGS)}"),
    ("asked", lambda value: isinstance(value, bool), "true or false"),
    ("query", lambda value: value is None or _is_text(value), "a text"),
    ("waypoints", lambda value: value is None or _are_waypoints(value), f"2 to {MOST_WAYPOINTS} texts"),
)


def _check_names(archive: zipfile.ZipFile, about: dict[str, Any]) -> None:
    known = [ABOUT, "texts", "sets", VECTORS, "cluster"]
    known += [name for name in ("query", "waypoints") if about[name] is not None]
    for chart in about["charts"]:
        known += [chart, *(f"{chart}.{part}" for part in (PCA_ARRAYS if chart == PCA else UMAP_ARRAYS))]
    found = array_names(archive)
    if missing := [name for name in known if name not in found]:
        raise TextFileError(f"the saved map has no array {missing[0]!r}, expected one")
    if unknown := [name for name in found if name not in known]:
        raise TextFileError(f"the file holds {unknown[0]!r}, which a saved map has not")
    if len(found) != len(known):
        raise TextFileError(f"the file holds {len(found):,} arrays, expected {len(known):,} of different names")


def _strings(archive: zipfile.ZipFile, name: str, n: int, most: int) -> list[str]:
    array = read_array(archive, name, "U", "text of shape (n,)", ((n, n),))
    found = array.tolist()
    longest = max(map(len, found))
    if longest > most:
        raise TextFileError(f"{name!r} holds one of {longest:,} characters, expected at most {most:,}")
    if any(HALF_CHARACTER.search(text) for text in found):
        raise TextFileError(f"{name!r} holds half a character, expected whole characters")
    return found


def _clusters(archive: zipfile.ZipFile, n: int) -> np.ndarray:
    clusters = read_array(archive, "cluster", "iu", "whole numbers of shape (n,)", ((n, n),))
    used = np.unique(clusters).tolist()
    if len(used) > MOST_CLUSTERS or used != list(range(len(used))):
        expected = f"0, 1, ... of at most {MOST_CLUSTERS} clusters"
        raise TextFileError(f"the clusters are {', '.join(map(str, used[:20]))}, expected {expected}")
    return clusters.astype(np.int64)


def _numbers(archive: zipfile.ZipFile, name: str, shape: tuple[int, ...], most: float = MOST_LENGTH) -> np.ndarray:
    """Numbers of this shape, all of them less than `most` in size."""
    array = read_array(archive, name, "f", f"numbers of shape {shape}", [(length, length) for length in shape])
    if not moderate(array, most).all():
        raise TextFileError(f"{name!r} holds NaN or a number of {most:g} or more, expected finite ones")
    return array.astype(np.float32)


def _charts(
    archive: zipfile.ZipFile, names: list[str], vectors: np.ndarray
) -> tuple[PCAMap, dict[str, PCAMap | UMAPMap]]:
    """The maps with what they place a text by: PCA, and the UMAPs by name."""
    d = vectors.shape[1]
    pca = PCAMap(**_projection(archive, PCA, min(2, d), d))
    umaps: dict[str, PCAMap | UMAPMap] = {}
    for name in names[1:]:
        bounds = ((2, UMAP_SETTINGS.reduced), (d, d))
        r = len(read_array(archive, f"{name}.components", "f", "numbers of shape (r, d)", bounds))
        bounds = ((1, MAX_FITTED), (r, r))
        m = len(read_array(archive, f"{name}.states", "f", "numbers of shape (m, r)", bounds))
        placed_by = read_array(archive, f"{name}.placed_by", "iu", "a whole number", ())
        if not 1 <= placed_by <= MOST_PLACED_BY:
            found = f"the map {name!r} places a text by {placed_by} others"
            raise TextFileError(f"{found}, expected 1 to {MOST_PLACED_BY}")
        umaps[name] = umap_of(
            {
                **_projection(archive, name, r, d),
                "states": _numbers(archive, f"{name}.states", (m, r), MOST_STATE),
                "embedding": _numbers(archive, f"{name}.embedding", (m, 2)),
                "placed_by": placed_by,
            }
        )
    return pca, umaps


def _projection(archive: zipfile.ZipFile, name: str, k: int, d: int) -> dict[str, np.ndarray]:
    """The arrays of a PCA from d to k dimensions; its components are at most 1 long, as are the shares it explains."""
    return {
        "mean": _numbers(archive, f"{name}.mean", (d,)),
        "components": _numbers(archive, f"{name}.components", (k, d), 1.001),
        "explained": _numbers(archive, f"{name}.explained", (k,), 1.001),
    }


def _check_coordinates(archive: zipfile.ZipFile, cloud: TextCloud) -> None:
    """That each map's coordinates are where it places the texts, but for the rounding of another machine."""
    for name, placed in cloud.placed().items():
        stored = _numbers(archive, name, placed.shape, MOST_STATE)
        apart = np.abs(stored - placed).max(1)
        if (apart > SAME * np.abs(placed).max()).mean() > SAME:
            raise TextFileError(f"the coordinates of {name!r} are not where that map places the texts")


def _view(about: dict[str, Any], n: int) -> View:
    selected, chart = about["selected"], about["chart"]
    if any(not 0 <= i < n for i in selected) or len(set(selected)) != len(selected):
        raise TextFileError(f"the selected texts are not different ones from 0 to {n - 1}")
    if chart and chart not in about["charts"]:
        raise TextFileError(f"the map that is shown is {chart[:60]!r}, expected one of {', '.join(about['charts'])}")
    return View(tuple(sorted(selected)), chart, about["by"], about["asked"])

"""PCA and UMAP on latents of a flow that is known exactly: words on a sphere and the field that carries noise there."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from coladlm.latent import projection
from coladlm.latent.faithfulness import faithfulness, rank_correlation, trustworthiness
from coladlm.latent.projection import (
    PCAMap,
    ProjectionError,
    UMAPMap,
    UMAPSettings,
    cache_folder,
    fit_pca,
    fit_umap,
    fitted_alike,
    load_umap,
    place_on,
)

CHANNELS, STEPS, SPREAD = 16, 16, 0.15
SETTINGS = UMAPSettings(neighbours=20, epochs=100, placed_by=20)
TWICE = """
import runpy, sys
script, *folders, settings = sys.argv[1:]
for folder in folders:
    sys.argv = [script, folder, settings]
    runpy.run_path(script, run_name="__main__")
"""


def words(count: int = 100) -> np.ndarray:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, CHANNELS))[rng.integers(0, 8, count)] + 0.8 * rng.normal(size=(count, CHANNELS))
    x -= x.mean(1, keepdims=True)
    return x / x.std(1, keepdims=True)


def flow_paths(count: int, seed: int) -> np.ndarray:
    """(STEPS + 1, count, CHANNELS): Euler steps along the exact velocity (z - E[x | z]) / s of the words' mixture."""
    x = words()
    z = np.random.default_rng(seed).normal(size=(count, CHANNELS))
    path = [z]
    for step in range(STEPS):
        s, s_next = 1 - step / STEPS, 1 - (step + 1) / STEPS
        squares = np.square(z[:, None] - (1 - s) * x).sum(-1)
        log_weights = -squares / (2 * (s * s + (1 - s) ** 2 * SPREAD**2))
        weights = np.exp(log_weights - log_weights.max(1, keepdims=True))
        z = z - (s - s_next) * (z - weights @ x / weights.sum(1, keepdims=True)) / s
        path.append(z)
    return np.stack(path)


@pytest.fixture(scope="module")
def paths() -> np.ndarray:
    return flow_paths(40, seed=9)


@pytest.fixture(scope="module")
def fitted_on() -> np.ndarray:
    cloud = np.repeat(words(), 3, axis=0)
    cloud = cloud + SPREAD * np.random.default_rng(1).normal(size=cloud.shape)
    return np.concatenate((cloud, flow_paths(40, seed=2).reshape(-1, CHANNELS)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def first_fit(fitted_on, folder):
    """The one real fit of these tests; elsewhere see `layout_without_umap`."""
    return list(fit_umap(fitted_on, SETTINGS, "model", folder))


@pytest.fixture(scope="module")
def umap_map(first_fit) -> UMAPMap:
    return first_fit[-1].result


# PCA


def test_pca_finds_the_plane_that_points_lie_in():
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(7, 2)))[0].T
    points = 5 + rng.normal(size=(200, 2)) * [3.0, 1.0] @ basis
    chart = fit_pca(points, 3)
    assert chart.explained[:2].sum() == pytest.approx(1.0, abs=1e-6)
    assert chart.explained[0] > chart.explained[1] > chart.explained[2]
    np.testing.assert_allclose(chart.place(points) @ chart.components + chart.mean, points, atol=1e-5)


def test_pca_is_never_mirrored():
    points = np.random.default_rng(3).normal(size=(50, 4)) * [4, 3, 2, 1]
    chart, mirrored = fit_pca(points, 2), fit_pca(-points, 2)
    np.testing.assert_allclose(chart.components, mirrored.components, atol=1e-6)


def test_pca_of_two_points_explains_everything_by_one_component():
    chart = fit_pca([[0.0, 0, 0], [0, 2, 0]], 3)
    np.testing.assert_allclose(chart.explained, [1, 0, 0], atol=1e-6)
    assert abs(np.diff(chart.place([[0.0, 0, 0], [0, 2, 0]])[:, 0])) == pytest.approx(2.0)


def test_points_that_are_all_one_have_a_map():
    chart = fit_pca(np.ones((5, 3)), 2)
    assert not chart.explained.any()
    assert not chart.place(np.ones((5, 3))).any()


def test_pca_places_a_point_the_same_alone_and_in_any_shape(paths, fitted_on):
    chart = fit_pca(fitted_on, 2)
    assert chart.place(paths).shape == (STEPS + 1, 40, 2)
    np.testing.assert_allclose(chart.place(paths)[3, 5], chart.place(paths[3, 5]), rtol=1e-5, atol=1e-5)


# UMAP


def test_a_fit_says_how_far_it_is(first_fit):
    shares = [progress.share for progress in first_fit]
    assert shares == sorted(shares)
    assert shares[0] == 0.0 and shares[-1] == 1.0
    assert any(progress.message.startswith("epoch ") for progress in first_fit)
    assert [progress.result is None for progress in first_fit].index(False) == len(first_fit) - 1


def test_a_fitted_state_stays_where_it_was_fitted(umap_map, fitted_on):
    np.testing.assert_allclose(umap_map.place(fitted_on[::50]), umap_map.embedding[::50], atol=1e-3)


def test_paths_hold_together(umap_map, paths):
    assert faithfulness(umap_map, paths).largest_step <= 0.25


def test_neighbours_on_the_map_are_neighbours_in_truth(umap_map, fitted_on):
    assert trustworthiness(fitted_on, umap_map.embedding) > 0.95


def test_a_state_that_was_never_seen_lies_among_its_like(umap_map, fitted_on, paths):
    assert faithfulness(umap_map, paths, fitted_on).trustworthiness > 0.85


def test_a_point_is_placed_the_same_alone_and_among_others(umap_map, paths):
    together = umap_map.place(paths)
    np.testing.assert_allclose(umap_map.place(paths[4, 7]), together[4, 7], rtol=1e-4, atol=1e-4)
    many = np.tile(paths.reshape(-1, CHANNELS), (3, 1))
    np.testing.assert_allclose(umap_map.place(many)[-1], together[-1, -1], rtol=1e-4, atol=1e-4)


def test_maps_that_were_fitted_alike_place_a_point_together_as_each_does_alone(umap_map, paths):
    other = dataclasses.replace(umap_map, embedding=np.random.default_rng(1).normal(size=(len(umap_map.states), 3)))
    assert fitted_alike(umap_map, other)
    points = np.concatenate([paths.reshape(-1, CHANNELS)] * 2)  # more than are placed at once
    for chart, placed in zip((umap_map, other), place_on([umap_map, other], points), strict=True):
        np.testing.assert_array_equal(placed, chart.place(points))
        nearest = np.square(chart.reduction.place(points[5]) - chart.states).sum(1).argsort()[: chart.placed_by]
        assert chart.embedding[nearest].min() <= placed[5].min() and placed[5].max() <= chart.embedding[nearest].max()


@pytest.mark.parametrize("what", ["states", "placed_by", "mean", "components"])
def test_maps_that_differ_in_anything_that_places_a_point_were_not_fitted_alike(umap_map, what):
    def changed(value):
        return value + 1 if what == "placed_by" else np.concatenate([value[:-1], value[-1:] + 1])

    holder = umap_map if hasattr(umap_map, what) else umap_map.reduction
    other = dataclasses.replace(holder, **{what: changed(getattr(holder, what))})
    if holder is not umap_map:
        other = dataclasses.replace(umap_map, reduction=other)
    assert fitted_alike(umap_map, dataclasses.replace(umap_map)) and not fitted_alike(umap_map, other)


def test_a_second_fit_is_read_from_the_cache(umap_map, fitted_on, folder):
    (only,) = fit_umap(fitted_on, SETTINGS, "model", folder)
    np.testing.assert_array_equal(only.result.embedding, umap_map.embedding)


def test_a_seeded_fit_gives_the_same_map_twice_and_compiles_nothing_that_was_compiled_before(
    first_fit, fitted_on, tmp_path
):
    """The process that fits, twice in one: numba has all of its code from the disk, where the first fit has left it."""
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
        np.save(folder / "states.npy", fitted_on[:60])
    settings = json.dumps(dataclasses.asdict(UMAPSettings(neighbours=5, epochs=10, seed=3)))
    command = [sys.executable, "-c", TWICE, projection.__file__, *map(str, folders), settings]
    environment = {**os.environ, "NUMBA_DEBUG_CACHE": "1"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment, timeout=240)
    for part in ("smooth_knn_dist", "compute_membership_strengths", "_optimize_layout_euclidean_single_epoch"):
        assert re.search(rf"\[cache\] data loaded from .*\.{part}-", done.stdout)
    assert "[cache] data saved to" not in done.stdout
    first, second = (np.load(folder / "embedding.npy", allow_pickle=False) for folder in folders)
    assert first.shape == (60, 2) and np.ptp(first, axis=0).min() > 0
    np.testing.assert_array_equal(first, second)


def test_what_numba_compiles_of_a_fit_is_kept_where_that_is_possible():
    class Part:
        def __init__(self, folder, disk):
            self.folder, self.kept, self._cache = folder, [], None
            self.save = {"full": self.full, "free": self.kept.append}[disk]

        def enable_caching(self):
            if not self.folder:
                raise RuntimeError("cannot cache function: no locator available")
            self._cache = SimpleNamespace(save_overload=self.save)

        def full(self, compiled):
            raise OSError("no space left on device")

    parts = [Part(True, "free"), Part(True, "full"), Part(False, "free")]
    projection._keep_compiled([np, *parts])
    for part in parts[:2]:
        part._cache.save_overload("code")
    assert [part.kept for part in parts] == [["code"], [], []]


@pytest.mark.parametrize("change", ["model", "data", "settings"])
def test_the_cache_tells_models_data_and_settings_apart(change, fitted_on, folder, first_fit):
    settings = dataclasses.replace(SETTINGS, seed=1) if change == "settings" else SETTINGS
    points = fitted_on[:-1] if change == "data" else fitted_on
    fit = fit_umap(points, settings, "another" if change == "model" else "model", folder)
    assert next(fit).result is None  # begins anew
    fit.close()


def test_a_fit_that_is_closed_ends_its_process(fitted_on, tmp_path, monkeypatch):
    started = []

    class Watched(projection.subprocess.Popen):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            started.append(self)

    monkeypatch.setattr(projection.subprocess, "Popen", Watched)
    fit = fit_umap(fitted_on, SETTINGS, "model", tmp_path)
    next(fit)
    fit.close()
    assert started[0].poll() is not None
    assert not list(tmp_path.rglob("*.npz"))


def test_a_damaged_file_of_the_cache_is_fitted_anew(fitted_on, folder, first_fit, tmp_path):
    (kept,) = (folder / "umap").glob("*.npz")
    damaged = tmp_path / "umap" / kept.name
    damaged.parent.mkdir()
    damaged.write_bytes(kept.read_bytes()[:1000])
    fit = fit_umap(fitted_on, SETTINGS, "model", tmp_path)
    assert next(fit).result is None
    fit.close()


def test_a_stored_map_with_a_pickle_inside_is_refused(tmp_path, umap_map):
    file = tmp_path / "map.npz"
    np.savez(file, **{**projection.umap_arrays(umap_map), "mean": np.array([{"a": 1}], dtype=object)})
    with pytest.raises(ProjectionError, match=r"map\.npz"):
        load_umap(file)


@pytest.mark.parametrize(
    ("name", "value"),
    [("states", np.zeros((3, 2))), ("embedding", np.full((3, 2), np.nan)), ("placed_by", np.array(0))],
)
def test_a_stored_map_whose_arrays_do_not_fit_is_refused(tmp_path, umap_map, name, value):
    file = tmp_path / "map.npz"
    np.savez(file, **{**projection.umap_arrays(umap_map), name: value})
    with pytest.raises(ProjectionError, match=r"map\.npz: "):
        load_umap(file)


def test_a_disk_that_cannot_be_written_to_costs_only_the_cache(fitted_on, tmp_path, caplog, layout_without_umap):
    nowhere = tmp_path / "file"
    nowhere.write_text("no folder")
    settings = UMAPSettings(neighbours=5, epochs=10)
    assert list(fit_umap(fitted_on[:60], settings, "model", nowhere))[-1].result.embedding.shape == (60, 2)
    assert "not kept in the cache" in caplog.text


def test_the_folder_of_the_cache_can_be_chosen(monkeypatch, tmp_path):
    monkeypatch.setenv("COLADLM_CACHE", str(tmp_path / "here"))
    assert cache_folder() == tmp_path / "here"
    monkeypatch.delenv("COLADLM_CACHE")
    if sys.platform == "linux":
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert cache_folder() == tmp_path / "coladlm"


def test_what_goes_wrong_in_the_process_is_said(fitted_on, tmp_path, layout_without_umap):
    with pytest.raises(ProjectionError, match=r"UMAP ended with status 1, expected 0: .*min_dist"):
        list(fit_umap(fitted_on[:60], UMAPSettings(min_dist=5.0, epochs=10), "model", tmp_path))


@pytest.mark.parametrize(
    ("points", "note"),
    [
        (np.zeros((2, 3)), r"shape \(2, 3\), expected \(n, d\) with n from 4 to 4095 and d from 2"),
        (np.zeros((9, 1)), r"shape \(9, 1\), expected"),
        (np.zeros((5000, 3)), r"shape \(5000, 3\)"),
        (np.full((9, 3), np.nan), "not finite"),
        (1e38 * np.eye(9), r"numbers as large as 1e\+38, expected less than 1e\+12"),
    ],
)
def test_points_that_cannot_be_fitted_are_refused_at_once(points, note):
    with pytest.raises(ProjectionError, match=note):
        fit_umap(points)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_few_different_points_lie_where_the_pca_has_them(count, dimensions, tmp_path):
    points = np.random.default_rng(0).normal(size=(count, 8))[np.arange(60) % count]
    *_, last = fit_umap(points, UMAPSettings(dimensions=dimensions), "model", tmp_path)
    np.testing.assert_array_equal(last.result.embedding, fit_pca(points, 8).place(points)[:, :dimensions])
    np.testing.assert_allclose(last.result.place(points), last.result.embedding, atol=1e-5)
    *_, again = fit_umap(points, UMAPSettings(dimensions=dimensions), "model", tmp_path)
    assert again.message == "read from the cache"


def test_equal_points_are_fitted_once_and_each_lies_where_its_equals_do(tmp_path, layout_without_umap):
    """The layout here is that of the first components, of whatever points the fit is given."""
    draw = np.random.default_rng(0)
    points = draw.normal(size=(20, 4))[draw.integers(0, 20, 60)]
    *_, last = fit_umap(points, UMAPSettings(neighbours=5, epochs=10), "model", tmp_path)
    np.testing.assert_array_equal(last.result.embedding, fit_pca(points, 4).place(points)[:, :2])


def test_points_of_another_width_are_refused(umap_map):
    with pytest.raises(ProjectionError, match=r"expected \(\.\.\., 16\)"):
        umap_map.place(np.zeros((3, 8)))


# honest numbers


def test_a_map_that_keeps_everything_is_wholly_faithful():
    paths = np.random.default_rng(0).normal(size=(6, 30, 3))
    chart = PCAMap(np.zeros(3, np.float32), np.eye(3, dtype=np.float32), np.ones(3, np.float32) / 3)
    found = faithfulness(chart, paths)
    assert found.trustworthiness == pytest.approx(1.0)
    assert found.steps_kept == pytest.approx(1.0)
    assert found.steps_rank == pytest.approx(1.0)
    assert found.largest_step == pytest.approx(found.largest_true_step)


def test_half_of_a_diagonal_step_survives_on_its_axis():
    paths = np.arange(4.0)[:, None, None] * np.array([3.0, 4.0])
    chart = PCAMap(np.zeros(2, np.float32), np.array([[1, 0]], np.float32), np.ones(1, np.float32))
    assert faithfulness(chart, paths).steps_kept == pytest.approx(0.6)


def test_the_largest_step_is_the_median_share_of_a_paths_length():
    ends = np.array([[0.0, 0, 0], [1, 1, 1], [2, 4, 10]])[..., None]  # shares 1/2, 3/4, 9/10
    chart = PCAMap(np.zeros(1, np.float32), np.eye(1, dtype=np.float32), np.ones(1, np.float32))
    assert faithfulness(chart, ends).largest_step == pytest.approx(0.75)


def test_paths_that_never_move_are_left_out(paths):
    chart = fit_pca(paths.reshape(-1, CHANNELS), 2)
    still = np.concatenate((paths, np.repeat(paths[-1:, :3], STEPS + 1, axis=0)), axis=1)
    assert faithfulness(chart, still).largest_step == pytest.approx(faithfulness(chart, paths).largest_step)
    assert np.isnan(faithfulness(chart, still[:, -3:]).steps_kept)


def test_equal_lengths_share_their_rank():
    lengths = np.array([2.0, 1.0, 2.0])  # ranks 2.5, 1, 2.5
    assert rank_correlation(lengths, np.array([5.0, 1.0, 5.0])) == pytest.approx(1.0)
    assert rank_correlation(lengths, np.array([1.0, 2.0, 3.0])) == pytest.approx(0.0, abs=1e-12)


def test_lengths_that_are_all_alike_have_no_rank_correlation():
    assert np.isnan(rank_correlation(np.ones(4), np.arange(4.0)))


def test_trustworthiness_of_too_few_points_is_nothing():
    assert np.isnan(trustworthiness(np.zeros((2, 3)), np.zeros((2, 2))))

"""The reference cloud: made by a model, of words and of states of its runs, and the same out of its file."""

import itertools

import numpy as np
import pytest

from coladlm.latent import reference_cloud
from coladlm.latent.faithfulness import faithfulness
from coladlm.latent.projection import MAX_FITTED, ProjectionError, fit_pca
from coladlm.latent.reference_cloud import HELD_OUT, SHIPPED, ReferenceCloud


@pytest.fixture(scope="module")
def cloud(golden_cloud):
    return golden_cloud


def test_a_survey_holds_words_and_whole_paths(survey):
    assert survey.latents.shape == (len(survey.token_ids), 8)
    assert survey.states.shape == survey.clean.shape
    assert len(survey.states) == 5
    np.testing.assert_array_equal(survey.states[-1], survey.clean[-1])
    assert 0.7 < survey.states[0].std() < 1.3  # noise


def test_no_word_takes_more_than_its_share(survey):
    _, counts = np.unique(survey.token_ids, return_counts=True)
    assert counts.max() <= reference_cloud.SAME_WORD


def test_maps_are_fitted_on_states_of_all_times_and_not_on_those_held_out(survey):
    fitted = survey.fitted_on()
    assert len(fitted) <= MAX_FITTED
    known = {state.tobytes() for state in fitted}
    held_out = [not any(state.tobytes() in known for state in path) for path in survey.states.swapaxes(0, 1)]
    count = min(HELD_OUT, len(held_out) // 2)
    assert count > 1 and all(held_out[-count:])
    chart = fit_pca(fitted, 2)
    measured = faithfulness(chart, survey.states[:, -count:], survey.latents)
    assert survey.numbers("pca2", chart)["pca2"] == measured
    np.testing.assert_array_equal(fitted[: len(survey.latents)], survey.latents)
    assert (fitted == survey.states[0, 0]).all(-1).any()


def test_a_cloud_has_honest_numbers_of_every_map(cloud):
    maps, kinds = ("pca2", "pca3", "umap2", "umap3"), ("", ".clean")
    assert set(cloud.numbers) == {name + kind for name, kind in itertools.product(maps, kinds)}
    assert cloud.numbers["pca3"].steps_kept >= cloud.numbers["pca2"].steps_kept


def test_a_cloud_is_the_same_out_of_its_file(cloud, tmp_path):
    cloud.save(tmp_path / "cloud.npz")
    again = ReferenceCloud.load(tmp_path / "cloud.npz")
    assert again.fingerprint == cloud.fingerprint
    assert again.numbers == cloud.numbers
    np.testing.assert_array_equal(again.token_ids, cloud.token_ids)
    np.testing.assert_allclose(again.latents, cloud.latents, rtol=2e-3, atol=1e-3)
    for dimensions in (2, 3):
        np.testing.assert_array_equal(again.umaps[dimensions].embedding, cloud.umaps[dimensions].embedding)


@pytest.mark.parametrize("change", ["cut", "no cloud", "version"])
def test_a_file_that_holds_no_cloud_is_refused(cloud, tmp_path, change):
    file = tmp_path / "cloud.npz"
    cloud.save(file)
    if change == "cut":
        file.write_bytes(file.read_bytes()[:5000])
    elif change == "no cloud":
        np.savez(file, something=np.zeros(3))
    else:
        with np.load(file) as arrays:
            kept = {name: arrays[name] for name in arrays.files}
        about = bytes(kept["about"]).replace(b'"version": 1', b'"version": 9')
        np.savez(file, **{**kept, "about": np.frombuffer(about, np.uint8)})
    with pytest.raises(ProjectionError, match=r"cloud\.npz"):
        ReferenceCloud.load(file)


def test_the_cloud_that_ships_is_that_of_the_bundled_model(bundled):
    cloud = ReferenceCloud.load(SHIPPED)
    assert cloud.fingerprint == bundled.fingerprint, "make it anew: make assets"
    assert set(cloud.umaps) == {2, 3}
    for name in ("umap2", "umap2.clean", "umap3", "umap3.clean"):
        found = cloud.numbers[name]  # a path is a few steps, so the largest of them is a good part of it in truth too
        assert found.largest_step <= 2 * found.largest_true_step

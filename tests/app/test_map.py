"""The handlers of the tab Map, as the plain generators that they are."""

import base64
import json

import numpy as np
import pytest

from app import map as map_tab
from app.map import Maps
from coladlm.latent.reference_cloud import load_sentences

ME = "visitor"


@pytest.fixture(scope="module")
def maps(model):
    maps = Maps(model)
    list(maps.shipped(ME))
    return maps


def data_of(values):
    return json.loads(values[0]["texts"])


def test_the_shipped_sentences_come_out_as_points_in_named_clusters(model):
    values = list(Maps(model).shipped(ME))
    assert [v[1]["state"] for v in values[:-1]] == ["running"] * (len(values) - 1)
    data = data_of(values[-1])
    n = len(load_sentences())
    assert len(data["texts"]) == len(data["cluster"]) == len(data["lengths"]) == n
    assert len(data["names"]) == max(data["cluster"]) + 1
    assert len(base64.b64decode(data["at"]["pca"])) == n * 2 * 2
    assert "trustworthiness" in data["numbers"]["pca"]


def test_the_latents_that_the_browser_measures_with_are_the_true_ones(maps):
    cloud = maps.get(ME)
    data = json.loads(cloud.json())
    sent = np.frombuffer(base64.b64decode(data["latents"]), "<i2").reshape(-1, data["width"]) * data["units"]["latents"]
    np.testing.assert_allclose(sent, cloud.vectors, atol=data["units"]["latents"])


def test_nearest_to_a_text_of_the_map_is_that_text(maps):
    text = load_sentences()[17]
    values, _ = maps.near(ME, text)
    index, distance = values["near"]["pairs"][0]
    assert maps.get(ME).texts.texts[index] == text
    assert distance == pytest.approx(0, abs=1e-3)
    far = [distance for _, distance in values["near"]["pairs"]]
    assert far == sorted(far)


def test_a_umap_joins_the_map_and_is_kept_for_the_texts_that_ship(model, monkeypatch, tmp_path):
    monkeypatch.setenv("COLADLM_CACHE", str(tmp_path))
    monkeypatch.setattr(map_tab, "SETTINGS", map_tab.UMAPSettings(neighbours=10, epochs=20))
    maps = Maps(model)
    list(maps.shipped(ME))
    values = list(maps.fit(ME))
    assert "umap" in data_of(values[-1])["at"]
    assert list(tmp_path.rglob("*.npz"))


def test_a_visitors_own_texts_leave_nothing_on_the_disk(model, monkeypatch, tmp_path):
    monkeypatch.setenv("COLADLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(map_tab, "SETTINGS", map_tab.UMAPSettings(neighbours=5, epochs=10))
    file = tmp_path / "mine.txt"
    file.write_text("\n".join(f"the cat number {i} sat" for i in range(30)))
    maps = Maps(model)
    *_, last = maps.upload(ME, str(file))
    assert len(data_of(last)["texts"]) == 30
    *_, last = maps.fit(ME)
    assert "umap" in data_of(last)["at"]
    assert not list(tmp_path.rglob("*"))


@pytest.mark.parametrize("content", [b"\0\1\2", b"", b"same\nsame\nsame"])
def test_a_file_without_different_texts_is_a_sentence(model, tmp_path, content):
    file = tmp_path / "mine.txt"
    file.write_bytes(content)
    *_, (_, progress) = Maps(model).upload(ME, str(file))
    assert progress["state"] == "error"
    assert progress["message"].endswith(".")
    assert not file.exists()


def test_two_texts_are_enough(model, tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text("the cat\nthe dog ran")
    maps = Maps(model)
    *_, last = maps.upload(ME, str(file))
    assert len(data_of(last)["texts"]) == 2
    assert list(maps.fit(ME)) == []


def test_a_visitor_who_left_has_no_map(model):
    maps = Maps(model)
    list(maps.shipped(ME))
    assert maps.get("another") is None
    maps.forget(ME)
    assert maps.near(ME, "a cat")[1]["state"] == "error"


def test_only_the_last_visitors_maps_are_kept(model, monkeypatch, tmp_path):
    monkeypatch.setattr(map_tab, "MOST_KEPT", 2)
    maps = Maps(model)
    for visitor in "abc":
        file = tmp_path / "mine.txt"
        file.write_text("the cat\nthe dog ran")
        list(maps.upload(visitor, str(file)))
    assert [maps.get(visitor) is None for visitor in "abc"] == [True, False, False]


def test_two_selections_make_a_direction_with_a_length(maps):
    assert "radii of the sphere" in maps.direction(["a cat", "the cat"], ["a dog", "the dog ran"])
    assert "A has 2 texts" in maps.direction(["a cat", "the cat"], [])
    assert "expected 2 to" in maps.direction(["a cat"], ["a dog", "the dog"])

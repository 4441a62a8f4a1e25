"""A map as a file: it opens again as it was, and what is no such file is a sentence."""

import io
import json
import zipfile

import numpy as np
import pytest

from app.map.cloud import Query, TextCloud
from app.map.handlers import Maps
from app.map.saved_maps import map_file, read_map
from app.map.text_files import TextFileError, Texts
from coladlm.latent.projection import PCAMap, UMAPMap

ME = "visitor"
MODEL, CHANNELS = "0123456789abcdef", 6
COUNT = 40
UMAP = "umap-9-0.5"


def cloud_of(model=MODEL) -> TextCloud:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(COUNT, CHANNELS)).astype(np.float32)
    texts = Texts([f"text {i} é" for i in range(COUNT)], ["ab"[i % 2] for i in range(COUNT)], "a note")
    cloud = TextCloud(texts, vectors, model)
    basis = np.eye(CHANNELS, dtype=np.float32)[:4]
    reduction = PCAMap(vectors.mean(0), basis, np.full(4, 0.2, np.float32))
    embedding = rng.normal(size=(COUNT, 2)).astype(np.float32)
    cloud.add_chart(UMAP, UMAPMap(reduction, reduction.place(vectors), embedding, 5))
    cloud.waypoints = ["one", "two", "three"], vectors[:3] + 0.1
    cloud.query = Query("where am I?", vectors[7] + np.float32(0.2))
    return cloud


def opened(tmp_path, data, model=MODEL, channels=CHANNELS):
    file = tmp_path / "map.npz"
    file.write_bytes(data)
    return read_map(file, model, channels)


def shown(cloud):
    """What the page gets of a map, but for its own number and its moment."""
    value = cloud.value()
    data = json.loads(value["texts"])
    del data["id"], value["order"]
    return value | {"texts": data}


def rewritten(data, **changes):
    """The file with other arrays; None takes one away; `about` gets the changes of a dict."""
    with np.load(io.BytesIO(data)) as stored:
        arrays = {name: stored[name] for name in stored.files}
    about = json.loads(arrays["about"].tobytes()) | changes.pop("about", {})
    arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    arrays |= changes
    out = io.BytesIO()
    np.savez(out, **{name: array for name, array in arrays.items() if array is not None})
    return out.getvalue()


@pytest.fixture(scope="module")
def data():
    return map_file(cloud_of())


@pytest.mark.parametrize("model", [MODEL, ""])
def test_a_map_that_is_saved_and_opened_is_the_same_map(tmp_path, model):
    cloud = cloud_of(model)
    cloud.view = type(cloud.view)((3, 5), UMAP, "length", False)
    again = opened(tmp_path, map_file(cloud))
    assert shown(again) == shown(cloud)
    np.testing.assert_array_equal(again.vectors, cloud.vectors)
    np.testing.assert_array_equal(again.query.vector, cloud.query.vector)
    assert again.model == model and again.readable == bool(model)
    assert map_file(again) == map_file(cloud)


def test_a_text_lies_at_the_same_place_on_every_map_that_was_opened_again(tmp_path, data):
    cloud, point = cloud_of(), np.full(CHANNELS, 0.3, np.float32)
    again = opened(tmp_path, data)
    for name in cloud.charts:
        np.testing.assert_array_equal(again.charts[name].place(point), cloud.charts[name].place(point))


def test_the_map_that_is_shown_is_the_one_that_opens_when_another_has_come_since(tmp_path):
    cloud = cloud_of()
    assert cloud.view.chart == "pca"
    assert opened(tmp_path, map_file(cloud)).view.chart == "pca"


def test_a_map_of_another_model_opens_and_says_so(tmp_path, data):
    again = opened(tmp_path, data, model="fedcba9876543210", channels=3)
    assert not again.readable and "Another model" in again.texts.note
    assert json.loads(again.json())["texts"] == cloud_of().texts.texts


def test_vectors_of_the_loaded_model_have_its_width(tmp_path, data):
    with pytest.raises(TextFileError, match="the vectors have 6 numbers, expected 7"):
        opened(tmp_path, data, channels=7)


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"about": {"version": 2}}, "of version 2, expected 1"),
        ({"about": {"more": 1}}, "more"),
        ({"about": {"model": 5}}, "'model' of the saved map is '5'"),
        ({"about": {"charts": [UMAP]}}, "'charts'"),
        ({"about": {"charts": ["pca", "umap-1-0.5"]}}, "'charts'"),
        ({"about": {"charts": ["pca", "umap-9-0.5", "umap-9-0.5"]}}, "'charts'"),
        ({"about": {"charts": ["pca", "../etc"]}}, "'charts'"),
        ({"about": {"charts": ["pca"]}}, f"holds '{UMAP}', which a saved map has not"),
        ({"about": {"charts": ["pca", UMAP, "umap-10-0.5"]}}, "no array 'umap-10-0.5'"),
        ({"about": {"selected": [COUNT]}}, "selected texts are not different ones from 0 to 39"),
        ({"about": {"selected": [1, 1]}}, "selected texts"),
        ({"about": {"selected": [True]}}, "'selected'"),
        ({"about": {"chart": "umap-3-0.1"}}, "the map that is shown is 'umap-3-0.1'"),
        ({"about": {"by": "size"}}, "'by' of the saved map is 'size'"),
        ({"about": {"query": "\ud800"}}, "'query'"),
        ({"about": {"query": None}}, "holds 'query', which a saved map has not"),
        ({"about": {"waypoints": ["one"]}}, "'waypoints'"),
        ({"about": {"waypoints": ["one", "two"]}}, r"'waypoints' has shape \(3, 6\), expected 2 by 6"),
        ({"extra": np.zeros(3)}, "holds 'extra', which a saved map has not"),
        ({"sets": None}, "no array 'sets'"),
        ({"texts": np.array(["a"] * 39)}, r"'texts' has shape \(39,\), expected 40"),
        ({"texts": np.array(["a" * 2001] * 40)}, "2,001 characters, expected at most 2,000"),
        ({"texts": np.array(["\ud800"] * 40)}, "half a character"),
        ({"texts": np.array(["a"] * 40, object)}, "'texts' is object"),
        ({"vectors": np.full((40, 6), np.nan)}, "vector 1 holds NaN"),
        ({"vectors": np.ones((40, 6))}, "all vectors are the same"),
        ({"vectors": np.ones((5001, 6), np.float32)}, "expected 2 to 5,000 vectors"),
        ({"vectors": np.ones((40, 2049), np.float32)}, "of 1 to 2,048 numbers"),
        ({"cluster": np.array([0, 2] * 20)}, "the clusters are 0, 2, expected 0, 1"),
        ({"cluster": np.arange(40)}, "of at most 12 clusters"),
        ({"cluster": np.array([-1, 0] * 20)}, "the clusters are -1, 0"),
        ({"cluster": np.zeros(40)}, "'cluster' is float64"),
        ({"pca": np.zeros((40, 2))}, "the coordinates of 'pca' are not where"),
        ({"pca": np.zeros((40, 3))}, r"'pca' has shape \(40, 3\), expected 40 by 2"),
        ({"pca.components": np.full((2, 6), 2.0)}, "'pca.components' holds NaN or a number of 1.001 or more"),
        ({f"{UMAP}.states": np.zeros((40, 3))}, r"'umap-9-0.5.states' has shape"),
        ({f"{UMAP}.states": np.zeros((5000, 4))}, "expected 1 to 4,095 by 4"),
        ({f"{UMAP}.embedding": np.full((40, 2), np.inf)}, "holds NaN or a number"),
        ({f"{UMAP}.placed_by": np.array(0)}, "places a text by 0 others, expected 1 to 100"),
        ({f"{UMAP}.components": np.zeros((33, 6))}, "expected 2 to 32 by 6"),
        ({"query": np.zeros(5)}, r"'query' has shape \(5,\), expected 6"),
    ],
)
def test_what_is_no_saved_map_is_a_sentence(tmp_path, data, changes, note):
    with pytest.raises(TextFileError, match=note):
        opened(tmp_path, rewritten(data, **changes))


def test_a_damaged_file_is_a_sentence_or_the_whole_map(tmp_path, data):
    rng = np.random.default_rng(1)
    for at, bit in zip(rng.integers(0, len(data), 60), rng.integers(0, 8, 60), strict=True):
        broken = bytearray(data)
        broken[at] ^= 1 << bit
        try:
            assert shown(opened(tmp_path, bytes(broken)))["texts"]["texts"] == cloud_of().texts.texts
        except TextFileError:
            continue


def test_an_archive_of_countless_names_is_refused_before_they_are_read(tmp_path):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for i in range(20_000):
            archive.writestr(f"{i:020}.npy", b"")
    with pytest.raises(TextFileError, match="more arrays than fit into"):
        opened(tmp_path, file.getvalue())


# in the tab


@pytest.fixture
def saved(model, scheduler, read, tmp_path):
    """A file of the map of the shipped sentences as a visitor left it, and what that visitor saw."""
    maps = Maps(model, scheduler, sentences=read)
    list(maps.shipped(ME))
    maps.near(ME, "A cat sat.")
    maps.set_view(ME, [3, 1], "pca", "length")
    file = tmp_path / "map.npz"
    file.write_bytes(map_file(maps.get(ME)))
    return file, shown(maps.get(ME))


def test_a_saved_map_opens_in_the_tab_as_it_was_and_nothing_is_read_or_fitted(model, scheduler, read, saved):
    file, before = saved
    maps = Maps(model, scheduler)  # which has not read the sentences, and does not
    *_, (value, progress) = maps.upload("another", str(file))
    assert progress["state"] == "idle" and "600 texts of a saved map" in progress["message"]
    assert shown(maps.get("another")) == before and value["near"] == before["near"]
    assert list(maps.fit("another")) == [] and maps.sentences is None


def test_a_saved_map_places_new_texts_while_its_model_is_loaded_and_refuses_with_another(
    model, scheduler, read, saved, tmp_path
):
    file, _ = saved
    maps = Maps(model, scheduler, sentences=read)
    list(maps.upload(ME, str(file)))
    text = maps.get(ME).texts.texts[17]
    assert maps.near(ME, text)[0]["near"]["pairs"][0] == [17, 0.0]
    file.write_bytes(rewritten(file.read_bytes(), about={"model": "fedcba9876543210"}))
    list(maps.upload(ME, str(file)))
    assert "of another model" in maps.near(ME, text)[0]["near"]["error"]
    *_, (_, progress) = maps.take_waypoints(ME, ["the cat", "the dog"])
    assert "of another model" in progress["message"] and "have no place" in progress["message"]


def test_fits_of_a_saved_map_leave_nothing_in_the_cache(
    model, scheduler, read, saved, monkeypatch, tmp_path, layout_without_umap
):
    monkeypatch.setenv("COLADLM_CACHE", str(tmp_path / "cache"))
    maps = Maps(model, scheduler, sentences=read)
    list(maps.upload(ME, str(saved[0])))
    *_, last = maps.fit(ME, 5, 0.1)
    assert "umap-5-0.1" in json.loads(last[0]["texts"])["at"] and not (tmp_path / "cache").exists()

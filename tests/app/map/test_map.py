"""The handlers of the tab Map, as the plain generators that they are."""

import base64
import csv
import io
import json
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest

from app.map import handlers as map_handlers
from app.map.handlers import KEPT_SECONDS, Maps
from app.page import build_page
from app.shared.resident import Resident
from app.shared.run_facts import model_name
from coladlm.latent.reference_cloud import load_sentences

from ..viewing import at_once

OVERTAKEN = [[gr.skip(), None]]  # no texts, and no word on a progress line
ME = "visitor"


def umaps(data):
    return [name for name, _ in data["charts"] if name != "pca"]


@pytest.fixture(scope="module")
def maps(model, scheduler, read):
    maps = Maps(model, scheduler, sentences=read)
    list(maps.shipped(ME))
    return maps


def data_of(values):
    return json.loads(values[0]["texts"])


def test_the_shipped_sentences_come_out_as_points_in_named_clusters(model, scheduler, read):
    values = list(Maps(model, scheduler, sentences=read).shipped(ME))
    assert [v[1]["state"] for v in values[:-1]] == ["running"] * (len(values) - 1)
    data = data_of(values[-1])
    n = len(load_sentences())
    assert len(data["texts"]) == len(data["cluster"]) == len(data["lengths"]) == n
    assert len(data["names"]) == max(data["cluster"]) + 1
    assert len(base64.b64decode(data["at"]["pca"])) == n * 2 * 2
    assert "trustworthiness" in data["numbers"]["pca"]


def test_the_neighbours_that_the_browser_lists_are_the_true_ones(maps):
    cloud = maps.get(ME)
    near = json.loads(cloud.json())["neighbours"]
    texts = np.frombuffer(base64.b64decode(near["texts"]), "<i2").reshape(-1, near["count"])
    far = np.frombuffer(base64.b64decode(near["distances"]), "<i2").reshape(-1, near["count"]) * near["unit"]
    for i in (0, 17, 599):
        true = np.linalg.norm(cloud.vectors - cloud.vectors[i], axis=1)
        assert texts[i, 0] == i
        np.testing.assert_allclose(far[i], np.sort(true)[: near["count"]], atol=near["unit"])
        np.testing.assert_allclose(true[texts[i]], far[i], atol=near["unit"])


def test_nearest_to_a_text_of_the_map_is_that_text_and_its_point_is_there(maps):
    text = load_sentences()[17]
    value, _ = maps.near(ME, text)
    index, distance = value["near"]["pairs"][0]
    assert maps.get(ME).texts.texts[index] == text
    assert distance == pytest.approx(0, abs=1e-3)
    far = [distance for _, distance in value["near"]["pairs"]]
    assert far == sorted(far)
    np.testing.assert_allclose(value["near"]["at"]["pca"], maps.get(ME).placed()["pca"][17], atol=1e-3)


def test_a_search_that_cannot_be_read_says_why_in_its_place(maps):
    value, _ = maps.near(ME, "word " * 100_000)
    assert "expected at most" in value["near"]["error"] and "pairs" not in value["near"]


def test_a_umap_joins_the_map_and_is_kept_for_the_texts_that_ship(
    model, scheduler, read, monkeypatch, tmp_path, layout_without_umap
):
    monkeypatch.setenv("COLADLM_CACHE", str(tmp_path))
    maps = Maps(model, scheduler, sentences=read)
    list(maps.shipped(ME))
    values = list(maps.fit(ME))
    assert umaps(data_of(values[-1])) == ["umap-20-0.2"]
    assert list(tmp_path.rglob("*.npz"))


def test_umaps_of_other_settings_join_the_map_beside_the_ones_before(
    model, scheduler, read, monkeypatch, tmp_path, layout_without_umap
):
    monkeypatch.setenv("COLADLM_CACHE", str(tmp_path))
    maps = Maps(model, scheduler, sentences=read)
    list(maps.shipped(ME))
    list(maps.near(ME, "The cat sat."))
    for settings in ((5, 0.5), (30, 0)):
        *_, last = maps.fit(ME, *settings)
    assert umaps(data_of(last)) == ["umap-5-0.5", "umap-30-0"]
    assert set(last[0]["near"]["at"]) == {"pca", "umap-5-0.5", "umap-30-0"}
    *_, (_, progress) = maps.fit(ME, 5, 0.5)
    assert "already" in progress["message"]


@pytest.mark.parametrize(
    ("neighbours", "min_dist", "note"),
    [
        (1, 0.1, "neighbours is 1, expected a whole number from 2 to 100"),
        (2.5, 0.1, "neighbours is 2.5"),
        (float("inf"), 0.1, "neighbours is inf"),
        ("20", 0.1, "neighbours is '20'"),
        (20, 1.0, "min_dist is 1.0, expected a number from 0 to 0.99"),
        (20, float("nan"), "min_dist is nan"),
        (20, None, "min_dist is None"),
    ],
)
def test_settings_of_a_umap_that_make_no_sense_are_a_sentence(maps, neighbours, min_dist, note):
    [(shown, progress)] = maps.fit(ME, neighbours, min_dist)
    assert shown == gr.skip() and progress["state"] == "error"
    assert note.lower() in progress["message"].lower()


def test_a_umap_of_too_few_texts_that_was_asked_for_is_a_sentence(model, scheduler, read, tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text("the cat\nthe dog ran\na bird sang")
    maps = Maps(model, scheduler, sentences=read)
    list(maps.upload(ME, str(file)))
    [(_, progress)] = maps.fit(ME, 2, 0.1)
    assert "3 different texts with 2 neighbours" in progress["message"]


def test_the_map_opens_with_the_sentences_and_then_as_the_visitor_left_it(model, scheduler, read, tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text("the cat\nthe dog ran")
    maps = Maps(model, scheduler, sentences=read)
    *_, last = maps.open(ME)
    assert len(data_of(last)["texts"]) == len(load_sentences())
    list(maps.upload(ME, str(file)))
    *_, last = maps.open(ME)
    assert len(data_of(last)["texts"]) == 2


def test_a_map_that_is_opened_while_texts_are_read_waits_for_those(model, scheduler, read, tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text("the cat\nthe dog ran")
    maps = Maps(model, scheduler, sentences=read)
    reading = maps.upload(ME, str(file))
    next(reading)
    assert list(maps.open(ME)) == []
    *_, last = reading
    assert len(data_of(last)["texts"]) == 2


def test_another_model_reads_the_sentences_when_they_are_first_needed(model, scheduler):
    maps = Maps(model, scheduler)
    assert maps.sentences is None
    *_, last = maps.open(ME)
    assert len(data_of(last)["texts"]) == len(load_sentences())
    assert maps.sentences.fingerprint == model.fingerprint


def test_how_the_map_is_looked_at_is_kept_where_it_fits_the_map(maps):
    maps.set_view(ME, [3, 1, 3, -1, 10_000, "2", True], "umap-9-9", "anything")
    assert maps.get(ME).value()["view"] == {"selected": (1, 3), "chart": "", "by": "cluster", "asked": True}
    maps.set_view(ME, None, "pca", "length")
    assert maps.get(ME).value()["view"] == {"selected": (), "chart": "pca", "by": "length", "asked": True}


def test_a_fit_of_texts_that_were_replaced_meanwhile_ends_changes_no_map_and_says_nothing_more(
    model, scheduler, read, monkeypatch, tmp_path, layout_without_umap
):
    monkeypatch.setenv("COLADLM_CACHE", str(tmp_path))
    monkeypatch.setattr(map_handlers, "UMAP_SETTINGS", map_handlers.UMAPSettings(neighbours=5, epochs=10))
    file = tmp_path / "mine.txt"
    file.write_text("A cat sat.\nA dog ran.")
    maps = Maps(model, scheduler, sentences=read)
    list(maps.shipped(ME))
    fitting = maps.fit(ME)
    next(fitting)
    list(maps.upload(ME, str(file)))
    [(shown, progress)] = fitting
    assert shown == gr.skip() and progress["message"] == ""
    assert not list((tmp_path / "umap").glob("*.npz"))


def test_a_visitors_own_texts_leave_nothing_on_the_disk(
    model, scheduler, read, monkeypatch, tmp_path, layout_without_umap
):
    monkeypatch.setenv("COLADLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(map_handlers, "UMAP_SETTINGS", map_handlers.UMAPSettings(neighbours=5, epochs=10))
    file = tmp_path / "mine.txt"
    file.write_text("\n".join(f"the cat number {i} sat" for i in range(30)))
    maps = Maps(model, scheduler, sentences=read)
    *_, last = maps.upload(ME, str(file))
    assert len(data_of(last)["texts"]) == 30
    *_, last = maps.fit(ME)
    assert len(umaps(data_of(last))) == 1
    assert list(tmp_path.rglob("*")) == [file], "the file itself is gradio's, which deletes it when it is old"


@pytest.mark.parametrize("content", [b"\0\1\2", b"", b"same\nsame\nsame", "a\ud800\nb".encode(errors="surrogatepass")])
def test_a_file_without_different_texts_is_a_sentence(model, scheduler, read, tmp_path, content):
    file = tmp_path / "mine.txt"
    file.write_bytes(content)
    *_, (_, progress) = Maps(model, scheduler, sentences=read).upload(ME, str(file))
    assert progress["state"] == "error"
    assert progress["message"].endswith(".") and progress["message"][0].isupper()


def test_a_column_is_offered_where_there_are_several_and_its_texts_are_shown(model, scheduler, read, tmp_path):
    file = tmp_path / "mine.csv"
    file.write_text("text,title\nthe cat,One\nthe dog ran,Two\n")
    maps = Maps(model, scheduler, sentences=read)
    assert maps.columns(str(file)) == ["text", "title"]
    *_, last = maps.upload(ME, str(file), "title")
    assert data_of(last)["texts"] == ["One", "Two"]
    file.write_text("text,number\nthe cat,1\nthe dog ran,2\n")
    assert maps.columns(str(file)) == []


def test_a_file_that_is_gone_when_another_column_is_chosen_is_a_sentence(model, scheduler, read, tmp_path):
    *_, (_, progress) = Maps(model, scheduler, sentences=read).upload(ME, str(tmp_path / "gone.csv"), "title")
    assert progress["state"] == "error" and "open it again" in progress["message"]


@pytest.fixture(scope="module")
def page(model, scheduler, read):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(map_handlers, "_shipped_for", lambda _: read)  # the sentences, as the small model reads them
        return build_page(Resident(model, scheduler=scheduler))


def test_a_column_that_is_chosen_while_the_file_is_on_its_way_counts(page, tmp_path):
    file, request = tmp_path / "mine.csv", SimpleNamespace(session_hash=ME)
    file.write_text("text,title\nthe cat,One\nthe dog ran,Two\n")
    on = {each.name: each.fn for each in page.fns.values() if each.fn and each.fn.__module__ == "app.map.tab"}
    _, choice, opened, asked = on["on_file"](str(file), request)
    assert [name for name, _ in choice.choices] == ["text", "title"] and choice.visible
    reading = on["on_opened"](opened, asked, request)
    next(reading)
    *_, last = on["on_column"]("title", opened, request)
    assert data_of(last)["texts"] == ["One", "Two"]
    assert list(reading) == OVERTAKEN
    assert list(on["on_opened"](opened, asked, request)) == [[None, None]]


def test_a_value_of_a_map_that_was_replaced_is_older_than_those_of_the_new_one(model, scheduler, read, tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text("the cat\nthe dog ran")
    maps = Maps(model, scheduler, sentences=read)
    list(maps.shipped(ME))
    before = maps.get(ME)
    *_, (first, _) = maps.upload(ME, str(file))
    second = maps.near(ME, "a cat")[0]
    assert before.value()["order"] < first["order"] < second["order"]


@pytest.fixture
def vectors(model, scheduler, read, tmp_path):
    """A map of vectors of one's own."""
    file = tmp_path / "mine.npz"
    np.savez(file, vectors=np.random.default_rng(0).normal(size=(40, 7)), texts=np.array([f"t{i}" for i in range(40)]))
    maps = Maps(model, scheduler, sentences=read)
    maps.shown = list(maps.upload(ME, str(file)))[-1]
    return maps


def test_vectors_of_ones_own_lie_on_a_map_that_the_model_has_no_part_in(vectors):
    data = data_of(vectors.shown)
    assert data["texts"][:2] == ["t0", "t1"] and data["written"] and not data["readable"]
    value, _ = vectors.near(ME, "a cat")
    assert "your own" in value["near"]["error"]


def test_waypoints_take_no_map_of_ones_own_vectors_away(vectors):
    *_, (value, progress) = vectors.take_waypoints(ME, ["the cat", "the dog"])
    assert "have no place" in progress["message"] and data_of([value])["texts"][0] == "t0"


def test_vectors_of_ones_own_have_umaps(vectors, layout_without_umap):
    *_, last = vectors.fit(ME, 5, 0.1)
    assert umaps(data_of(last)) == ["umap-5-0.1"]


def test_vectors_that_cannot_be_read_are_a_sentence(model, scheduler, read, tmp_path):
    file = tmp_path / "mine.npz"
    file.write_bytes(b"no archive")
    *_, (_, progress) = Maps(model, scheduler, sentences=read).upload(ME, str(file))
    assert progress["state"] == "error" and "expected one of numpy" in progress["message"]


def test_three_visitors_open_the_same_file_at_once(model, scheduler, read, tmp_path):
    """Gradio keeps equal uploads as one file: none of the visitors may take it away from the others."""
    file = tmp_path / "mine.txt"
    file.write_text("the cat\nthe dog ran")
    maps = Maps(model, scheduler, sentences=read)
    calls = [lambda v=v: list(maps.upload(v, str(file))) for v in ("one", "two", "three")]
    for *_, last in at_once(*calls):
        assert len(data_of(last)["texts"]) == 2


def test_a_file_that_is_opened_while_another_is_read_takes_its_place(model, scheduler, read, tmp_path):
    slow, quick = tmp_path / "slow.txt", tmp_path / "quick.txt"
    slow.write_text("\n".join(f"the cat number {i} sat" for i in range(300)))
    quick.write_text("the cat\nthe dog ran")
    maps = Maps(model, scheduler, sentences=read)
    first = maps.upload(ME, str(slow))
    next(first)
    *_, last = maps.upload(ME, str(quick))
    assert len(data_of(last)["texts"]) == 2
    assert list(first) == OVERTAKEN
    assert maps.get(ME).texts.texts == ["the cat", "the dog ran"]


def test_texts_that_are_asked_for_while_an_archive_is_read_take_its_place(model, scheduler, read, tmp_path):
    archive, lines = tmp_path / "mine.npz", tmp_path / "mine.txt"
    np.savez(archive, vectors=np.random.default_rng(0).normal(size=(40, 7)))
    lines.write_text("the cat\nthe dog ran")
    maps = Maps(model, scheduler, sentences=read)
    first = maps.upload(ME, str(archive))
    next(first)
    list(maps.upload(ME, str(lines)))
    assert list(first) == OVERTAKEN
    assert maps.get(ME).texts.texts == ["the cat", "the dog ran"]


def test_a_search_that_ends_after_a_newer_one_changes_nothing(model, scheduler, read):
    class Overtaken(Maps):
        def _near(self, visitor, text):
            if text == "the cat":
                self.near(visitor, "the dog")
            return super()._near(visitor, text)

    maps = Overtaken(model, scheduler, sentences=read)
    list(maps.shipped(ME))
    assert maps.near(ME, "the cat") == [gr.skip(), gr.skip()]
    assert maps.get(ME).query.text == "the dog"


def test_two_texts_are_enough(model, scheduler, read, tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text("the cat\nthe dog ran")
    maps = Maps(model, scheduler, sentences=read)
    *_, last = maps.upload(ME, str(file))
    data = data_of(last)
    assert len(data["texts"]) == 2
    assert "too few different texts to measure the trustworthiness" in data["numbers"]["pca"]
    assert list(maps.fit(ME)) == []


@pytest.mark.parametrize("count", [2, 65, 257])
def test_lines_that_are_all_the_same_are_no_map(model, scheduler, read, tmp_path, count):
    file = tmp_path / "mine.txt"
    file.write_text("the cat sat on the mat\n" * count)
    *_, (_, progress) = Maps(model, scheduler, sentences=read).upload(ME, str(file))
    assert progress["state"] == "error" and "All texts are the same" in progress["message"]


def test_equal_texts_are_one_where_a_map_is_measured(model, scheduler, read, tmp_path):
    """Which of them is nearer than the others is chance, on the map and in truth."""
    file = tmp_path / "mine.txt"
    file.write_text("the cat sat on the mat\n" * 256 + "the dog ran\n")
    *_, last = Maps(model, scheduler, sentences=read).upload(ME, str(file))
    assert "too few different texts to measure the trustworthiness" in data_of(last)["numbers"]["pca"]


@pytest.mark.parametrize("lines", [["a", "b"], ["a", "b", "a"], ["a"] * 64 + ["b"], ["a", "b", "c"] * 30])
def test_no_measure_of_a_map_is_nan(model, scheduler, read, tmp_path, lines):
    file = tmp_path / "mine.txt"
    file.write_text("\n".join(lines))
    maps = Maps(model, scheduler, sentences=read)
    *_, last = maps.upload(ME, str(file))
    note = data_of(last)["numbers"]["pca"]
    assert "nan" not in note and "inf" not in note
    assert list(maps.fit(ME)) == []  # too few different texts for a UMAP


def test_a_visitor_without_a_map_is_told_so(maps):
    assert maps.get("another") is None
    assert maps.near("another", "a cat")[1]["state"] == "error"


def test_only_the_last_visitors_maps_are_kept(model, scheduler, read, monkeypatch, tmp_path):
    monkeypatch.setattr(map_handlers, "MOST_KEPT", 2)
    maps = Maps(model, scheduler, sentences=read)
    for visitor in "abc":
        file = tmp_path / "mine.txt"
        file.write_text("the cat\nthe dog ran")
        list(maps.upload(visitor, str(file)))
    assert [maps.get(visitor) is None for visitor in "abc"] == [True, False, False]


def test_two_selections_make_a_direction_with_a_length(maps):
    assert "radii of the sphere" in maps.direction(["a cat", "the cat"], ["a dog", "the dog ran"])
    assert "A has 2 texts" in maps.direction(["a cat", "the cat"], [])
    assert "expected 2 to" in maps.direction(["a cat"], ["a dog", "the dog"])


# waypoints from Interpolate, files


def test_waypoints_lie_on_the_sentences_where_nobody_has_a_map_yet(model, scheduler, read):
    maps = Maps(model, scheduler, sentences=read)
    road = ["the cat sat", "the dog sat", "the dog ran"]
    *running, last = maps.take_waypoints("another", road)
    assert running and not any(values[0]["texts"] or values[0]["failed"] for values in running)
    assert len(data_of(last)["texts"]) == len(load_sentences())
    shown = last[0]["waypoints"]
    assert shown["texts"] == road and [len(at) for at in shown["at"]["pca"]] == [2, 2, 2]
    assert "3 waypoints, numbered" in shown["note"] and "true distances of meaning" in shown["note"]


def test_waypoints_stay_on_the_map_and_lie_where_their_texts_do(maps):
    texts = load_sentences()[:2]
    *_, (value, _) = maps.take_waypoints(ME, texts)
    np.testing.assert_allclose(value["waypoints"]["at"]["pca"], maps.get(ME).placed()["pca"][:2], atol=1e-3)
    assert maps.near(ME, "a cat")[0]["waypoints"] == value["waypoints"]


@pytest.mark.parametrize("road", [[], ["the cat"]])
def test_less_than_two_waypoints_are_a_sentence(model, scheduler, read, road):
    *_, (_, progress) = Maps(model, scheduler, sentences=read).take_waypoints(ME, road)
    assert progress["state"] == "error" and "two waypoints" in progress["message"]


@pytest.fixture
def own(model, scheduler, read, tmp_path):
    file = tmp_path / "mine.csv"
    file.write_text("text,set\nthe cat,=a\n=the dog ran,b\n</script><b>,b\n")
    maps = Maps(model, scheduler, sentences=read)
    list(maps.upload(ME, str(file)))
    return maps


def file_of(maps, kind):
    return base64.b64decode(maps.save(ME, kind)["data"])


def test_texts_are_saved_as_a_table_that_no_spreadsheet_runs(own):
    rows = list(csv.DictReader(io.StringIO(file_of(own, "csv").decode())))
    assert [row["text"] for row in rows] == ["the cat", "'=the dog ran", "</script><b>"]
    assert rows[0]["set"] == "'=a" and float(rows[0]["pca_x"]) == pytest.approx(own.get(ME).placed()["pca"][0, 0], 1e-3)


def test_texts_are_saved_as_arrays_that_need_no_pickle(own):
    arrays = np.load(io.BytesIO(file_of(own, "npz")), allow_pickle=False)
    assert arrays["texts"].tolist() == own.get(ME).texts.texts
    np.testing.assert_array_equal(arrays["vectors"], own.get(ME).vectors)
    np.testing.assert_array_equal(arrays["cluster"], own.get(ME).clusters)


def test_a_map_is_saved_as_a_page_that_asks_nobody(own):
    page = file_of(own, "html").decode()
    assert "<title>Map of texts" in page and "</script><b>" not in page
    assert "the dog ran" in page and "src=" not in page.split("<script>", 1)[0]


def test_a_saved_page_of_a_map_says_what_it_shows_and_where_it_comes_from(own):
    own.set_view(ME, [1], "pca", "set")
    page = base64.b64decode(own.save(ME, "html", "https://example.org/")["data"]).decode()
    assert f"placed by what the {model_name(own.model)} takes it to mean." in page
    assert '<a href="https://example.org/?tab=map">' in page and "prefers-color-scheme: dark" in page
    assert '"view":{"selected":[1],"chart":"pca","by":"set","asked":true}' in page


def test_no_map_is_nothing_to_save(model, scheduler, read):
    assert Maps(model, scheduler, sentences=read).save(ME, "csv")["data"] == ""


# what is kept


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_connection_that_breaks_off_takes_no_map_from_a_page_that_is_open(page):
    """Gradio tells of a broken connection as of a page that was closed, by the event `unload`."""
    config = page.get_config_file()
    assert [target for each in config["dependencies"] for target in each["targets"] if target[1] == "unload"] == []


def test_a_map_that_nobody_has_asked_for_in_hours_is_forgotten(model, scheduler, read):
    clock = Clock()
    maps = Maps(model, scheduler, clock, read)
    list(maps.shipped(ME))
    clock.now = KEPT_SECONDS - 1
    assert maps.get(ME) is not None
    clock.now = 2 * KEPT_SECONDS
    assert maps.get(ME) is None


def test_the_bytes_of_a_map_are_those_of_its_texts_and_arrays(maps):
    cloud = maps.get(ME)
    assert cloud.nbytes > cloud.vectors.nbytes + sum(map(len, cloud.texts.texts))

"""The tab Model: facts, the round trip, files, speed, and another model in the place of the first."""

import base64
import csv
import io
import shutil
import threading

import numpy as np
import pytest

from app.command import load, parser
from app.generate.handlers import GenerateHandlers
from app.model.round_trip import MOST_TOKENS, latent_file, posteriors, round_trip
from app.model.tab import NOT_ALLOWED, card_text, facts_html, load_model, measure_speed
from app.shared.resident import Resident
from app.shared.trace_store import TraceStore
from coladlm import ColaDLM, SamplerSettings
from coladlm.recipe import RecipeError
from coladlm.serve import threads

from ..viewing import Viewer, controls_of


def test_the_facts_are_those_of_the_model_and_escaped(model):
    name, model.name = model.name, "<b>&x"
    try:
        shown = facts_html(model)
    finally:
        model.name = name
    assert "&lt;b&gt;&amp;x" in shown
    assert model.fingerprint in shown
    assert "float32" in shown and "cpu" in shown


@pytest.mark.parametrize("text", ["A cat sat.", "👩‍🚀🎈", "שלום", "<b>x</b>", " ", "a\n\nb"])
def test_a_round_trip_has_every_token(model, text):
    value = round_trip(model, text)
    ids = model.tokenize(text)
    assert len(value["tokens"]) == len(ids)
    assert "".join(token[0] for token in value["tokens"]) == text
    right = sum(token[2] for token in value["tokens"])
    assert value["note"].startswith(f"{right} of {len(ids)} tokens")
    assert all(0 <= token[4] <= 1 and token[5] <= value["most"] + 1e-3 for token in value["tokens"])


def test_a_round_trip_reads_what_the_library_reads(model):
    text = "Once upon a time there was a cat."
    ids = model.tokenize(text)
    read = model.decode(model.vae.scale(model.encode(text).mean)).argmax(-1).tolist()[: len(ids)]
    assert [token[2] for token in round_trip(model, text)["tokens"]] == [
        int(a == b) for a, b in zip(ids, read, strict=True)
    ]


@pytest.mark.parametrize("text", ["", "word " * (MOST_TOKENS + 1), "word " * 9000])
def test_a_text_that_is_empty_or_too_long_is_refused(model, text):
    with pytest.raises(RecipeError, match=f"tokens long, expected 1 to {MOST_TOKENS} tokens"):
        round_trip(model, text)
    assert "tokens" in latent_file(model, "npz", text)["message"]


def test_the_latents_are_saved_as_numbers(model):
    text = "=A cat sat on the mat."
    found = posteriors(model, text)
    arrays = np.load(io.BytesIO(base64.b64decode(latent_file(model, "npz", text)["data"])), allow_pickle=False)
    np.testing.assert_array_equal(arrays["token_ids"], model.tokenize(text))
    np.testing.assert_array_equal(arrays["mean"], found.mean)
    rows = list(csv.DictReader(io.StringIO(base64.b64decode(latent_file(model, "csv", text)["data"]).decode())))
    assert len(rows) == len(found.mean)
    assert rows[0]["tokens"].startswith("'=")
    means = [[float(row[f"mean_{i + 1}"]) for i in range(model.latent_dim)] for row in rows]
    np.testing.assert_allclose(means, found.mean, rtol=1e-5)


def test_the_speed_is_measured_next_to_its_bound(model, scheduler):
    *_, (table, progress) = measure_speed(model, scheduler)
    assert progress["state"] == "done"
    for name in ("guided step", "bare products", "Ratio", "tokens/s"):
        assert name in table


def test_the_card_has_no_picture_and_no_link_into_the_repository():
    text = card_text()
    assert "![" not in text and "](../" not in text
    assert "bundled model" in text


@pytest.mark.parametrize("path", ["/etc", "assets/model", "owner/name"])
def test_no_path_is_opened_where_the_host_does_not_allow_it(model, path, monkeypatch):
    monkeypatch.setattr(ColaDLM, "from_pretrained", None)
    resident = Resident(model)
    ((_, progress),) = load_model(resident, path, resident.may_load)
    assert progress["message"] == NOT_ALLOWED
    assert resident.loading is None


def test_another_model_takes_the_place_and_a_run_keeps_its_own(model, golden_folder, tmp_path):
    folder = tmp_path / "other"
    shutil.copytree(golden_folder, folder)
    resident = Resident(model, may_load=True)
    handlers = resident.per_model(
        lambda model: GenerateHandlers(model, TraceStore(), resident.scheduler, resident.baseline)
    )
    settings = SamplerSettings(steps=2, max_new_tokens=8)
    running = handlers().write(Viewer(), controls_of(settings, prompt="A cat", variations=1))
    next(running)
    frames = list(load_model(resident, str(folder), resident.may_load))
    assert frames[-1][1]["state"] == "done"
    assert resident.model is not model and resident.model.name == "other"
    assert handlers().model is resident.model
    parts = {}
    for frame in running:
        parts |= frame
    assert parts["strip"]["state"] == "done"


def test_a_model_that_is_loaded_has_its_number_of_threads_found_out(model, golden_folder, monkeypatch):
    monkeypatch.setattr(threads, "most_threads", lambda: 2)
    monkeypatch.setattr(threads.torch, "set_num_threads", lambda count: None)  # those of the tests stay
    resident = Resident(model, may_load=True)
    list(load_model(resident, str(golden_folder), True, device="cpu"))
    tuner = resident.model.sampler.threads
    assert resident.model is not model
    assert tuner is not None and tuner is not model.sampler.threads
    assert (tuner.counts, tuner.count) == ([1, 2], 1)


def test_the_share_that_is_read_grows_to_one(golden_folder):
    shares = []
    ColaDLM.from_pretrained(golden_folder, device="cpu", dtype="float32", progress=shares.append)
    assert shares == sorted(shares)
    assert 0.9 < shares[-1] <= 1


@pytest.mark.parametrize("path", ["", "   ", "/nowhere/at/all", "x" * 2000, "a\0b", "no such owner/no such name"])
def test_a_model_that_is_not_there_gets_a_sentence_and_the_first_one_stays(model, path):
    resident = Resident(model, may_load=True)
    *_, (_, progress) = load_model(resident, path, True)
    assert progress["state"] == "error"
    assert progress["message"].endswith(".") and "expected" in progress["message"]
    assert resident.model is model


def test_one_model_is_loaded_at_a_time(model):
    resident = Resident(model, may_load=True)

    go_on = threading.Event()

    def slow(path, progress):
        assert go_on.wait(60)
        return model

    first = resident.load("first", slow)
    assert resident.load("second", slow) is first
    *_, (_, progress) = load_model(resident, "third", True)
    assert "Another model is being loaded" in progress["message"]
    go_on.set()


def test_the_program_loads_the_model_with_the_form_and_pieces_that_are_asked_for(golden_folder, monkeypatch):
    asked = []
    monkeypatch.setattr("coladlm.model.choose_form", lambda sampler, *how: asked.append(how))
    place = ["--checkpoint", str(golden_folder), "--device", "cpu"]
    for options in ([], ["--form", "graph", "--compiled"]):
        load(parser().parse_args([*place, *options]))
    assert asked == [("auto", None), ("graph", True)]

"""The interpolation that the page begins with: it ships, fits its recipe, and a damaged one is refused."""

import dataclasses
import json

import pytest

from coladlm.latent.distances import text_distances
from coladlm.latent.first_interpolation import (
    SHIPPED,
    TEXTS,
    RecordedError,
    first_recipe,
    record,
    recorded_interpolation,
)
from coladlm.latent.fit import text_misfits
from coladlm.latent.interpolate import DRAWS, Interpolation, run_interpolate


@pytest.fixture(scope="module")
def model(model):
    """The same with fewer steps by itself: what is recorded here is any run."""
    quick = dataclasses.replace(model.defaults, steps=2)
    return type(model)(model.vae, model.dit, model.tokenizer, quick, model.name, model.fingerprint)


@pytest.fixture(scope="module")
def recorded(model, tmp_path_factory):
    file = tmp_path_factory.mktemp("recorded") / "first.json"
    record(model, file)
    return file


def test_what_was_recorded_is_the_run_of_its_recipe(model, recorded):
    *_, last = (event for event in run_interpolate(model, first_recipe(model)) if isinstance(event, Interpolation))
    assert recorded_interpolation(model, recorded) == last


def test_what_ships_is_of_the_bundled_model_and_its_numbers_are_those_of_its_tokens(bundled):
    """The encoder and the flow measure the words that stand there; which words a run finds may differ by processor."""
    found = recorded_interpolation(bundled)
    assert found is not None, "run `make assets`"
    assert [found.waypoints[row].text for row in found.ends] == list(TEXTS)
    ids = [list(waypoint.token_ids) for waypoint in found.waypoints]
    distances = text_distances(bundled, ids, [ids[row] for row in found.ends])
    misfits = text_misfits(bundled, ids, [], draws=DRAWS)
    for waypoint, spans, misfit in zip(found.waypoints, distances, misfits, strict=True):
        assert waypoint.latent_distances == pytest.approx(spans, abs=1e-3)
        assert waypoint.misfit == pytest.approx(misfit, abs=1e-2)


def test_another_model_or_other_settings_have_none(model, recorded):
    other = type(model)(model.vae, model.dit, model.tokenizer, model.defaults, model.name, "0" * 16)
    assert recorded_interpolation(other, recorded) is None
    slower = dataclasses.replace(model.defaults, steps=model.defaults.steps + 1)
    changed = type(model)(model.vae, model.dit, model.tokenizer, slower, model.name, model.fingerprint)
    assert recorded_interpolation(changed, recorded) is None


def _damaged(plain, damage):
    waypoint = plain["waypoints"][1]
    {
        "a waypoint less": lambda: plain["waypoints"].pop(),
        "another text": lambda: waypoint.update(text="Another text."),
        "an unknown token": lambda: waypoint.update(token_ids=[10**9]),
        "a token that is text": lambda: waypoint.update(token_ids=["a"]),
        "a distance that is none": lambda: waypoint.update(latent_distances=[float("nan"), 0.5]),
        "a distance less": lambda: waypoint.update(latent_distances=[0.5]),
        "a flag less": lambda: waypoint.update(changed=waypoint["changed"][1:]),
        "a key more": lambda: waypoint.update(more=1),
        "no recipe": lambda: plain.pop("recipe"),
        "a later version": lambda: plain.update(version=2),
    }[damage]()
    return plain


@pytest.mark.parametrize(
    "damage",
    [
        "a waypoint less",
        "another text",
        "an unknown token",
        "a token that is text",
        "a distance that is none",
        "a distance less",
        "a flag less",
        "a key more",
        "no recipe",
        "a later version",
    ],
)
def test_a_damaged_file_is_refused_by_name(model, recorded, tmp_path, damage):
    file = tmp_path / "damaged.json"
    file.write_text(json.dumps(_damaged(json.loads(recorded.read_text(encoding="utf-8")), damage)), encoding="utf-8")
    with pytest.raises(RecordedError, match=r"damaged\.json|waypoint"):
        recorded_interpolation(model, file)


def test_a_file_that_is_no_json_is_refused(model, tmp_path):
    (tmp_path / "x.json").write_bytes(SHIPPED.read_bytes()[:100])
    with pytest.raises(RecordedError, match=r"x\.json holds no interpolation or is damaged"):
        recorded_interpolation(model, tmp_path / "x.json")

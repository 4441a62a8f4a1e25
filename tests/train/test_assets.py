"""What ships beside the weights: it fits them, is made anew when it does not, and is left alone when it does."""

import dataclasses
import json

import pytest

from coladlm import ColaDLM
from coladlm.trace import Trace
from coladlm.train.assets import MADE_OF, Asset, assets_of, make, remove_others, stale


def test_everything_that_ships_fits_the_bundled_weights_and_their_settings(bundled):
    assert [asset.name for asset in stale(bundled, assets_of(bundled))] == [], "run `make assets`"


def with_settings(model: ColaDLM, **changes) -> ColaDLM:
    settings = dataclasses.replace(model.defaults, **changes)
    return ColaDLM(model.vae, model.dit, model.tokenizer, settings, model.name, model.fingerprint)


@pytest.fixture(scope="module")
def quick(model):
    return with_settings(model, steps=2)


def names(assets) -> list[str]:
    return [asset.name for asset in assets]


def test_a_file_is_made_once_and_again_when_settings_or_weights_change(quick, tmp_path):
    first, *rest = assets = assets_of(quick)
    assert names(make(quick, [first], tmp_path)) == [first.name]
    trace = Trace.load(tmp_path / first.name)
    assert trace.recipe.settings.steps == 2 and trace.recipe.model == quick.fingerprint
    assert names(stale(quick, assets, tmp_path)) == names(rest)
    slower = with_settings(quick, steps=3)
    assert first.name in names(stale(slower, assets_of(slower), tmp_path))
    other = ColaDLM(quick.vae, quick.dit, quick.tokenizer, quick.defaults, quick.name, "0" * 16)
    assert names(stale(other, assets_of(other), tmp_path)) == names(assets_of(other))
    (tmp_path / first.name).unlink()
    assert first.name in names(stale(quick, assets, tmp_path))


def test_what_another_model_has_left_goes_and_what_nobody_made_stays(quick, tmp_path):
    left, stays = tmp_path / "left.json", tmp_path / "README.md"
    for file in (left, stays):
        file.write_text("{}")
    (tmp_path / MADE_OF).write_text(json.dumps({"left.json": "0" * 16}))
    asset = Asset("made.txt", "sources", lambda model, file: file.write_bytes(b"made"))
    assert names(make(quick, [asset], tmp_path)) == ["made.txt"]
    remove_others([asset], tmp_path)
    assert not left.exists() and stays.exists() and (tmp_path / "made.txt").read_bytes() == b"made"
    assert json.loads((tmp_path / MADE_OF).read_text()) == {"made.txt": asset.digest(quick)}


def test_a_file_that_cannot_be_made_leaves_the_one_that_was_there(quick, tmp_path):
    (tmp_path / "made.txt").write_text("before")

    def fail(model, file):
        file.write_text("half")
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        list(make(quick, [Asset("made.txt", "sources", fail)], tmp_path))
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("made.txt", "before")]

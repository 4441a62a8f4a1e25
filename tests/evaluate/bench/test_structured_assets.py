"""What ships of structured generation: a small pair, and a result that is of this pair."""

import pytest

from coladlm.assets import ASSETS
from coladlm.cli.bench_structured import SHIPPED
from coladlm.evaluate.bench.results import load
from coladlm.evaluate.bench.structured.answers import Cell
from coladlm.evaluate.bench.structured.scores import share_right
from coladlm.evaluate.bench.structured.writers import Pair
from coladlm.structured.generators import held_out_instances


@pytest.fixture(scope="module")
def shipped():
    return Pair.load(SHIPPED)


@pytest.fixture(scope="module")
def result():
    return load(ASSETS / "bench" / "structured.json")


def test_the_pair_is_small_and_of_equal_size(shipped):
    files = [file for file in SHIPPED.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 4_000_000 + 20_000
    assert abs(shipped.cola.parameters / shipped.transformer.parameters - 1) < 0.05


def test_the_result_is_of_the_shipped_pair_by_its_own_settings(shipped, result):
    assert result.model["fingerprint"] == shipped.cola.fingerprint
    assert shipped.cola.defaults.to_dict().items() <= result.settings.items()
    assert result.command == "python -m coladlm bench structured"


def test_the_table_says_what_the_vae_gives_back(shipped, result):
    table = next(t for t in result.tables if t.title == "Exactly right, by size")
    row = next(row for row in table.rows if row[:2] == ["copying", "8 letters"])
    instances = held_out_instances("copy", 8, result.settings["items"], result.settings["seed"])
    assert row[3] == share_right([Cell(instances, shipped.write_vae(instances), 0.0)])

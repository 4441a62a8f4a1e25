"""The results that ship for the bundled model can be read, and say how they were made."""

import pytest

from coladlm.assets import ASSETS
from coladlm.cli.bench import PARTS
from coladlm.evaluate.bench.results import load

FILES = sorted((ASSETS / "bench").glob("*.json"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_shipped_result_is_of_its_part_and_says_its_command(file):
    result = load(file)
    assert result.part == file.stem and result.part in PARTS
    assert result.command.split()[:5] == ["python", "-m", "coladlm", "bench", result.part]
    assert "/" not in result.command.replace("https://", "")
    assert result.tables and result.findings and result.machine["processor"]

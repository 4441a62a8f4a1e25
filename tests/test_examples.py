"""The examples of library use run as they stand."""

import importlib.util
from pathlib import Path

import pytest

from coladlm.trace import Trace

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))


def load(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def example(request):
    return load(Path(__file__).parent.parent / "examples" / f"{request.param}.py")


def test_every_example_is_tested_here():
    assert [path.stem for path in EXAMPLES] == ["ask_a_server", "look_back", "write"]  # the first in tests/serving


@pytest.mark.parametrize("example", ["write"], indirect=True)
def test_write_shows_every_step_and_the_text(example, golden_folder, capsys):
    example.main("The cat", str(golden_folder))
    out = capsys.readouterr().out
    assert out.count("noise 100.0 %: ") == out.count("\nThe cat") > 1
    assert "ended by " in out


@pytest.mark.parametrize("example", ["look_back"], indirect=True)
def test_look_back_says_when_words_were_settled(example, golden_folder, tmp_path, capsys):
    example.main(str(tmp_path / "run.npz"), str(golden_folder))
    trace, out = Trace.load(tmp_path / "run.npz"), capsys.readouterr().out
    assert all(text in out for text in trace.texts)
    assert out.count("settled at step") == 4 and trace.recipe.to_url() in out

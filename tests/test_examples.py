"""The examples of library use run as they stand."""

import ast
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from coladlm.trace import Trace

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))


NOTEBOOK = json.loads((Path(__file__).parent.parent / "examples" / "flow_map.ipynb").read_text(encoding="utf-8"))
SHORT = 12  # lines of a cell


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


@pytest.fixture(scope="module")
def flow_map() -> dict[str, object]:
    """The names of the notebook after its cells have run in order; `shown` is what the last one ends with."""
    names: dict[str, object] = {}
    *cells, last = ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
    for cell in cells:
        exec(cell, names)
    *lines, shown = ast.parse(last).body
    assert isinstance(shown, ast.Expr)
    exec(compile(ast.Module(lines, []), "the last cell", "exec"), names)
    return {**names, "shown": eval(compile(ast.Expression(shown.value), "its end", "eval"), names)}


def test_the_notebook_has_short_cells_with_a_sentence_before_each_and_no_output():
    assert [cell["cell_type"] for cell in NOTEBOOK["cells"]] == ["markdown", "code"] * (len(NOTEBOOK["cells"]) // 2)
    for cell in NOTEBOOK["cells"][1::2]:
        assert cell["outputs"] == [] and cell["execution_count"] is None
        assert len(cell["source"]) <= SHORT


def test_the_notebook_draws_a_path_to_every_word(flow_map):
    (cloud, *paths), trace = flow_map["shown"].data, flow_map["trace"]
    assert len(cloud.x) == len(flow_map["cloud"].token_ids)
    assert "".join(path.name for path in paths).startswith(trace.texts[0])
    ends = flow_map["cloud"].pca.place(trace.latents[0][trace.free()[0]])
    assert np.allclose([(path.x[-1], path.y[-1]) for path in paths], ends[:, :2])
    assert {len(path.x) for path in paths} == {trace.recipe.settings.steps + 1}

"""Gradio writes no stub files: they would cost every start a second and lie in folders that are not gradio's."""

import importlib.util
import sys
from pathlib import Path

import gradio as gr
from gradio import component_meta

from app.no_stubs import MODULE, WRITER, _Finder

COMPONENT = """
import gradio as gr

class Own(gr.HTML):
    EVENTS = ["pressed"]
"""


def test_a_component_is_defined_and_nothing_is_written_beside_it(tmp_path):
    file = tmp_path / "own_component_of_a_test.py"
    file.write_text(COMPONENT)
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module  # where gradio looks for its source
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[file.stem]
    assert hasattr(module.Own, "pressed")
    assert {path.suffix for path in tmp_path.iterdir()} <= {".py", ""}  # no .pyi


def test_gradio_is_loaded_from_its_own_file_without_the_function_that_writes():
    source = Path(component_meta.__file__).read_text(encoding="utf-8")
    assert f"def {WRITER}(" in source, "gradio writes its stubs in another way, if at all"
    assert component_meta.__loader__.path == str(Path(gr.__file__).parent / "component_meta.py")
    assert getattr(component_meta, WRITER).__module__ == "app.no_stubs"
    assert _Finder().find_spec("gradio.events", gr.__path__) is None
    assert _Finder().find_spec(MODULE, []) is None  # where there is no gradio, importing it says so

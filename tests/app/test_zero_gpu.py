"""ZeroGPU, with a stand-in for the package `spaces`: runs are worked on by a forked process, all else by this one."""

import json
import os
import runpy
import sys
import time
from pathlib import Path

import httpx
import pytest

from app.command import load, parser
from app.zero_gpu import gpu_seconds, on_zero_gpu
from coladlm import SamplerSettings
from coladlm.recipe import Recipe

from .api.server_process import CLIENT, Server

ROOT = Path(__file__).parents[2]
STAND_IN = ROOT / "tests" / "fixtures" / "zero_gpu"
BODY = {"prompt": "Once upon a time", "max_tokens": 12, "steps": 2, "seed": 1, "stop_at_end": False}


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return tmp_path_factory.mktemp("zero_gpu") / "zero_gpu.txt"


@pytest.fixture(scope="module")
def space(log, golden_folder):
    """`python app.py` as in a Space with ZeroGPU, but in float32."""
    path = os.pathsep.join(filter(None, (str(STAND_IN), os.environ.get("PYTHONPATH"))))
    server = Server(log.parent, golden_folder, "--device", "auto", PYTHONPATH=path, SPACES_ZERO_GPU="true",
                    ZERO_GPU_LOG=str(log))  # fmt: skip
    yield server
    assert server.end() == 0


@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_a_dtype_that_is_not_there_is_refused_with_those_that_are(monkeypatch, dtype):
    monkeypatch.setenv("SPACES_ZERO_GPU", "1")
    with pytest.raises(ValueError, match=f"^{dtype} is not available on ZeroGPU, expected auto, float32, bfloat16 or"):
        load(parser().parse_args(["--dtype", dtype]))


@pytest.mark.parametrize("given", [["--form", "graph"], ["--compiled"], ["--no-compiled"], []])
def test_options_that_change_nothing_there_are_named_in_one_line(monkeypatch, capsys, tmp_path, given):
    monkeypatch.setenv("SPACES_ZERO_GPU", "1")
    with pytest.raises((ValueError, OSError)):  # there is no checkpoint, so nothing is moved to a GPU
        load(parser().parse_args(["--checkpoint", str(tmp_path / "none"), *given]))
    said = capsys.readouterr().err
    assert said.count("\n") == bool(given) and ("--form and --compiled change nothing" in said) == bool(given)


@pytest.mark.parametrize(("value", "there"), [("1", True), ("T", True), ("True", True), ("0", False), ("false", False)])
def test_zero_gpu_is_there_where_the_package_spaces_says_so(monkeypatch, value, there):
    monkeypatch.setenv("SPACES_ZERO_GPU", value)
    assert on_zero_gpu() == there


def test_the_program_does_not_ask_for_the_package_spaces_where_zero_gpu_is_off(monkeypatch):
    monkeypatch.delitem(sys.modules, "app.command")  # for as long as it is begun anew
    monkeypatch.setitem(sys.modules, "spaces", None)  # who asks for it gets an ImportError
    monkeypatch.setenv("SPACES_ZERO_GPU", "0")
    assert runpy.run_module("app.command")["load"]
    monkeypatch.setenv("SPACES_ZERO_GPU", "1")
    with pytest.raises(ImportError, match="spaces"):
        runpy.run_module("app.command")


def ask(space, **fields) -> dict:
    answer = CLIENT.post(f"{space.address}/v1/completions", json=BODY | fields, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_program_moves_a_model_and_says_that_it_is_ready(space, log):
    moved = [f"moved {name} to cuda" for name in ("TextVAE", "BlockCausalDiT")]
    assert log.read_text().splitlines()[:3] == [*moved, "ready with carried_run"]


def test_a_run_in_the_worker_gives_the_text_of_its_recipe(space, log, model):
    answer = ask(space)
    recipe = Recipe.from_dict(answer["recipe"])
    assert [choice["text"] for choice in answer["choices"]] == model.generate(recipe.texts, recipe.settings)
    assert ask(space)["choices"] == answer["choices"]
    lines = log.read_text().splitlines()
    assert lines.count("worker of carried_run: another process, True") == 1  # kept for the second call
    assert lines.count("called for 15 s") == 2


def test_steps_and_their_previews_come_from_the_worker(space):
    fields = {"stream": True, "stream_options": {"include_draft": True}}
    whole, drafts = "", []
    with httpx.stream("POST", f"{space.address}/v1/completions", json=BODY | fields, timeout=60) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: {"):
                choice = json.loads(line[6:])["choices"][0]
                whole += choice["text"]
                drafts += [choice["draft"]] if "draft" in choice else []
    assert whole == ask(space)["choices"][0]["text"]
    blocks = drafts[0]["blocks"]
    steps = [(block, step) for block in range(1, blocks + 1) for step in (1, 2)]
    assert [(draft["block"], draft["step"]) for draft in drafts] == steps
    assert len(drafts[0]["text"]) > 0


def test_what_the_recipe_cannot_be_is_a_sentence(space):
    """The worker refuses it: the API alone would not."""
    recipe = {"operation": "edit", "texts": ["a"], "options": {"span": [5, 9]}}
    place = f"{space.address}/gradio_api/call/replay"
    number = CLIENT.post(place, json={"data": [recipe]}).json()["event_id"]
    events = CLIENT.get(f"{place}/{number}", timeout=60).text
    assert "event: error" in events and "span" in events


def test_a_visitor_who_leaves_stops_the_call(space, log):
    fields = {"stream": True, "max_tokens": 1000, "steps": 8}
    with httpx.stream("POST", f"{space.address}/v1/completions", json=BODY | fields, timeout=60) as answer:
        next(answer.iter_lines())
    deadline = time.monotonic() + 30
    while "stopped" not in log.read_text().splitlines():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert space.metric("coladlm_running") == 0


def test_the_time_asked_for_grows_with_the_work_and_has_a_limit(model):
    def seconds(**settings) -> int:
        return gpu_seconds(model, Recipe("generate", ("a",), SamplerSettings(**settings)))

    assert seconds(max_new_tokens=8) == 15
    short = seconds(max_new_tokens=512, steps=16)
    for solver in ("midpoint", "heun"):  # which ask the network twice in a step
        assert 15 < short < seconds(max_new_tokens=512, steps=16, solver=solver) <= 110
    assert seconds(max_new_tokens=4096, steps=64) == 110


def test_the_time_asked_for_follows_the_passes_of_every_operation(model):
    """How many these are is tested in tests/serve/test_passes.py."""
    text, settings = "Once upon a time there was a cat. " * 12, SamplerSettings(steps=8, max_new_tokens=200)
    texts, tokens = (text, f"The dog ran home. {text}"), len(model.tokenize(text))

    def seconds(operation, *texts, variations=1, **options) -> int:
        return gpu_seconds(model, Recipe(operation, texts, settings, variations, options))

    plain = seconds("generate", text)
    for more in ({"towards": "A dog."}, {"negative": "A dog."}, {"direction": "happy-sad"}, {"variations": 17}):
        assert seconds("generate", text, **more) > plain
    assert seconds("edit", text, start=0, end=tokens) > seconds("edit", text, start=0, end=tokens // 2)
    assert seconds("invert", text) > seconds("invert", text, iterations=1) > seconds("invert", text, iterations=0)
    roads = ("decoder_only", "through_flow", "noise_to_noise")
    assert sorted(roads, key=lambda road: seconds("interpolate", *texts, road=road, stops=3)) == list(roads)
    assert seconds("interpolate", *texts, tries=16) > seconds("interpolate", *texts)
    assert seconds("fill", f"___ {text}", variations=32) > seconds("fill", f"{text} ___", variations=32)

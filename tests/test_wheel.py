"""The wheel: what is installed from it works away from the checkout, with the model that ships."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import httpx
import pytest

from coladlm import SamplerSettings
from tests.app.api.server_process import opened

ROOT = Path(__file__).parents[1]
SOURCES = ("app", "assets", "coladlm", "LICENSE", "NOTICE", "README.md", "pyproject.toml", "setup.py")
BACKEND = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["build-backend"]
# What pip asks a build backend for, without its preparations. Weights do not get much smaller, so they are stored.
BUILD = f"""
import sys, {BACKEND} as backend
backend.build_wheel(sys.argv[1], {{"--build-option": "--compression=stored"}})
"""
PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
# `python -m coladlm` and then a script, in one process, since torch takes longer to import than both take to answer.
BOTH = """
import contextlib, json, runpy, sys
module, script = map(json.loads, sys.argv[1:])
with open("said.json", "w") as said, contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
    sys.argv[1:] = module
    runpy.run_module("coladlm", run_name="__main__", alter_sys=True)
sys.argv[:] = script
runpy.run_path(script[0], run_name="__main__")
"""
GENERATE = ("generate", "Once upon a time", "--device", "cpu", "--dtype", "float32", "--steps", "2",
            "--max-new-tokens", "8", "--seed", "1", "--json")  # fmt: skip
SERVE = ("serve", "--port", "0", "--device", "cpu", "--grace", "0")


def files(folder: Path) -> set[str]:
    """The files of a folder by their path in it, but for what Python and gradio write beside them."""
    return {str(file.relative_to(folder)) for file in folder.rglob("*")
            if file.is_file() and "__pycache__" not in file.parts and file.suffix != ".pyi"}  # fmt: skip


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from a copy of the sources by the build backend that pyproject.toml names."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / "from" / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyi"))
        else:
            shutil.copy(ROOT / name, folder / "from" / name)
    build = [sys.executable, "-c", BUILD, str(folder)]
    done = subprocess.run(build, cwd=folder / "from", capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("coladlm-*.whl")
    shutil.rmtree(folder / "from")
    return built


@dataclasses.dataclass
class Answers:
    """Of what was installed: what `generate` says, the page, and an answer of the API."""

    said: dict
    page: httpx.Response
    completion: dict


@pytest.fixture(scope="module")
def answers(wheel) -> Answers:
    """From an empty folder, in which Python finds what was installed from the wheel. The script is `coladlm` itself,
    which is not on the path of a folder that pip filled with --target.
    """
    target, folder = wheel.parent / "installed", wheel.parent / "elsewhere"
    folder.mkdir()
    command = [*PIP, "install", "--no-deps", "--no-compile", "--target", str(target), str(wheel)]
    subprocess.run(command, check=True, timeout=120)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment = {**kept, "PYTHONPATH": str(target), "OMP_NUM_THREADS": "1", "COLADLM_CACHE": str(folder / "cache")}
    script = (str(target / "bin" / "coladlm"), *SERVE)
    both = [sys.executable, "-c", BOTH, json.dumps(GENERATE), json.dumps(script)]
    with opened(both, folder, environment) as address:
        page = httpx.get(address, timeout=60)
        body = {"prompt": "Once upon a time", "max_tokens": 4, "steps": 1, "seed": 1}
        completion = httpx.post(f"{address}/v1/completions", json=body, timeout=60).json()
    return Answers(json.loads((folder / "said.json").read_text()), page, completion)


def test_it_has_the_library_the_page_and_what_ships_and_nothing_else(wheel):
    found = set(zipfile.ZipFile(wheel).namelist())
    expected = {f"coladlm_page/{name}" for name in files(ROOT / "app")}
    expected |= {f"coladlm/{name}" for name in files(ROOT / "coladlm")}
    expected |= {f"coladlm/shipped/{name}" for name in files(ROOT / "assets")}
    assert {name for name in found if not name.startswith("coladlm-0.1.0.dist-info/")} == expected


def test_it_writes_the_text_that_a_checkout_writes(answers, bundled):
    settings = SamplerSettings.from_dict({"steps": 2, "max_new_tokens": 8, "seed": 1}, bundled.defaults)
    written = [sequence["text"] for sequence in answers.said["sequences"]]
    assert written == bundled.generate(["Once upon a time"], settings)


def test_its_script_opens_the_page_and_the_api(answers):
    assert answers.page.status_code == 200 and "Cola-DLM Explorer" in answers.page.text
    assert answers.completion["model"] == "bundled" and answers.completion["usage"]["completion_tokens"] == 4

"""The wheel: what is installed from it works away from the checkout, with the model that ships."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import httpx
import pytest

from coladlm import SamplerSettings
from tests.app.api.server_process import opened

ROOT = Path(__file__).parents[1]
SOURCES = ("app", "assets", "coladlm", "LICENSE", "NOTICE", "README.md", "pyproject.toml", "setup.py")
STORED = ("--config-settings", "--build-option=--compression=stored")  # weights, which do not get much smaller
PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")


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
    build = [*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), *STORED,
             str(folder / "from")]  # fmt: skip
    done = subprocess.run(build, cwd=folder, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("coladlm-*.whl")
    shutil.rmtree(folder / "from")
    return built


@pytest.fixture(scope="module")
def away(wheel) -> tuple[Path, dict[str, str]]:
    """An empty folder, and an environment in which Python finds what was installed from the wheel."""
    target, folder = wheel.parent / "installed", wheel.parent / "elsewhere"
    folder.mkdir()
    command = [*PIP, "install", "--no-deps", "--no-compile", "--target", str(target), str(wheel)]
    subprocess.run(command, check=True, timeout=120)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return folder, {**kept, "PYTHONPATH": str(target), "OMP_NUM_THREADS": "1", "COLADLM_CACHE": str(folder / "cache")}


def test_it_has_the_library_the_page_and_what_ships_and_nothing_else(wheel):
    found = set(zipfile.ZipFile(wheel).namelist())
    expected = {f"coladlm_page/{name}" for name in files(ROOT / "app")}
    expected |= {f"coladlm/{name}" for name in files(ROOT / "coladlm")}
    expected |= {f"coladlm/shipped/{name}" for name in files(ROOT / "assets")}
    assert {name for name in found if not name.startswith("coladlm-0.1.0.dist-info/")} == expected


def test_it_writes_the_text_that_a_checkout_writes(away, bundled):
    folder, environment = away
    said = subprocess.run(
        [sys.executable, "-m", "coladlm", "generate", "Once upon a time", "--device", "cpu", "--dtype", "float32",
         "--steps", "2", "--max-new-tokens", "8", "--seed", "1", "--json"],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    settings = SamplerSettings.from_dict({"steps": 2, "max_new_tokens": 8, "seed": 1}, bundled.defaults)
    written = [sequence["text"] for sequence in json.loads(said.stdout)["sequences"]]
    assert written == bundled.generate(["Once upon a time"], settings)


def test_its_script_opens_the_page_and_the_api(away):
    """`coladlm` itself, which is not on the path of a folder that pip filled with --target."""
    folder, environment = away
    script = Path(environment["PYTHONPATH"]) / "bin" / "coladlm"
    command = [sys.executable, str(script), "serve", "--port", "0", "--device", "cpu", "--grace", "0"]
    with opened(command, folder, environment) as address:
        page = httpx.get(address, timeout=60)
        assert page.status_code == 200 and "Cola-DLM Explorer" in page.text
        body = {"prompt": "Once upon a time", "max_tokens": 4, "steps": 1, "seed": 1}
        answer = httpx.post(f"{address}/v1/completions", json=body, timeout=60).json()
        assert answer["model"] == "bundled" and answer["usage"]["completion_tokens"] == 4

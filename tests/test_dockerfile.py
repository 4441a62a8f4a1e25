"""The Dockerfile, as far as it goes without Docker: its copies, its variables, its entry point and its health check.

Not run: the base image, `useradd`, and `pip install`, in whose place each requirement is looked up among what is
installed here. What it copies lies alone in a clean folder, and its entry point serves from there.
"""

import fnmatch
import importlib.metadata
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from packaging.requirements import Requirement

from tests.app.api.server_process import free_port, opened

ROOT = Path(__file__).parents[1]
HOME = "/home/reader"


def steps() -> list[tuple[str, str]]:
    """(instruction, its text) for each step, in order."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    whole = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [tuple(line.split(None, 1)) for line in whole.splitlines() if line.strip()]


def of(instruction: str) -> list[str]:
    return [text for name, text in steps() if name == instruction]


def ignored(path: str) -> bool:
    """Does .dockerignore leave a path out, or a folder that it is in?"""
    patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    parts = path.split("/")
    folders = ["/".join(parts[: end + 1]) for end in range(len(parts))]
    return any(fnmatch.fnmatch(folder, pattern) or fnmatch.fnmatch(f"/{folder}", pattern.replace("**/", "*/", 1))
               for pattern in patterns for folder in folders)  # fmt: skip


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Path:
    """The folder of the program after all COPY steps."""
    home = tmp_path_factory.mktemp("home")
    (workdir,) = of("WORKDIR")
    place = home / Path(workdir).relative_to(HOME)
    place.mkdir()
    for step in of("COPY"):
        source, target = [word for word in shlex.split(step) if not word.startswith("--")]
        assert target == "."
        if source != ".":
            shutil.copy(ROOT / source, place / source)
            continue

        def left_out(folder, names):
            inside = Path(folder).relative_to(ROOT)
            return [name for name in names if ignored((inside / name).as_posix())]

        shutil.copytree(ROOT, place, ignore=left_out, dirs_exist_ok=True)
    return place


def test_it_has_only_steps_that_are_looked_at_here():
    assert {name for name, _ in steps()} == {
        "FROM", "ENV", "RUN", "WORKDIR", "COPY", "ARG", "USER", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT",
    }  # fmt: skip
    assert of("FROM") == ["python:3.11-slim"] and of("USER") == ["reader"]
    assert of("RUN")[0] == "useradd --create-home reader"


def test_what_pip_installs_is_what_the_tests_run_with():
    (command,) = of("RUN")[1:]
    words = shlex.split(command.replace("$PIP_OPTIONS", ""))
    assert words[:3] == ["pip", "install", "--no-cache-dir"] and words[3:5] == ["-r", "requirements.txt"]
    lines = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line and line[0] != "#"]
    for requirement in map(Requirement, [*lines, *words[5:]]):
        installed = importlib.metadata.version(requirement.name).split("+")[0]
        assert requirement.specifier.contains(installed), requirement


def test_the_image_has_the_program_and_what_ships_and_no_tests(image):
    found = {path.name for path in image.iterdir()}
    assert {"app.py", "app", "coladlm", "assets", "requirements.txt", "LICENSE", "NOTICE"} <= found
    assert found.isdisjoint({".git", ".venv", "node_modules", "tests", "benchmarks"})
    assert not list(image.rglob("__pycache__"))


def test_its_entry_point_serves_the_page_and_its_health_check_sees_that(image):
    port = str(free_port())
    variables = dict(word.split("=", 1) for step in of("ENV") for word in shlex.split(step))
    variables = {name: value.replace(HOME, str(image.parent)) for name, value in variables.items()}
    assert variables["GRADIO_SERVER_PORT"] == of("EXPOSE")[0]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **variables, "GRADIO_SERVER_PORT": port}
    environment.pop("PYTHONPATH", None)
    command = [sys.executable, *json.loads(of("ENTRYPOINT")[0])[1:]]
    with opened(command, image, environment) as address:
        (check,) = of("HEALTHCHECK")
        options, _, words = check.partition(" CMD ")
        assert options == "--start-period=120s"
        checked = [sys.executable, *(word.replace("7860", port) for word in json.loads(words)[1:])]
        assert subprocess.run(checked, timeout=60).returncode == 0
        assert "Cola-DLM Explorer" in httpx.get(address, timeout=60).text
    assert subprocess.run(checked, timeout=60, capture_output=True).returncode != 0  # nobody there any more

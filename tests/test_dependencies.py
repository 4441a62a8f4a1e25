"""What is imported is declared, and what few need may be missing."""

import ast
import functools
import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

import coladlm
from coladlm.extras import EXTRAS

from .syntax import parsed, statements

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OWN = {"app", "coladlm"}
NOT_INSTALLED = {"judge", "lm-eval", "ray"}  # extras that the page does not install: nothing pins them there
GIVEN = {"spaces"}  # what a Space of Hugging Face has, and nobody else
OLDEST = re.compile(r"([A-Za-z0-9_.-]+)(?:\[[a-z]+\])?>=([0-9.]+)")
PINNED = re.compile(r"([A-Za-z0-9_.-]+)==([0-9.]+)")


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imported(files: Iterable[Path]) -> Iterator[tuple[str, str]]:
    """(package, file) of every import of a package that is neither Python's nor ours."""
    for file in files:
        for top in foreign(file):
            provider = providers().get(top)
            yield canonical(top if provider is None else provider.name), str(file.relative_to(ROOT))


@functools.cache
def providers() -> dict[str, importlib.metadata.Distribution]:
    """What has installed each top package. As `importlib.metadata.packages_distributions`, which makes a path of every
    installed file and takes ten times as long.
    """
    found: dict[str, importlib.metadata.Distribution] = {}
    for installed in importlib.metadata.distributions():
        files = (installed.read_text("RECORD") or "").splitlines()
        named = (installed.read_text("top_level.txt") or "").split()
        for top in named or {re.split(r"[/.]", file, maxsplit=1)[0] for file in files}:
            found.setdefault(top, installed)
    return found


@functools.cache
def foreign(file: Path) -> set[str]:
    """The top packages that a file imports and that are neither Python's nor ours."""
    modules: set[str] = set()
    for node in statements(parsed(file)):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            modules.add(node.module or "")
    return {module.split(".")[0] for module in modules} - OWN - GIVEN - sys.stdlib_module_names


def requirements(pattern: re.Pattern[str], lines: Iterable[str]) -> dict[str, str]:
    """name: version of lines that all match `pattern`."""
    matches = [(line, pattern.fullmatch(line)) for line in lines]
    assert [line for line, match in matches if match is None] == []
    return {canonical(match[1]): match[2] for _, match in matches if match is not None}


def pinned() -> dict[str, str]:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return requirements(PINNED, [line for line in lines if line and not line.startswith("#")])


def library() -> dict[str, str]:
    extras = [line for lines in PROJECT["optional-dependencies"].values() for line in lines]
    return requirements(OLDEST, [*PROJECT["dependencies"], *extras])


def extras(installed: bool) -> list[str]:
    """The requirements of the extras that requirements.txt installs, or of the others."""
    found = PROJECT["optional-dependencies"].items()
    return [line for name, lines in found for line in lines if (name not in NOT_INSTALLED) == installed]


def test_what_the_library_and_the_page_import_is_declared_in_pyproject():
    found = set(imported([*(ROOT / "app").rglob("*.py"), *(ROOT / "coladlm").rglob("*.py")]))
    assert found
    assert {(package, file) for package, file in found if package not in library()} == set()


def test_what_the_page_and_the_library_import_is_pinned_in_requirements():
    files = [ROOT / "app.py", *(ROOT / "app").rglob("*.py"), *(ROOT / "coladlm").rglob("*.py")]
    known = {*pinned(), *requirements(OLDEST, extras(installed=False))}
    assert {(package, file) for package, file in imported(files) if package not in known} == set()


def test_what_pyproject_declares_is_imported():
    declared = requirements(OLDEST, [*PROJECT["dependencies"], *extras(installed=True)])
    files = [*(ROOT / "app").rglob("*.py"), *(ROOT / "coladlm").rglob("*.py")]
    assert set(declared) - {package for package, _ in imported(files)} == set()


def test_no_pin_is_older_than_what_the_library_needs():
    def parts(version: str) -> list[int]:
        return [int(part) for part in version.split(".")]

    declared = requirements(OLDEST, [*PROJECT["dependencies"], *extras(installed=True)])
    assert [name for name, oldest in declared.items() if parts(pinned()[name]) < parts(oldest)] == []


def test_a_space_installs_the_gradio_and_runs_the_program_that_the_tests_do():
    """The head of README.md is what Hugging Face reads of a Space."""
    head = (ROOT / "README.md").read_text(encoding="utf-8").split("---\n")[1]
    said = dict(re.findall(r"^(\w+): (.+)$", head, re.M))
    assert (said["sdk"], said["sdk_version"]) == ("gradio", pinned()["gradio"])
    assert said["python_version"] == '"3.11"' and (ROOT / said["app_file"]).is_file()
    assert len(said["short_description"]) <= 60  # a longer one is refused


def test_every_extra_is_one_that_a_sentence_names():
    declared = {name: list(requirements(OLDEST, lines)) for name, lines in PROJECT["optional-dependencies"].items()
                if name not in NOT_INSTALLED}  # fmt: skip
    assert declared == {extra: [package] for package, extra in EXTRAS.values() if extra not in NOT_INSTALLED}


def test_torch_comes_with_the_first_name_that_is_asked_for(child):
    """A command's help needs none, and takes a twentieth of the time."""
    assert child.stderr.splitlines()[0] == "False True True"
    for name in coladlm.__all__:
        assert getattr(coladlm, name) is not None
    with pytest.raises(AttributeError, match="'coladlm' has no attribute 'Colour'"):
        coladlm.Colour  # noqa: B018 - reading it is the test


# In a Python that has none of the extras: what each part of the library says, as [status or None, stdout, stderr].
WITHOUT = """
import contextlib, importlib, io, json, pkgutil, sys, traceback
from pathlib import Path
EXTRAS, FOLDER, CHECKPOINT = sys.argv[1].split(","), *sys.argv[2:]
import coladlm, coladlm.cli
print("torch" in sys.modules, "ColaDLM" in dir(coladlm), end=" ", file=sys.stderr)
coladlm.ColaDLM
print("torch" in sys.modules, file=sys.stderr)
import coladlm.baseline.baseline, coladlm.latent.projection
coladlm.ColaDLM.from_pretrained(CHECKPOINT, device="cpu")
coladlm.baseline.baseline.Baseline.from_pretrained(device="cpu")
print([name for name in ("umap", "sklearn", "torch._dynamo") if name in sys.modules], file=sys.stderr)
for module in EXTRAS:
    sys.modules[module] = None

def library():
    for found in pkgutil.walk_packages(coladlm.__path__, "coladlm."):
        if not found.name.endswith(("__main__", "lm_eval_adapter")):
            importlib.import_module(found.name)

def harness():
    import coladlm.evaluate.lm_eval_adapter

def curves():
    from coladlm.extras import MissingExtraError
    from coladlm.train.curves import draw_curves
    try:
        draw_curves(Path(FOLDER))
    except MissingExtraError as error:
        print(error)

def sweep():
    from coladlm.cli import main
    return main(["sweep", "--data", FOLDER, "--json", FOLDER + "/s.json", "--picture", FOLDER + "/s.png"])

def umap():
    import numpy as np
    from coladlm.latent.projection import ProjectionError, fit_umap
    try:
        list(fit_umap(np.random.default_rng(0).normal(size=(50, 4)), cache=Path(FOLDER)))
    except ProjectionError as error:
        print(error)

def training():
    from coladlm.train.__main__ import _draw_curves
    _draw_curves(Path(FOLDER))
    print("goes on")

found = {}
for ask in (library, harness, curves, sweep, umap, training):
    out, err, status = io.StringIO(), io.StringIO(), None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = ask()
        except Exception:
            traceback.print_exc()
    found[ask.__name__] = [status, out.getvalue(), err.getvalue()]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def child(tmp_path_factory, golden_folder):
    """The process of `WITHOUT`, at its end."""
    folder = tmp_path_factory.mktemp("without")
    command = [sys.executable, "-c", WITHOUT, ",".join(EXTRAS), str(folder), str(golden_folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def without_extras(child):
    """What the parts of the library say, by name."""
    return json.loads(child.stdout)


def test_what_imports_slowly_is_left_until_it_is_needed(child):
    """The fits of maps, and torch's compiler, which a checkpoint's loading once imported."""
    assert child.stderr.splitlines()[1:] == ["[]"]


def test_the_library_is_imported_without_its_extras(without_extras):
    assert without_extras["library"] == [None, "", ""]


def test_the_adapter_of_the_harness_without_it_is_refused_in_a_sentence(without_extras):
    note = "The adapter of lm-evaluation-harness needs lm-eval, which is not installed: pip install 'coladlm[lm-eval]'"
    assert without_extras["harness"][2].splitlines()[-1] == f"coladlm.extras.MissingExtraError: {note}"


def test_the_curves_without_matplotlib_are_refused_in_a_sentence(without_extras):
    note = "The picture of the curves needs matplotlib, which is not installed: pip install 'coladlm[plots]'\n"
    assert without_extras["curves"] == [None, note, ""]


def test_a_sweep_without_matplotlib_is_refused_before_it_begins(without_extras):
    note = "The picture of a sweep needs matplotlib, which is not installed: pip install 'coladlm[plots]'"
    assert without_extras["sweep"] == [2, "", f"python -m coladlm sweep: {note}\n"]


def test_a_umap_without_umap_learn_is_refused_in_a_sentence(without_extras):
    note = "Fitting a UMAP needs umap-learn, which is not installed: pip install 'coladlm[umap]'\n"
    assert without_extras["umap"] == [None, note, ""]


def test_a_training_without_matplotlib_says_so_and_goes_on(without_extras):
    _, out, err = without_extras["training"]
    assert out == "goes on\n"
    assert err.strip().endswith("pip install 'coladlm[plots]'")


def test_the_library_says_that_it_has_types():
    """Everything in the folder is installed with it: tests/test_wheel.py."""
    assert (ROOT / "coladlm" / "py.typed").is_file()

"""What is imported is declared, and what few need may be missing."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from coladlm.extras import EXTRAS

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OWN = {"app", "coladlm"}
NOT_INSTALLED = {"judge"}  # extras whose sentence is that of the module that uses them
OLDEST = re.compile(r"([A-Za-z0-9_.-]+)>=([0-9.]+)")
PINNED = re.compile(r"([A-Za-z0-9_.-]+)==([0-9.]+)")


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imported(files: Iterable[Path]) -> Iterator[tuple[str, str]]:
    """(package, file) of every import of a package that is neither Python's nor ours."""
    providers = importlib.metadata.packages_distributions()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            modules: list[str] = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules = [node.module or ""]
            for top in {module.split(".")[0] for module in modules} - OWN - sys.stdlib_module_names:
                yield canonical(providers.get(top, [top])[0]), str(file.relative_to(ROOT))


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


def test_what_the_library_imports_is_declared_in_pyproject():
    found = set(imported((ROOT / "coladlm").rglob("*.py")))
    assert found
    assert {(package, file) for package, file in found if package not in library()} == set()


def test_what_the_page_and_the_library_import_is_pinned_in_requirements():
    files = [ROOT / "app.py", *(ROOT / "app").rglob("*.py"), *(ROOT / "coladlm").rglob("*.py")]
    known = {*pinned(), *requirements(OLDEST, extras(installed=False))}
    assert {(package, file) for package, file in imported(files) if package not in known} == set()


def test_what_the_library_declares_is_imported():
    declared = requirements(OLDEST, [*PROJECT["dependencies"], *extras(installed=True)])
    assert set(declared) - {package for package, _ in imported((ROOT / "coladlm").rglob("*.py"))} == set()


def test_no_pin_is_older_than_what_the_library_needs():
    def parts(version: str) -> list[int]:
        return [int(part) for part in version.split(".")]

    declared = requirements(OLDEST, [*PROJECT["dependencies"], *extras(installed=True)])
    assert [name for name, oldest in declared.items() if parts(pinned()[name]) < parts(oldest)] == []


def test_every_extra_is_one_that_a_sentence_names():
    declared = {name: list(requirements(OLDEST, lines)) for name, lines in PROJECT["optional-dependencies"].items()
                if name not in NOT_INSTALLED}  # fmt: skip
    assert declared == {extra: [package] for package, extra in EXTRAS.values()}


def without(module: str, code: str) -> subprocess.CompletedProcess[str]:
    """Runs `code` in a Python that has not `module`."""
    blocked = f"import sys\nsys.modules[{module!r}] = None\n{code}"
    return subprocess.run([sys.executable, "-c", blocked], cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("module", EXTRAS)
def test_the_library_is_imported_without_an_extra(module):
    code = """
import importlib, pkgutil, coladlm
for found in pkgutil.walk_packages(coladlm.__path__, "coladlm."):
    if not found.name.endswith("__main__"):
        importlib.import_module(found.name)
"""
    done = without(module, code)
    assert done.returncode == 0, done.stderr


def test_the_curves_without_matplotlib_are_refused_in_a_sentence(tmp_path):
    code = f"""
from pathlib import Path
from coladlm.extras import MissingExtraError
from coladlm.train.curves import draw_curves
try:
    draw_curves(Path({str(tmp_path)!r}))
except MissingExtraError as error:
    print(error)
"""
    said = without("matplotlib", code).stdout.strip()
    assert said == "The picture of the curves needs matplotlib, which is not installed: pip install 'coladlm[plots]'"


def test_a_sweep_without_matplotlib_is_refused_before_it_begins(tmp_path):
    arguments = ["--data", str(tmp_path), "--json", str(tmp_path / "s.json"), "--picture", str(tmp_path / "s.png")]
    code = f"from coladlm.cli import main\nsys.exit(main({['sweep', *arguments]!r}))"
    done = without("matplotlib", code)
    said = "The picture of a sweep needs matplotlib, which is not installed: pip install 'coladlm[plots]'"
    assert (done.returncode, done.stderr) == (2, f"python -m coladlm sweep: {said}\n")


def test_a_umap_without_umap_learn_is_refused_in_a_sentence(tmp_path):
    code = f"""
from pathlib import Path
import numpy as np
from coladlm.latent.projection import ProjectionError, fit_umap
try:
    list(fit_umap(np.random.default_rng(0).normal(size=(50, 4)), cache=Path({str(tmp_path)!r})))
except ProjectionError as error:
    print(error)
"""
    said = without("umap", code).stdout.strip()
    assert said == "Fitting a UMAP needs umap-learn, which is not installed: pip install 'coladlm[umap]'"


def test_a_training_without_matplotlib_says_so_and_goes_on(tmp_path):
    code = f"""
from pathlib import Path
from coladlm.train.__main__ import _draw_curves
_draw_curves(Path({str(tmp_path)!r}))
print("goes on")
"""
    done = without("matplotlib", code)
    assert done.stdout == "goes on\n"
    assert done.stderr.strip().endswith("pip install 'coladlm[plots]'")


def test_the_library_says_that_it_has_types():
    assert (ROOT / "coladlm" / "py.typed").is_file()
    packaging = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert packaging["package-data"] == {"coladlm": ["py.typed"]}

"""The shape of the code: imports point downwards, and functions are short enough to read."""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from .syntax import parsed, statements, within

ROOT = Path(__file__).resolve().parents[1]
LONGEST = 60  # lines of a function, from `def` to its end
TABLES = {"app/theme/__init__.py:make_theme"}  # one call that lists a value for each variable of the theme

# Parts of the library, from the lowest: a part imports parts of lower rows, and of its own row itself alone.
LIBRARY = (
    ("errors", "extras", "assets", "garbage_collection", "paths"),
    ("settings", "hardware"),
    ("recipe", "tokenizer", "networks"),
    ("sampling",),
    ("checkpoint", "trace", "structured", "rounding", "inputs"),
    ("model", "baseline"),
    ("batch",),
    ("latent",),
    ("run",),
    ("train", "serve"),
    ("evaluate",),
    ("cli",),
)
FEATURES = ("generate", "interpolate", "edit", "trajectories", "map", "bench", "model")
# The same for the page: features stand in one row, so none of them imports another.
PAGE = (
    ("light_sessions", "no_applications", "no_stubs", "signatures"),
    ("theme",),
    ("components",),
    ("runs",),
    ("shared",),
    ("api", *FEATURES),
    ("cluster",),
    ("page", "early_script", "component_scripts", "kept_files"),
    ("server", "zero_gpu", "ray"),
    ("command",),
)
NOT_IN_THE_LIBRARY = {"app", "gradio", "plotly", "fastapi", "starlette", "uvicorn"}
NOT_IN_THE_PAGE = {"torch"}


@functools.cache
def modules(package: str) -> dict[str, ast.Module]:
    """The syntax trees of a package by path."""
    found = sorted((ROOT / package).rglob("*.py"))
    return {path.relative_to(ROOT).as_posix(): parsed(path) for path in found}


def is_type_checking(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def is_entry_point(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "__name__" in ast.dump(node.test)


def imports(path: str, tree: ast.Module, at_load: bool) -> Iterator[str]:
    """The modules that a file imports, by their whole name. at_load: leaves out what is imported only in a function,
    for types alone, or where the file is the program.
    """
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if at_load and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if at_load and isinstance(node, ast.If) and (is_type_checking(node) or is_entry_point(node)):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = path.removesuffix("/__init__.py").removesuffix(".py").split("/")
            if node.level:
                package = package[: len(package) - node.level + path.endswith("/__init__.py")]
                base = ".".join([*package, *(node.module or "").split(".")]).strip(".")
            else:
                base = node.module or ""
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        waiting.extend(within(node))


def part_of(name: str, package: str) -> str | None:
    """The part of a package that a module or a path belongs to; None for another package and for the package itself."""
    words = name.removesuffix(".py").replace("/", ".").split(".")
    return words[1] if words[0] == package and len(words) > 1 else None


def arrows(package: str) -> dict[tuple[str, str], set[str]]:
    """(part, part that it imports while it loads) -> the files in which it does."""
    parts = {part_of(path, package) for path in modules(package)} - {"__init__", "__main__"}
    found: dict[tuple[str, str], set[str]] = {}
    for path, tree in modules(package).items():
        if Path(path).name == "__main__.py" and path.count("/") == 1:
            continue
        source = part_of(path, package)
        for name in imports(path, tree, at_load=True):
            target = part_of(name, package)
            if source in parts and target in parts and source != target:
                found.setdefault((str(source), str(target)), set()).add(path)
    return found


def long_functions() -> Iterator[tuple[str, int]]:
    for package in ("app", "coladlm"):
        for path, tree in modules(package).items():
            for node in statements(tree):
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    length = (node.end_lineno or node.lineno) - node.lineno + 1
                    if length > LONGEST and f"{path}:{node.name}" not in TABLES:
                        yield f"{path}:{node.name}", length


def upward(package: str, order: tuple[tuple[str, ...], ...]) -> set[str]:
    """The arrows that do not point to a lower row, each with its file."""
    height = {part: row for row, parts in enumerate(order) for part in parts}
    return {
        f"{path} imports {package}/{target}"
        for (source, target), paths in arrows(package).items()
        for path in paths
        if height[source] <= height[target]
    }


def test_no_function_is_longer_than_a_screen():
    assert dict(long_functions()) == {}


@pytest.mark.parametrize(("package", "order"), [("coladlm", LIBRARY), ("app", PAGE)])
def test_every_part_has_its_place_in_the_order(package, order):
    parts = {part_of(path, package) for path in modules(package)} - {"__init__", "__main__"}
    assert parts == {part for row in order for part in row}


@pytest.mark.parametrize(("package", "order"), [("coladlm", LIBRARY), ("app", PAGE)])
def test_imports_point_downwards(package, order):
    assert sorted(upward(package, order)) == []


def foreign(package: str, names: set[str]) -> set[str]:
    """Imports, anywhere in a package, of packages that it must not know."""
    return {
        f"{path} imports {name.split('.')[0]}"
        for path, tree in modules(package).items()
        for name in imports(path, tree, at_load=False)
        if name.split(".")[0] in names
    }


def test_the_library_knows_nothing_of_the_page():
    assert sorted(foreign("coladlm", NOT_IN_THE_LIBRARY)) == []


def test_the_page_knows_nothing_of_torch():
    assert sorted(foreign("app", NOT_IN_THE_PAGE)) == []


def test_every_function_that_the_architecture_names_is_where_it_says():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    hops = re.findall(r"^\d+\. `([\w/.]+)` `(\w+)`", text, re.M)
    assert len(hops) == 17 + 13
    defined = r"(?:^|[ .])(?:def |async def |function |async )?{}\s*\("
    assert [
        hop for hop in hops if not re.search(defined.format(hop[1]), (ROOT / hop[0]).read_text("utf-8"), re.M)
    ] == []


def test_every_path_that_the_architecture_names_is_there():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    paths = re.findall(r"`((?:app|coladlm|tests|assets|benchmarks|docs)/[\w/.]*)`", text)
    assert [path for path in paths if not (ROOT / path).exists()] == []

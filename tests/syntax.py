"""The statements of Python files, for tests of what files import and of how long functions are."""

import ast
import functools
import gc
from collections.abc import Iterator
from pathlib import Path


@functools.cache
def parsed(file: Path) -> ast.Module:
    """A tree is ten thousand objects that stay: they are left out of garbage collections, which find nothing in them
    and take twice as long as the parser.
    """
    gc.disable()
    try:
        return ast.parse(file.read_text(encoding="utf-8"))
    finally:
        gc.freeze()
        gc.enable()


def within(node: ast.AST) -> Iterator[ast.AST]:
    """The statements in a node, but not in those; expressions, which are most of a tree, hold none."""
    for name in ("body", "handlers", "cases", "orelse", "finalbody"):
        yield from getattr(node, name, ())


def statements(tree: ast.Module) -> Iterator[ast.AST]:
    """All of them, however deep."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        waiting.extend(within(node))
        yield node

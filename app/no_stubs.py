"""Gradio without its stub files.

When gradio is imported, and whenever a component is defined, it reads the source of the component, parses it twice and
writes a stub (.pyi) beside it, for editors. That is a second of every start, and files in folders that are not its own.
Gradio has no setting for it (6.31), so its module is given a function that does nothing in place of that one.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

MODULE, WRITER = "gradio.component_meta", "create_or_modify_pyi"


class _Loader(importlib.machinery.SourceFileLoader):
    """Loads the module from its file as ever, and then replaces the function."""

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        if hasattr(module, WRITER):
            setattr(module, WRITER, _write_nothing)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds that module alone."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != MODULE:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _Loader(fullname, spec.loader.path)
        return spec


def write_no_stubs() -> None:
    """Has gradio write no stub files. To be called before it is imported; afterwards for components yet to come."""
    if MODULE in sys.modules:
        setattr(sys.modules[MODULE], WRITER, _write_nothing)
    elif not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def _write_nothing(*_: Any) -> None:
    pass

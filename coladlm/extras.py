"""Packages that few need: extras of this one, imported where they are used, with a sentence where they are missing."""

from __future__ import annotations

import importlib.util

EXTRAS = {  # module: package, extra of pyproject
    "lm_eval": ("lm-eval", "lm-eval"),
    "matplotlib": ("matplotlib", "plots"),
    "umap": ("umap-learn", "umap"),
}


class MissingExtraError(ImportError):
    """A package of an extra is not installed."""


def require(module: str, use: str) -> None:
    """Raises MissingExtraError where `module`, one of EXTRAS, is not installed. use: what needs it, as in "A map"."""
    if importlib.util.find_spec(module) is None:
        raise missing_extra(module, use)


def missing_extra(module: str, use: str) -> MissingExtraError:
    """The error that says so of one of EXTRAS."""
    package, extra = EXTRAS[module]
    return MissingExtraError(f"{use} needs {package}, which is not installed: pip install 'coladlm[{extra}]'")

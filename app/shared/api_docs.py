"""What the endpoints of the API say of their arguments, which MCP hands on to its clients."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, TypeVar

from coladlm.settings import DESCRIPTIONS

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
RETURNS = "\n\nReturns:\n"
FOLDED = re.compile(r"\n {5,}")  # where the description of an argument goes on


def described(endpoint: Endpoint) -> Endpoint:
    """Makes the docstring of an endpoint such that gradio finds all of its descriptions, and adds those of arguments
    that are settings, as the page describes them.

    Returns the endpoint itself. Its docstring has the sections "Args:" and "Returns:"; of an argument gradio reads one
    line, and it puts commas between the lines of what is returned, so each becomes a single line. A setting that the
    endpoint describes itself, as what it means there, stays.
    """
    before, found, after = inspect.cleandoc(endpoint.__doc__ or "").partition(RETURNS)
    before, after = FOLDED.sub(" ", before), "    " + " ".join(after.split())
    if not found or "\nArgs:\n" not in before:
        raise ValueError(f"the docstring of {endpoint.__name__} has no sections Args and Returns")
    names = [name for name in inspect.signature(endpoint).parameters if name in DESCRIPTIONS]
    missing = [f"    {name}: {DESCRIPTIONS[name].text}" for name in names if f"\n    {name}: " not in before]
    endpoint.__doc__ = "\n".join((before, *missing)) + found + after
    return endpoint

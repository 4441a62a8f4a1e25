"""What the endpoints of the API say of their arguments, which MCP hands on to its clients."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from coladlm.settings import DESCRIPTIONS

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
RETURNS = "\n\nReturns:\n"


def with_settings(endpoint: Endpoint) -> Endpoint:
    """Describes those arguments of an endpoint that are settings, in its docstring, as the page describes them.

    Returns the endpoint itself. Its docstring has the sections "Args:" and "Returns:", where gradio looks for them; a
    setting that it describes itself, as what it means there, stays.
    """
    before, found, after = inspect.cleandoc(endpoint.__doc__ or "").partition(RETURNS)
    if not found or "\nArgs:\n" not in before:
        raise ValueError(f"the docstring of {endpoint.__name__} has no sections Args and Returns")
    names = [name for name in inspect.signature(endpoint).parameters if name in DESCRIPTIONS]
    missing = [f"    {name}: {DESCRIPTIONS[name].text}" for name in names if f"\n    {name}: " not in before]
    endpoint.__doc__ = "\n".join((before, *missing)) + found + after
    return endpoint

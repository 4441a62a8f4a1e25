"""What the endpoints of the API say of their arguments, for the API's page, its schema and MCP."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from coladlm.settings import DESCRIPTIONS

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
RETURNS = "\n\nReturns:\n"


def with_settings(endpoint: Endpoint) -> Endpoint:
    """Describes those arguments of an endpoint that are settings, in its docstring, as the page describes them.

    Returns the endpoint itself. Its docstring has the sections "Args:" and "Returns:", where gradio looks for them.
    """
    before, found, after = inspect.cleandoc(endpoint.__doc__ or "").partition(RETURNS)
    if not found or "\nArgs:\n" not in before:
        raise ValueError(f"the docstring of {endpoint.__name__} has no sections Args and Returns")
    names = [name for name in inspect.signature(endpoint).parameters if name in DESCRIPTIONS]
    endpoint.__doc__ = "\n".join((before, *(f"    {name}: {_help(name)}" for name in names))) + found + after
    return endpoint


def _help(name: str) -> str:
    about = DESCRIPTIONS[name]
    if about.choices:
        return f"{about.help} One of {', '.join(about.choices)}."
    if about.low is None or about.high is None:
        return about.help
    return f"{about.help} {'Above ' if about.open_low else ''}{about.low:,} to {about.high:,}."

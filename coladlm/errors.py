"""How an error message describes a wrong value."""

from __future__ import annotations

from collections.abc import Mapping


class Described(str):
    """A value that is described in words already."""


def describe(value: object) -> str:
    """`value` in at most 60 characters, for an error message. A `Described` stands as it is."""
    if isinstance(value, Described):
        return value
    if isinstance(value, (str, bytes)):
        value = value[:60]
    elif isinstance(value, (Mapping, list, tuple, set)):
        return f"{type(value).__name__} of {len(value)}"
    elif isinstance(value, int) and abs(value) >= 10**20:
        return "a number of more than 20 digits"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."

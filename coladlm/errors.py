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
    elif isinstance(value, Mapping):
        return f"an object with {len(value)} field" + ("" if len(value) == 1 else "s")
    elif isinstance(value, (list, tuple, set)):
        return f"a list of {len(value)}"
    elif isinstance(value, int) and abs(value) >= 10**20:
        return "a number beyond 10^20"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."

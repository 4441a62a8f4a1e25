"""How a sentence about wrong input says what was found."""

from __future__ import annotations

from collections.abc import Mapping


class Said(str):
    """What was found, already in words."""


def brief(value: object) -> str:
    """`value` in at most 60 characters, for a sentence. An instance of `Said` stands as it is."""
    if isinstance(value, Said):
        return value
    if isinstance(value, (str, bytes)):
        value = value[:60]
    elif isinstance(value, (Mapping, list, tuple, set)):
        return f"{type(value).__name__} of {len(value)}"
    elif isinstance(value, int) and abs(value) >= 10**20:
        return "a number of more than 20 digits"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."

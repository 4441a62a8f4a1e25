"""What an error message says: a wrong value in words, an error in one line."""

from __future__ import annotations

from collections.abc import Mapping


def sentence_of(error: Exception) -> str:
    """The message of an error in one line; of one of the operating system the file and what it said."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())


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

"""The texts that an editing visitor had, for undo and redo: plain data that lives in the visitor's session."""

from __future__ import annotations

from typing import Any, NamedTuple

MAX_ENTRIES = 64
MAX_CHARACTERS = 400_000  # in all entries: the session's state is copied at every event


class Entry(NamedTuple):
    """A text, and the tokens that were selected in it when it was left."""

    text: str
    start: int = 0
    end: int = 0


def new_history(text: str) -> dict[str, Any]:
    """A history that begins with `text`: entries, and which of them is the text now."""
    return {"entries": [list(Entry(text))], "at": 0, "typed": False}


def current(history: dict[str, Any]) -> Entry:
    """The text now."""
    return Entry(*history["entries"][history["at"]])


def leave(history: dict[str, Any], start: int, end: int) -> dict[str, Any]:
    """The same history, in which the text now remembers its selection."""
    entries = [list(entry) for entry in history["entries"]]
    entries[history["at"]][1:] = [start, end]
    return {**history, "entries": entries}


def push(history: dict[str, Any], text: str, typed: bool = False, start: int = 0, end: int = 0) -> dict[str, Any]:
    """The history after the text has become another; what was undone before is gone. Typing on is one entry."""
    if text == current(history).text:
        return history
    at = history["at"]
    keep = history["entries"][: at if typed and history["typed"] and at else at + 1]
    entries: list[Any] = [*keep, list(Entry(text, start, end))][-MAX_ENTRIES:]
    while len(entries) > 1 and sum(len(entry[0]) for entry in entries) > MAX_CHARACTERS:
        entries = entries[1:]
    return {"entries": entries, "at": len(entries) - 1, "typed": typed}


def step(history: dict[str, Any], by: int) -> dict[str, Any]:
    """The history after going back (-1) or forth (1), as far as there is a way."""
    at = min(len(history["entries"]) - 1, max(0, history["at"] + by))
    return {**history, "at": at, "typed": False}


def can_go(history: dict[str, Any]) -> tuple[bool, bool]:
    """Is there something to undo, and to redo?"""
    return history["at"] > 0, history["at"] < len(history["entries"]) - 1

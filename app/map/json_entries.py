"""The entries of a JSON file that somebody uploads, with the line that each begins in: lines, an array, or values."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from .text_file_error import BREAK, HALF_CHARACTER, MOST_COLUMNS, TextFileError, quoted


def json_entries(kind: str, text: str) -> Iterator[tuple[int, Any]]:
    """The entries of a JSON file with this ending, each with the line that it begins in."""
    if text.lstrip().startswith("["):
        found = _with_lines(text, _elements(text))
    elif kind == ".json":
        found = _with_lines(text, _values(text))
    else:
        found = _json_lines(text)
    for line, entry in found:
        if isinstance(entry, dict) and len(entry) > MOST_COLUMNS:
            raise TextFileError(f"line {line:,} has {len(entry):,} keys, expected at most {MOST_COLUMNS:,}")
        yield line, entry


def _json_lines(text: str) -> Iterator[tuple[int, Any]]:
    """The entries, each with its line."""
    decoder = _decoder()
    for number, line in enumerate(BREAK.split(text), 1):
        if not line.strip():
            continue
        try:
            entry = decoder.decode(line)
        except (ValueError, RecursionError) as error:
            raise TextFileError(f"line {number:,} is no JSON ({_reason(error)}), expected an object a line") from error
        yield number, entry


def _with_lines(text: str, entries: Iterable[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
    """Entries by where they begin, never in the middle of a line's end, as entries by the line that they begin in."""
    number, counted = 1, 0
    for at, entry in entries:
        number, counted = number + len(BREAK.findall(text, counted, at)), at
        yield number, entry


def _values(text: str) -> Iterator[tuple[int, Any]]:
    """The JSON values that stand one after another, on a line each or on several, and where each begins."""
    decoder, at = _decoder(), _after_space(text, 0)
    while at < len(text):
        try:
            entry, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            wanted = "expected an array, or an object a line"
            raise TextFileError(f"line {_line(text, at):,} is no JSON ({_reason(error)}), {wanted}") from error
        yield at, entry
        at = _after_space(text, end)


def _elements(text: str) -> Iterator[tuple[int, Any]]:
    """The elements of the JSON array that `text` is, and where each begins."""
    decoder, at = _decoder(), _after_space(text, text.index("[") + 1)
    closed = text[at : at + 1] == "]"
    while not closed:
        try:
            entry, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            raise TextFileError(f"line {_line(text, at):,} is no JSON ({_reason(error)}), expected an array") from error
        yield at, entry
        at = _after_space(text, end)
        closed = text[at : at + 1] == "]"
        if not closed and text[at : at + 1] != ",":
            raise TextFileError(f"line {_line(text, at):,} does not go on with a comma or the end of the array")
        at = at if closed else _after_space(text, at + 1)
    if text[at + 1 :].strip():
        at = _after_space(text, at + 1)
        raise TextFileError(f"line {_line(text, at):,} goes on after the end of the array, expected nothing more")


def _decoder() -> json.JSONDecoder:
    return json.JSONDecoder(object_pairs_hook=_names_once)


def _reason(error: Exception) -> str:
    """What json says, without its own count of lines, which is that of a piece of the file."""
    if isinstance(error, json.JSONDecodeError):
        return error.msg
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, TextFileError):
        return str(error)
    # of a whole number that Python reads no more, since its time would grow with the square of its length
    return f"a whole number has more than {sys.get_int_max_str_digits():,} digits"


def _after_space(text: str, at: int) -> int:
    found = re.compile(r"\s*").match(text, at)
    return at if found is None else found.end()


def _line(text: str, at: int) -> int:
    return len(BREAK.findall(text, 0, at)) + 1


def _names_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    for name, count in Counter(name for name, _ in pairs).items():
        half = HALF_CHARACTER.search(name)
        if half:
            raise TextFileError(f"a key has half a character, U+{ord(half[0]):04X}, expected whole characters")
        if count > 1:
            raise TextFileError(f"the key {quoted(name)} is there {count:,} times, expected once")
    return dict(pairs)

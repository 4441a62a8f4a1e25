"""Texts from a file that somebody uploads: lines, CSV or JSON lines, checked before anything else is done with them."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import random
from pathlib import Path

MAX_BYTES = 20 << 20
MAX_TEXTS = 5000  # more are sampled
MAX_CHARACTERS = 2000  # of a text; what is longer is cut
MAX_CELL = 1 << 20
TEXT_NAMES = ("text", "sentence", "content", "prompt", "story", "body")
SET_NAMES = ("set", "label", "class", "category", "source", "split")


class TextFileError(ValueError):
    """A file holds no texts that can be used; the message says what was found and what was wanted."""


@dataclasses.dataclass(frozen=True)
class Texts:
    """Texts and the set that each belongs to ("" where the file names none). said: what was left out, for people."""

    texts: list[str]
    sets: list[str]
    said: str = ""


def read_texts(path: str | Path, name: str = "") -> Texts:
    """Reads a file of lines (.txt), a table (.csv, .tsv) or JSON lines (.jsonl). Raises TextFileError, OSError."""
    kind = Path(name or path).suffix.lower()
    size = os.path.getsize(path)
    if size > MAX_BYTES:
        raise TextFileError(f"the file has {size:,} bytes, expected at most {MAX_BYTES:,}")
    data = Path(path).read_bytes()
    if b"\0" in data[:65536]:
        raise TextFileError("the file is binary, expected text in UTF-8: lines, CSV or JSON lines")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TextFileError(f"the file is no UTF-8 text at byte {error.start:,}, expected UTF-8") from error
    if kind == ".jsonl":
        pairs = _json_lines(text)
    elif kind in (".csv", ".tsv"):
        pairs = _table(text, "\t" if kind == ".tsv" else ",")
    else:
        pairs = [(line, "") for line in text.splitlines()]
    return sampled([(_one_line(text), _one_line(where)[:60]) for text, where in pairs if text.strip()])


def sampled(pairs: list[tuple[str, str]]) -> Texts:
    """At most MAX_TEXTS of the texts, by a draw that is the same every time, each at most MAX_CHARACTERS long."""
    if not pairs:
        raise TextFileError("the file holds no text, expected at least two")
    if len(pairs) < 2:
        raise TextFileError("the file holds a single text, expected at least two: a map needs something to compare")
    said = f"{len(pairs):,} texts."
    if len(pairs) > MAX_TEXTS:
        said = f"{len(pairs):,} texts, of which {MAX_TEXTS:,} were drawn by lot."
        chosen = sorted(random.Random(0).sample(range(len(pairs)), MAX_TEXTS))
        pairs = [pairs[i] for i in chosen]
    long = sum(len(text) > MAX_CHARACTERS for text, _ in pairs)
    if long:
        said += f" {long:,} of them {'is' if long == 1 else 'are'} cut to {MAX_CHARACTERS:,} characters."
    return Texts([text[:MAX_CHARACTERS] for text, _ in pairs], [where for _, where in pairs], said)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _json_lines(text: str) -> list[tuple[str, str]]:
    pairs = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise TextFileError(f"line {number:,} is no JSON ({error}), expected an object a line") from error
        if isinstance(entry, str):
            entry = {"text": entry}
        if not isinstance(entry, dict):
            raise TextFileError(f"line {number:,} is {type(entry).__name__}, expected an object with a text")
        found = next((entry[key] for key in TEXT_NAMES if isinstance(entry.get(key), str)), None)
        if found is None:
            raise TextFileError(f"line {number:,} has no text, expected a key {' or '.join(map(repr, TEXT_NAMES))}")
        where = next((str(entry[key]) for key in SET_NAMES if isinstance(entry.get(key), str | int)), "")
        pairs.append((found, where))
    return pairs


def _table(text: str, delimiter: str) -> list[tuple[str, str]]:
    csv.field_size_limit(MAX_CELL)
    try:
        rows = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter, strict=True) if row]
    except csv.Error as error:
        raise TextFileError(f"the table is broken ({error}), expected CSV with quoted cells") from error
    if not rows:
        return []
    head = [cell.strip().lower() for cell in rows[0]]
    column = next((head.index(name) for name in TEXT_NAMES if name in head), None)
    if column is None:  # no line of names, or none that is known: the column with the most characters
        widths = [sum(len(row[i]) for row in rows[:200] if i < len(row)) for i in range(len(rows[0]))]
        return [(row[widths.index(max(widths))], "") for row in rows if len(row) > widths.index(max(widths))]
    where = next((head.index(name) for name in SET_NAMES if name in head), None)
    return [
        (row[column], row[where] if where is not None and where < len(row) else "")
        for row in rows[1:]
        if len(row) > column
    ]

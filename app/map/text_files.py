"""Texts from a file that somebody uploads: lines, a table or JSON, checked before anything else is done with them."""

from __future__ import annotations

import codecs
import csv
import dataclasses
import io
import itertools
import os
import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from .json_entries import json_entries
from .text_file_error import BREAK, HALF_CHARACTER, MAX_SET, MOST_COLUMNS, TextFileError, quoted

MAX_BYTES = 20 << 20
MAX_TEXTS = 5000  # more are sampled
MAX_CHARACTERS = 2000  # of a text; what is longer is cut
MAX_CELL = 1 << 20
TEXT_NAMES = ("text", "sentence", "content", "prompt", "story", "body")
ENDINGS = (".txt", ".csv", ".tsv", ".jsonl", ".ndjson", ".json")
LOOKED_AT = 20  # rows by which the delimiter of a table without names is found, and the columns that hold texts
TABLES = {".csv": ",", ".tsv": "\t"}  # with their usual delimiters
JSON = (".json", ".jsonl", ".ndjson")
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab"}
# what a file in another encoding than plain UTF-8 begins with; the marks of UTF-32 begin with those of UTF-16
MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be"),
         (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))  # fmt: skip
SEPARATOR = re.compile(r'"?sep=([^"\r\n])"?[,;\t]*(?=[\r\n]|$)', re.IGNORECASE)  # Excel's first line of a table
NUMBER = re.compile(r"[-+]?[\d.,]*\d[\d.,]*%?")
MOST_FOUND = 12  # columns or keys that a sentence names
SET_NAMES = ("set", "label", "class", "category", "source", "split")


@dataclasses.dataclass(frozen=True)
class Texts:
    """Texts and the set that each belongs to ("" where the file names none). note: what was left out, for people.
    written: false for names of points that came without texts.
    """

    texts: list[str]
    sets: list[str]
    note: str = ""
    written: bool = True


def read_texts(path: str | Path, name: str = "", column: str = "") -> Texts:
    """Reads a file of lines (.txt), a table (.csv, .tsv), JSON lines (.jsonl, .ndjson) or JSON (.json): an array, or
    values one after another.

    It is in UTF-8, or begins with the byte order mark of UTF-16 or UTF-32. column: where the texts stand, one that
    `text_columns` names; one of TEXT_NAMES if absent, else the longest of a table, which the note then says. Raises
    TextFileError, OSError.
    """
    (kind, text), about = _opened(path, name), ""
    if kind in JSON:
        pairs = [_entry(entry, line, column) for line, entry in json_entries(kind, text)]
    elif kind in TABLES:
        pairs, about = _table(text, TABLES[kind], column)
    else:
        pairs = [(line, "") for line in text.splitlines()]
    found = sampled([(text, where) for text, where in pairs if text.strip()])
    return dataclasses.replace(found, note=f"{found.note} {about}".rstrip())


def text_columns(path: str | Path, name: str = "") -> list[str]:
    """The columns of a table, or the keys of JSON, that hold texts, by its first LOOKED_AT rows. Where the first row
    holds no known name, columns are named "column 1", ... Raises TextFileError, OSError.
    """
    kind, text = _opened(path, name)
    if kind in TABLES:
        return _columns_of_texts(list(itertools.islice(_rows(*_with_delimiter(text, TABLES[kind])), LOOKED_AT)))
    if kind in JSON:
        found = [entry for _, entry in itertools.islice(json_entries(kind, text), LOOKED_AT) if isinstance(entry, dict)]
        keys = dict.fromkeys(key for entry in found for key in entry if key not in SET_NAMES)
        return [key for key in keys if _mostly_words(entry[key] for entry in found if isinstance(entry.get(key), str))]
    return []


def _opened(path: str | Path, name: str) -> tuple[str, str]:
    """The ending of a file and its text."""
    size = os.path.getsize(path)
    if size > MAX_BYTES:
        raise TextFileError(f"the file has {size:,} bytes, expected at most {MAX_BYTES:,}")
    return Path(name or path).suffix.lower(), _decoded(Path(path).read_bytes())


def _mostly_words(cells: Iterable[str]) -> bool:
    filled = [cell for cell in cells if cell.strip()]
    return sum(any(character.isalpha() for character in cell) for cell in filled) > len(filled) / 2


def _decoded(data: bytes) -> str:
    mark, encoding = next(((mark, name) for mark, name in MARKS if data.startswith(mark)), (b"", "utf-8"))
    if encoding == "utf-8" and b"\0" in data[:65536]:
        raise TextFileError("the file is binary, expected text in UTF-8: lines, a table or JSON")
    data = data[len(mark) :]
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = len(BREAK.findall(data[: error.start].decode(encoding, "replace"))) + 1
        where, name = len(mark) + error.start, encoding[:6].upper()
        raise TextFileError(f"line {line:,} is no {name} text at byte {where:,}, expected whole characters") from error


def sampled(pairs: list[tuple[str, str]]) -> Texts:
    """At most MAX_TEXTS of the texts, by a draw that is the same every time, each in one line of at most MAX_CHARACTERS
    and with the set in whose name it stands.
    """
    if not pairs:
        raise TextFileError("the file holds no text, expected at least two")
    if len(pairs) < 2:
        raise TextFileError("the file holds a single text, expected at least two: a map needs something to compare")
    note = f"{len(pairs):,} texts."
    if len(pairs) > MAX_TEXTS:
        note = f"{len(pairs):,} texts, of which {MAX_TEXTS:,} were drawn at random."
        chosen = sorted(random.Random(0).sample(range(len(pairs)), MAX_TEXTS))
        pairs = [pairs[i] for i in chosen]
    pairs = [(_one_line(text), _one_line(where)[:MAX_SET]) for text, where in pairs]
    long = sum(len(text) > MAX_CHARACTERS for text, _ in pairs)
    if long:
        note += f" {long:,} of them {'is' if long == 1 else 'are'} cut to {MAX_CHARACTERS:,} characters."
    return Texts([text[:MAX_CHARACTERS] for text, _ in pairs], [where for _, where in pairs], note)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _kind(value: Any) -> str:
    """What a value of JSON is called."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    names = (("a text", str), ("a number", int | float), ("a list", list), ("an object", dict))
    return next(name for name, kind in names if isinstance(value, kind))


def _entry(entry: Any, line: int, column: str) -> tuple[str, str]:
    """The text and the set of an entry that begins in this line. column: the key of the text, if it is not a usual."""
    if isinstance(entry, str):
        entry = {"text": entry}
    if not isinstance(entry, dict):
        raise TextFileError(f"line {line:,} is {_kind(entry)}, expected an object with a text")
    names = (column,) if column else TEXT_NAMES
    found = next((entry[key] for key in names if isinstance(entry.get(key), str)), None)
    if found is None:
        other = next((key for key in names if key in entry), None)
        if other is not None:
            raise TextFileError(f"line {line:,} has {_kind(entry[other])} under {quoted(other)}, expected a text")
        wanted = f"expected a key {' or '.join(map(repr, names))}"
        raise TextFileError(f"line {line:,} has no text, {wanted}; found {_listed(map(quoted, entry)) or 'none'}")
    where = next((str(entry[key]) for key in SET_NAMES if isinstance(entry.get(key), str | int)), "")
    for part in (found, where):
        half = HALF_CHARACTER.search(part)
        if half:
            raise TextFileError(f"line {line:,} has half a character, U+{ord(half[0]):04X}, expected whole characters")
    return found, where


# tables


def _column_names(rows: Sequence[tuple[int, list[str]]], named: bool) -> list[str]:
    """Raises TextFileError where two columns have one name. named: what `_named` says."""
    if not rows:
        return []
    line, names = rows[0][0], [cell.strip() for cell in rows[0][1]]
    if not named:
        return [f"column {i}" for i, _ in enumerate(names, 1)]
    for name, count in Counter(name.lower() for name in names if name).items():
        if count > 1:
            raise TextFileError(
                f"line {line:,} has {count} columns of the name {quoted(name)}, expected each name once"
            )
    return [name or f"column {i}" for i, name in enumerate(names, 1)]


def _named(rows: Sequence[tuple[int, list[str]]]) -> bool:
    """Is the first row one of names: is one of them known, stands a word above a column of numbers, or one word above
    two columns that do not hold it?
    """
    if not rows:
        return False
    cells, below = [cell.strip() for cell in rows[0][1]], [row for _, row in rows[1:LOOKED_AT]]
    if any(cell.lower() in (*TEXT_NAMES, *SET_NAMES, "id") for cell in cells):
        return True
    alike = Counter(cell.lower() for cell in cells)
    columns = [[row[i].strip() for row in below if len(row) > i and row[i].strip()] for i in range(len(cells))]
    return any(
        column
        and any(map(str.isalpha, cell))
        and (
            all(map(NUMBER.fullmatch, column))
            or (alike[cell.lower()] > 1 and cell.isidentifier() and cell.lower() not in map(str.lower, column))
        )
        for cell, column in zip(cells, columns, strict=True)
    )


def _columns_of_texts(rows: Sequence[tuple[int, list[str]]]) -> list[str]:
    """Those of a table that `rows` begin, by their names."""
    named = _named(rows)
    data = [row for _, row in rows[named:LOOKED_AT]]
    names = enumerate(_column_names(rows, named))
    texts = [name for i, name in names if _mostly_words(row[i] for row in data if len(row) > i)]
    return [name for name in texts if name.lower() not in SET_NAMES]


def _table(text: str, usual: str, chosen: str) -> tuple[list[tuple[str, str]], str]:
    """The texts with their sets, and what is to be said of the columns. usual: the delimiter of such a file, where it
    does not say otherwise. chosen: a name of `_column_names`, or "".
    """
    text, delimiter = _with_delimiter(text, usual)
    rows, about = list(_rows(text, delimiter)), ""
    if not rows:
        return [], about
    names = [cell.strip().lower() for cell in rows[0][1]]
    named = _named(rows)
    known = _column_names(rows, named)
    column = next((names.index(name) for name in TEXT_NAMES if name in names), None)
    if chosen and chosen not in known:
        raise TextFileError(f"the table has no column {chosen!r}, expected one of {_listed(map(quoted, known))}")
    for number, row in rows:
        if any(cell.strip() for cell in row[len(names) :]) or (column is None and len(row) < len(names)):
            cells = "a single cell" if len(row) == 1 else f"{len(row)} cells"
            note = f"line {number:,} has {cells}, expected {len(names)} as in line {rows[0][0]:,}"
            name = DELIMITERS.get(delimiter, repr(delimiter))
            raise TextFileError(f"{note}: a text that holds a {name} needs quotes around it")
    data = rows[named:]
    if chosen:
        column = known.index(chosen)
    elif column is None:  # no name that is known: the column with the most characters
        widths = [sum(len(row[i]) for _, row in data[:200]) for i in range(len(names))]
        column = widths.index(max(widths))
        if len(_columns_of_texts(rows)) > 1:
            about = _about_columns(known, rows[0][1], named, column)
    where = next((names.index(name) for name in SET_NAMES if name in names), None) if named else None
    pairs = [
        (row[column], row[where] if where is not None and where < len(row) else "")
        for _, row in data
        if len(row) > column
    ]
    return pairs, about


def _about_columns(names: Sequence[str], first: Sequence[str], named: bool, shown: int) -> str:
    """Which columns there are, where no name says which one holds the texts. first: the cells of the first row."""
    begins = [f"{quoted(name)} (“{_one_line(cell)[:30]}”)" for name, cell in zip(names, first, strict=True)]
    found = _listed(map(quoted, names) if named else begins)
    note = f"No column is named {' or '.join(TEXT_NAMES)}. Found {found}; shown is {quoted(names[shown])}, the longest"
    note += ": choose another under “Column with the texts”."
    return note if named else f"{note} The first row counts as a text, for it holds no name that is known."


def _listed(names: Iterable[str]) -> str:
    """Names for a sentence, not all if they are many."""
    found = list(names)
    return ", ".join(found[:MOST_FOUND]) + (f" and {len(found) - MOST_FOUND} more" if len(found) > MOST_FOUND else "")


def _with_delimiter(text: str, usual: str) -> tuple[str, str]:
    """(the rows of a table, their delimiter). A first line that only names it is emptied: its end still counts."""
    told = SEPARATOR.match(text)
    return (text, _delimiter(text, usual)) if told is None else (text[told.end() :], told[1])


def _delimiter(text: str, usual: str) -> str:
    """The delimiter with which the first row is a line of known names, or else all of the first rows are alike, or else
    most of them, where the usual one divides not even the first: what is not alike is refused by its line then.
    """
    firsts = {}
    for delimiter in (usual, *DELIMITERS):
        try:
            firsts[delimiter] = [row for _, row in itertools.islice(_rows(text, delimiter), LOOKED_AT)]
        except TextFileError:  # the quotes may be in their places with another one
            firsts[delimiter] = []
    for delimiter, rows in firsts.items():
        if rows and any(cell.strip().lower() in TEXT_NAMES for cell in rows[0]):
            return delimiter
    for delimiter, rows in firsts.items():
        cells = {len(row) for row in rows}
        if len(cells) == 1 and cells != {1}:
            return delimiter
    divided = bool(firsts[usual]) and len(firsts[usual][0]) > 1
    for delimiter, rows in firsts.items():
        alike = sum(len(row) == len(rows[0]) for row in rows)
        if not divided and 2 * alike > len(rows) and len(rows[0]) > 1:
            return delimiter
    return usual


def _rows(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The rows of a table that are not empty, each with the line that it begins in."""
    csv.field_size_limit(MAX_CELL)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        number = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            note = f"the table is broken in the row that begins in line {number:,} ({error})"
            raise TextFileError(f"{note}, expected CSV with quoted cells") from error
        if len(row) > MOST_COLUMNS:
            raise TextFileError(f"line {number:,} has {len(row):,} cells, expected at most {MOST_COLUMNS:,}")
        if row:
            yield number, row

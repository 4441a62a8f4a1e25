"""What is wrong with an uploaded file of texts, and the bounds and marks that its readers share."""

from __future__ import annotations

import re

MAX_SET = 60  # characters of a set's name
MOST_COLUMNS = 1000  # of a table, and keys of an entry of JSON
BREAK = re.compile(r"\r\n|\r|\n")  # of JSON lines and of tables, where U+2028 and its like are characters as any other
HALF_CHARACTER = re.compile(r"[\ud800-\udfff]")


class TextFileError(ValueError):
    """A file holds no texts that can be used; the message says what was found and what was wanted."""


def quoted(name: str) -> str:
    """A name from a file for a sentence, cut where it is long."""
    return repr(name if len(name) <= MAX_SET else f"{name[:MAX_SET]}…")

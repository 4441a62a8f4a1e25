"""Paths of files: whether there can be one of this name, whether it could be written, asked before the work whose
result it is to hold, and writing it.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


def can_be_a_path(path: str | os.PathLike[str]) -> bool:
    """May a file have this path? None has a null character in it, or half of a surrogate pair, which has no bytes (but
    for those halves that stand for a byte of a name that is no text).
    """
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        return False


def why_unwritable(folder: Path) -> str | None:
    """Why no file can be made in `folder`, or in the nearest folder above it that exists; None where one can.

    It is tried: permissions do not tell of a file system that is read-only, full or no place for files (/proc).
    """
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return f"{folder}: {error.strerror}"


@contextlib.contextmanager
def written_whole(file: Path) -> Iterator[Path]:
    """Gives the path to write to, which takes the place of `file` when the block ends without an error.

    After an error `file` is as it was, and what was half written is removed.
    """
    partial = file.with_name(f".{file.name}.{os.getpid()}.partial")
    try:
        yield partial
        os.replace(partial, file)
    finally:
        partial.unlink(missing_ok=True)

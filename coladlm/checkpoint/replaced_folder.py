"""Writes a folder whole or not at all: beside its place first, then moved there in the place of what stood there."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from .links import in_a_circle


@contextlib.contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """Gives an empty folder to write into, which becomes `folder` when the block ends without an error.

    After an error, or where the process is killed at any moment, what `folder` held before is there still (look for it
    with `standing_folder`) and what was half written is removed, by the next call at the latest. One writer at a time.
    """
    folder = Path(os.path.realpath(folder))
    partial, previous = _sibling(folder, "partial"), _sibling(folder, "previous")
    folder.parent.mkdir(parents=True, exist_ok=True)
    _restore(folder, previous)
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir()
    try:
        yield partial
        readable = stat.S_IMODE(partial.stat().st_mode) & 0o666  # what the umask allows; some writers allow less
        for entry in (*partial.rglob("*"), partial):
            if entry.is_file():
                entry.chmod(readable)
            _flush(entry)
        if previous.exists():
            shutil.rmtree(previous)
        if folder.exists():
            folder.rename(previous)
        partial.rename(folder)
        _flush(folder.parent)
    finally:
        _restore(folder, previous)
        shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(previous, ignore_errors=True)


def standing_folder(folder: Path) -> Path:
    """`folder`, or what it held before where a process was killed while it moved the new one into its place."""
    # os.path has an answer for every path, where pathlib raises for a loop of links, a name too long, a closed folder
    if os.path.exists(folder):
        return folder
    previous = _sibling(Path(os.path.realpath(folder)), "previous")
    return previous if os.path.isdir(previous) else folder


def found_at(path: Path) -> str:
    """What there is where a folder was expected, for a sentence."""
    try:
        path.stat()
    except FileNotFoundError:
        return "nothing"
    except OSError as error:
        return in_a_circle(path) or f"nothing that can be opened ({error.strerror})"
    return "a file"


def _sibling(folder: Path, what: str) -> Path:
    """A fixed name, so that a call finds what an earlier one left behind."""
    return folder.with_name(f".{folder.name}.{what}")


def _restore(folder: Path, previous: Path) -> None:
    if previous.exists() and not folder.exists():
        previous.rename(folder)


def _flush(path: Path) -> None:
    """Waits until a file or folder is on the disk, so that a rename never overtakes what it names."""
    if path.is_dir() and os.name == "nt":  # Windows has no handle on a folder
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

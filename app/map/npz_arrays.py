"""Arrays of an uploaded .npz file, each checked by its header before it is read; nothing is unpickled."""

from __future__ import annotations

import contextlib
import lzma
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from .text_file_error import TextFileError

MOST_UNPACKED = 128 << 20  # bytes of an array
MOST_DIRECTORY = 1 << 20  # bytes of the archive's directory, which is read at once
END_OF_DIRECTORY, END_BYTES, ZIP64_LOCATOR, LOCATOR_BYTES = b"PK\5\6", 22, b"PK\6\7", 20
MOST_LENGTH = 1e12  # of a number: its square and the sum of many are still numbers
# what a damaged archive, array or text in it comes to
DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, tokenize.TokenError, ValueError, TypeError,
           KeyError, EOFError, NotImplementedError, RuntimeError)  # fmt: skip


@contextlib.contextmanager
def opened_npz(path: str | Path, most_bytes: int) -> Iterator[zipfile.ZipFile]:
    """The archive, once its size is checked. What is wrong with it in the block is a TextFileError."""
    size = os.path.getsize(path)
    if size > most_bytes:
        raise TextFileError(f"the file has {size:,} bytes, expected at most {most_bytes:,}")
    try:
        _check_directory(path, size)
        with zipfile.ZipFile(path) as archive:
            yield archive
    except TextFileError:
        raise
    except DAMAGED as error:
        raise TextFileError(f"the file is no .npz file or a damaged one ({error}), expected one of numpy") from error


def _check_directory(path: str | Path, size: int) -> None:
    """That the archive's directory is small, by its end record (APPNOTE.TXT 4.3.16), found as `zipfile` finds it."""
    with open(path, "rb") as file:
        file.seek(max(0, size - END_BYTES - 0xFFFF))
        tail = file.read()
    plain = tail[-END_BYTES:].startswith(END_OF_DIRECTORY) and tail.endswith(b"\0\0")
    at = len(tail) - END_BYTES if plain else tail.rfind(END_OF_DIRECTORY)
    if not 0 <= at <= len(tail) - END_BYTES:
        return  # no archive, as `zipfile` will say
    directory = struct.unpack_from("<I", tail, at + 12)[0]
    if directory > MOST_DIRECTORY or tail[max(0, at - LOCATOR_BYTES) : at].startswith(ZIP64_LOCATOR):
        raise TextFileError(f"the file lists more arrays than fit into {MOST_DIRECTORY:,} bytes, expected a few")


def array_names(archive: zipfile.ZipFile) -> list[str]:
    return [name.removesuffix(".npy") for name in archive.namelist()]


def read_array(
    archive: zipfile.ZipFile, name: str, kinds: str, wanted: str, bounds: Sequence[tuple[int, int]], expected: str = ""
) -> np.ndarray:
    """An array of one of the kinds of dtype, whose shape lies within the bounds (least, most) of each axis.

    wanted: what it holds, for people. expected: the bounds in words. Raises TextFileError, and those of DAMAGED.
    """
    try:
        member = archive.getinfo(f"{name}.npy")
    except KeyError as error:
        there = ", ".join(map(repr, array_names(archive)[:5])) or "nothing"
        raise TextFileError(f"the file holds {there}, expected an array {name!r}") from error
    if member.file_size > MOST_UNPACKED:
        found = f"{name!r} takes {member.file_size:,} bytes unpacked"
        raise TextFileError(f"{found}, expected at most {MOST_UNPACKED:,}")
    with archive.open(member) as opened:
        version = np.lib.format.read_magic(opened)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(opened)
    if dtype.kind not in kinds or len(shape) != len(bounds):
        raise TextFileError(f"{name!r} is {dtype} of shape {shape}, expected {wanted}")
    if not all(least <= length <= most for length, (least, most) in zip(shape, bounds, strict=True)):
        lengths = [f"{least:,}" if least == most else f"{least:,} to {most:,}" for least, most in bounds]
        raise TextFileError(f"{name!r} has shape {shape}, expected {expected or ' by '.join(lengths)}")
    if int(np.prod(shape, dtype=object)) * dtype.itemsize > member.file_size:
        raise TextFileError(f"{name!r} is cut off, expected all of its {shape} entries")
    with archive.open(member) as opened:
        return np.lib.format.read_array(opened, allow_pickle=False)


def moderate(numbers: np.ndarray, most: float = MOST_LENGTH) -> np.ndarray:
    """Which of the numbers are finite and less than `most` in size."""
    return np.abs(numbers.astype(np.float64)) < most

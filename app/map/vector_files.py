"""Vectors of one's own from an .npz file, every array checked by its header before it is read; nothing is unpickled."""

from __future__ import annotations

import os
import random
import re
import zipfile
from pathlib import Path

import numpy as np

from .text_files import MAX_BYTES, MAX_CHARACTERS, MAX_TEXTS, TextFileError, Texts

ENDING = ".npz"
VECTORS, TEXTS = "vectors", "texts"
MOST_UNPACKED = 128 << 20  # bytes of an array
MOST_VECTORS, MOST_NUMBERS = 100_000, 1024
MOST_LENGTH = 1e12  # of a number: its square and the sum of many are still numbers


def read_vectors(path: str | Path) -> tuple[Texts, np.ndarray]:
    """The texts and the vectors (n, d) in float32 of an .npz file: `vectors` (n, d), numbers, and, where it has them,
    `texts` (n,), text. Of more than MAX_TEXTS, as many are drawn by lot. Raises TextFileError, OSError.
    """
    size = os.path.getsize(path)
    if size > MAX_BYTES:
        raise TextFileError(f"the file has {size:,} bytes, expected at most {MAX_BYTES:,}")
    try:
        with zipfile.ZipFile(path) as archive:
            vectors = _checked(_read(archive, VECTORS, 2, "fiu", "numbers"))
            named = f"{TEXTS}.npy" in archive.namelist()
            texts = _read(archive, TEXTS, 1, "U", "text").tolist() if named else []
    except (zipfile.BadZipFile, ValueError, KeyError, EOFError, NotImplementedError, RuntimeError) as error:
        if isinstance(error, TextFileError):
            raise
        raise TextFileError(f"the file is no .npz file or a damaged one ({error}), expected one of numpy") from error
    if named and len(texts) != len(vectors):
        raise TextFileError(f"the file has {len(texts):,} texts and {len(vectors):,} vectors, expected as many of each")
    if any(re.search(r"[\ud800-\udfff]", text) for text in texts):
        raise TextFileError("a text has half a character, expected whole characters")
    names = [" ".join(text.split())[:MAX_CHARACTERS] for text in texts]
    return _sampled(names or [f"point {i:,}" for i in range(1, len(vectors) + 1)], vectors, named)


def _read(archive: zipfile.ZipFile, name: str, axes: int, kinds: str, wanted: str) -> np.ndarray:
    try:
        member = archive.getinfo(f"{name}.npy")
    except KeyError as error:
        there = ", ".join(repr(each.removesuffix(".npy")) for each in archive.namelist()[:5]) or "nothing"
        raise TextFileError(f"the file holds {there}, expected an array {VECTORS!r}") from error
    if member.file_size > MOST_UNPACKED:
        found = f"{name!r} takes {member.file_size:,} bytes unpacked"
        raise TextFileError(f"{found}, expected at most {MOST_UNPACKED:,}")
    with archive.open(member) as opened:
        version = np.lib.format.read_magic(opened)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(opened)
    if dtype.kind not in kinds or len(shape) != axes:
        expected = "(n, d)" if axes == 2 else "(n,)"
        raise TextFileError(f"{name!r} is {dtype} of shape {shape}, expected {wanted} of shape {expected}")
    if axes == 2 and not (2 <= shape[0] <= MOST_VECTORS and 1 <= shape[1] <= MOST_NUMBERS):
        expected = f"2 to {MOST_VECTORS:,} vectors of 1 to {MOST_NUMBERS:,} numbers"
        raise TextFileError(f"{name!r} has shape {shape}, expected {expected}")
    if int(np.prod(shape, dtype=object)) * dtype.itemsize > member.file_size:
        raise TextFileError(f"{name!r} is cut off, expected all of its {shape} entries")
    with archive.open(member) as opened:
        return np.lib.format.read_array(opened, allow_pickle=False)


def _checked(vectors: np.ndarray) -> np.ndarray:
    if not (np.abs(vectors.astype(np.float64)) < MOST_LENGTH).all():  # nor is what is no number
        row = int(np.flatnonzero(~(np.abs(vectors.astype(np.float64)) < MOST_LENGTH).all(1))[0])
        raise TextFileError(
            f"vector {row + 1:,} holds NaN or a number of {MOST_LENGTH:g} or more, expected finite ones"
        )
    vectors = vectors.astype(np.float32)
    if (vectors == vectors[0]).all():
        raise TextFileError("all vectors are the same, expected at least two that differ")
    return vectors


def _sampled(names: list[str], vectors: np.ndarray, named: bool) -> tuple[Texts, np.ndarray]:
    note = f"{len(names):,} vectors of your own."
    chosen = list(range(len(names)))
    if len(names) > MAX_TEXTS:
        note = f"{len(names):,} vectors of your own, of which {MAX_TEXTS:,} were drawn by lot."
        chosen = sorted(random.Random(0).sample(chosen, MAX_TEXTS))
    return Texts([names[i] for i in chosen], [""] * len(chosen), note, named), vectors[chosen]

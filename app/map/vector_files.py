"""Vectors of one's own from an .npz file."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np

from .npz_arrays import MOST_LENGTH, array_names, moderate, opened_npz, read_array
from .text_file_error import HALF_CHARACTER, TextFileError
from .text_files import MAX_BYTES, MAX_CHARACTERS, MAX_TEXTS, Texts

ENDING = ".npz"
VECTORS, TEXTS = "vectors", "texts"
MOST_VECTORS, MOST_NUMBERS = 100_000, 1024
BOUNDS = ((2, MOST_VECTORS), (1, MOST_NUMBERS))
EXPECTED = f"2 to {MOST_VECTORS:,} vectors of 1 to {MOST_NUMBERS:,} numbers"


def read_vectors(path: str | Path) -> tuple[Texts, np.ndarray]:
    """The texts and the vectors (n, d) in float32 of an .npz file: `vectors` (n, d), numbers, and, where it has them,
    `texts` (n,), text. Of more than MAX_TEXTS, as many are drawn at random. Raises TextFileError, OSError.
    """
    with opened_npz(path, MAX_BYTES) as archive:
        vectors = checked_vectors(read_array(archive, VECTORS, "fiu", "numbers of shape (n, d)", BOUNDS, EXPECTED))
        named = TEXTS in array_names(archive)
        texts = read_array(archive, TEXTS, "U", "text of shape (n,)", BOUNDS[:1]).tolist() if named else []
    if named and len(texts) != len(vectors):
        raise TextFileError(f"the file has {len(texts):,} texts and {len(vectors):,} vectors, expected as many of each")
    if any(HALF_CHARACTER.search(text) for text in texts):
        raise TextFileError("a text has half a character, expected whole characters")
    names = [" ".join(text.split())[:MAX_CHARACTERS] for text in texts]
    return _sampled(names or [f"point {i:,}" for i in range(1, len(vectors) + 1)], vectors, named)


def checked_vectors(vectors: np.ndarray) -> np.ndarray:
    """Vectors (n, d) in float32, finite and not all the same. Raises TextFileError."""
    fine = moderate(vectors).all(1)
    if not fine.all():
        raise TextFileError(
            f"vector {int(fine.argmin()) + 1:,} holds NaN or a number of {MOST_LENGTH:g} or more, expected finite ones"
        )
    vectors = vectors.astype(np.float32)
    if (vectors == vectors[0]).all():
        raise TextFileError("all vectors are the same, expected at least two that differ")
    return vectors


def _sampled(names: list[str], vectors: np.ndarray, named: bool) -> tuple[Texts, np.ndarray]:
    note = f"{len(names):,} vectors of your own."
    chosen = list(range(len(names)))
    if len(names) > MAX_TEXTS:
        note = f"{len(names):,} vectors of your own, of which {MAX_TEXTS:,} were drawn at random."
        chosen = sorted(random.Random(0).sample(chosen, MAX_TEXTS))
    return Texts([names[i] for i in chosen], [""] * len(chosen), note, named), vectors[chosen]

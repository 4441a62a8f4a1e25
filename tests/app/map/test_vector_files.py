"""Vectors out of uploaded .npz files: what fits is read, what does not is a sentence, and nothing is unpickled."""

import io
import zipfile

import numpy as np
import pytest

from app.map.text_files import MAX_TEXTS, TextFileError
from app.map.vector_files import read_vectors


def write(tmp_path, **arrays):
    file = tmp_path / "mine.npz"
    np.savez_compressed(file, **arrays)
    return file


def points(n, d=3):
    return np.random.default_rng(0).normal(size=(n, d))


@pytest.mark.parametrize("dtype", ["f2", "f4", ">f8", "i4", "u1"])
def test_vectors_with_texts(tmp_path, dtype):
    vectors = (10 * np.abs(points(4))).astype(dtype)
    texts, found = read_vectors(write(tmp_path, vectors=vectors, texts=np.array(["a", "b\nc", "d", "e"])))
    assert texts.texts == ["a", "b c", "d", "e"] and texts.written
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, vectors)


def test_vectors_without_texts_are_numbered(tmp_path):
    texts, _ = read_vectors(write(tmp_path, vectors=points(3)))
    assert texts.texts == ["point 1", "point 2", "point 3"] and not texts.written


def test_of_many_vectors_some_are_drawn_with_their_texts(tmp_path):
    vectors = np.arange(MAX_TEXTS + 100.0)[:, None]
    texts, found = read_vectors(write(tmp_path, vectors=vectors, texts=np.array([str(i) for i in range(len(vectors))])))
    assert len(found) == MAX_TEXTS and "drawn at random" in texts.note
    assert [float(text) for text in texts.texts] == found[:, 0].tolist()


@pytest.mark.parametrize(
    ("arrays", "note"),
    [
        ({"other": points(3)}, "the file holds 'other', expected an array 'vectors'"),
        ({"vectors": points(3)[0]}, r"'vectors' is float64 of shape \(3,\), expected numbers of shape \(n, d\)"),
        ({"vectors": np.array([["a"], ["b"]])}, "expected numbers"),
        ({"vectors": points(3).astype(complex)}, "expected numbers"),
        ({"vectors": np.array([[1], [None]], object)}, "'vectors' is object"),
        ({"vectors": points(1)}, "expected 2 to 100,000 vectors"),
        ({"vectors": points(2, 1025)}, "of 1 to 1,024 numbers"),
        ({"vectors": points(2, 0)}, "of 1 to 1,024 numbers"),
        ({"vectors": np.array([[1.0], [np.nan]])}, "vector 2 holds NaN"),
        ({"vectors": np.array([[np.inf], [1.0]])}, "vector 1 holds NaN or a number"),
        ({"vectors": np.array([[1.0], [1e38]])}, r"vector 2 holds NaN or a number of 1e\+12 or more"),
        ({"vectors": np.ones((3, 2))}, "all vectors are the same"),
        ({"vectors": points(3), "texts": np.array(["a", "b"])}, "2 texts and 3 vectors"),
        ({"vectors": points(3), "texts": np.array([1, 2, 3])}, "'texts' is int64"),
        ({"vectors": points(2), "texts": np.array(["a", None], object)}, "'texts' is object"),
        ({"vectors": points(2), "texts": np.array(["a", "\ud800"])}, "half a character"),
    ],
)
def test_arrays_that_do_not_fit_are_a_sentence(tmp_path, arrays, note):
    with pytest.raises(TextFileError, match=note):
        read_vectors(write(tmp_path, **arrays))


def test_an_array_that_unpacks_to_too_much_is_not_unpacked(tmp_path):
    file = tmp_path / "bomb.npz"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("vectors.npy", "w") as out:
        for _ in range(129):
            out.write(bytes(1 << 20))
    assert file.stat().st_size < 1 << 20
    with pytest.raises(TextFileError, match="bytes unpacked, expected at most"):
        read_vectors(file)


def test_a_header_that_promises_more_than_is_there_is_refused(tmp_path):
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": (100_000, 1024)})
    file = tmp_path / "short.npz"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("vectors.npy", head.getvalue() + bytes(64))
    with pytest.raises(TextFileError, match="'vectors' is cut off"):
        read_vectors(file)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no archive"])
def test_what_is_no_npz_is_a_sentence(tmp_path, content):
    file = tmp_path / "mine.npz"
    file.write_bytes(content)
    with pytest.raises(TextFileError, match=r"no \.npz file or a damaged one"):
        read_vectors(file)

"""Texts out of uploaded files: what can be read is read, what cannot is a sentence."""

import json

import pytest

from app.text_files import MAX_CHARACTERS, MAX_TEXTS, TextFileError, read_texts


def write(tmp_path, name, content):
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def test_lines(tmp_path):
    found = read_texts(write(tmp_path, "a.txt", "﻿one text\r\n\n  another   text \n"))
    assert found.texts == ["one text", "another text"]
    assert found.said == "2 texts."


def test_a_table_with_names(tmp_path):
    table = 'id,Text,label\n1,"a, b\nc",x\n2,"he said ""no""",y\n3,,z\n'
    found = read_texts(write(tmp_path, "a.csv", table))
    assert found.texts == ["a, b c", 'he said "no"']
    assert found.sets == ["x", "y"]


def test_a_table_without_names_reads_its_longest_column(tmp_path):
    found = read_texts(write(tmp_path, "a.tsv", "1\tthe cat sat\n2\tthe dog ran\n"))
    assert found.texts == ["the cat sat", "the dog ran"]


def test_json_lines(tmp_path):
    lines = [json.dumps({"text": "a\nb", "set": 3}), "", json.dumps("plain"), json.dumps({"content": "c"})]
    found = read_texts(write(tmp_path, "a.jsonl", "\n".join(lines)))
    assert found.texts == ["a b", "plain", "c"]
    assert found.sets == ["3", "", ""]


def test_a_million_lines_are_drawn_by_lot_the_same_every_time(tmp_path):
    file = write(tmp_path, "a.txt", "".join(f"line {i}\n" for i in range(1_000_000)))
    found = read_texts(file)
    assert len(found.texts) == MAX_TEXTS
    assert found.said == "1,000,000 texts, of which 5,000 were drawn by lot."
    assert found == read_texts(file)


def test_long_texts_are_cut_and_that_is_said(tmp_path):
    found = read_texts(write(tmp_path, "a.txt", "x" * 5000 + "\nshort"))
    assert len(found.texts[0]) == MAX_CHARACTERS
    assert "1 of them is cut" in found.said


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", bytes(range(256)), "the file is binary"),
        ("a.txt", b"caf\xe9\nlatin\n", "no UTF-8 text at byte 3"),
        ("a.txt", "", "no text, expected at least two"),
        ("a.txt", "\n \n", "no text, expected at least two"),
        ("a.txt", "a single line", "a single text"),
        ("a.csv", 'text\n"never closed\n', "the table is broken"),
        ("a.csv", 'text\n"' + "x" * (2 << 20) + '"\n', "the table is broken"),
        ("a.csv", "", "no text"),
        ("a.jsonl", '{"text": "a"}\n{"text": ', "line 2 is no JSON"),
        ("a.jsonl", '{"text": "a"}\n[1]', "line 2 is list"),
        ("a.jsonl", '{"title": "a"}', "line 1 has no text"),
        ("a.jsonl", "[" * 100_000, "line 1 is no JSON"),
    ],
)
def test_what_cannot_be_read_is_a_sentence(tmp_path, name, content, said):
    with pytest.raises(TextFileError, match=said):
        read_texts(write(tmp_path, name, content))


def test_a_file_of_100_mb_is_not_even_opened(tmp_path):
    file = tmp_path / "a.txt"
    with file.open("wb") as out:
        out.truncate(100 << 20)
    with pytest.raises(TextFileError, match="104,857,600 bytes, expected at most"):
        read_texts(file)

"""Texts out of uploaded files: what can be read is read, what cannot is a sentence."""

import codecs
import json

import pytest

from app.map.text_files import MAX_CHARACTERS, MAX_TEXTS, TextFileError, read_texts, text_columns


def write(tmp_path, name, content):
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def test_lines(tmp_path):
    found = read_texts(write(tmp_path, "a.txt", "﻿one text\r\n\n  another   text \n"))
    assert found.texts == ["one text", "another text"]
    assert found.note == "2 texts."


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


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.json"])
def test_json_lines_have_any_of_three_endings(tmp_path, name):
    assert read_texts(write(tmp_path, name, '{"text": "a"}\r\n{"text": "b", "set": "x"}')).texts == ["a", "b"]


def test_u_2028_and_its_like_break_no_json_line_and_no_cell(tmp_path):
    odd = "a\u2028b\u2029c\x85d\x1ce"  # str.splitlines breaks at each; JSON has the last one escaped
    lines = "\n".join(json.dumps({"text": odd, "n": n}, ensure_ascii=False) for n in range(2))
    assert read_texts(write(tmp_path, "a.jsonl", lines)).texts == ["a b c d e"] * 2
    assert read_texts(write(tmp_path, "a.csv", f"text,n\n{odd},1\n{odd},2\n")).texts == ["a b c d e"] * 2


def test_a_json_array(tmp_path):
    array = [{"text": "a", "label": "x"}, "plain [1, 2]", {"story": "\u2028c", "n": [{}]}]
    for content in (json.dumps(array), json.dumps(array, indent=1), "\ufeff \n" + json.dumps(array) + "\n\n"):
        found = read_texts(write(tmp_path, "a.json", content))
        assert (found.texts, found.sets) == (["a", "plain [1, 2]", "c"], ["x", "", ""])


def test_json_values_may_take_several_lines_each(tmp_path):
    entries = "\n".join(json.dumps({"text": text}, indent=1) for text in "ab")
    assert read_texts(write(tmp_path, "a.json", entries)).texts == ["a", "b"]


def test_equal_cells_that_the_columns_hold_elsewhere_are_no_names(tmp_path):
    assert read_texts(write(tmp_path, "a.csv", "yes,yes\nno,yes\nyes,no\n")).texts == ["yes", "no", "yes"]


@pytest.mark.parametrize("ending", ["csv", "tsv"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_header_tells_the_delimiter(tmp_path, delimiter, ending):
    table = 'id;Text;label\n1;"a; b, c\td";x\n2;second, text;y\n'.replace(";", delimiter).replace(
        "second, text", "second text"
    )
    found = read_texts(write(tmp_path, f"a.{ending}", table))
    assert (found.texts[1], found.sets) == ("second text", ["x", "y"])
    assert found.texts[0].startswith("a") and found.texts[0].endswith("d")


def test_without_a_header_rows_that_are_alike_tell_the_delimiter(tmp_path):
    assert read_texts(write(tmp_path, "a.csv", "1;the cat sat\n2;the dog, ran\n")).texts[0] == "the cat sat"
    assert read_texts(write(tmp_path, "b.csv", "It was late; we left\nThe dog ran\n")).texts == [
        "It was late; we left",
        "The dog ran",
    ]


@pytest.mark.parametrize(("table", "line", "delimiter"), [
    ("nr;words\n1;hello\n2\n3;good\n", 3, "semicolon"),
    ("title;body text\nA;Hello there\nB;Good; day\n", 3, "semicolon"),
    ("nr\tsatz\n1\tHallo\n2\tGuten\tTag\n", 3, "tab"),
    ("nr;words\n1;hello, there\n2;good; day\n", 3, "semicolon"),
])  # fmt: skip
def test_rows_unlike_the_header_are_refused_by_the_delimiter_of_most(tmp_path, table, line, delimiter):
    wanted = f"line {line} has .* expected 2 as in line 1: a text that holds a {delimiter} needs quotes"
    with pytest.raises(TextFileError, match=wanted):
        read_texts(write(tmp_path, "a.csv", table))


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "SEP=;;", "sep=|"])
def test_the_first_line_of_excel_names_the_delimiter_and_is_no_row(tmp_path, first):
    delimiter = first.strip('";')[4:] or ";"
    rows = ["text,with;a set", "a, b;x", "c;d, e"]
    table = "\r\n".join([first, *(row.replace(";", delimiter) for row in ("text;set", *rows))])
    file = write(tmp_path, "a.csv", table)
    found = read_texts(file)
    assert (found.texts, found.sets) == (["text,with", "a, b", "c"], ["a set", "x", "d, e"])
    file.write_text(table + delimiter + "more")
    with pytest.raises(TextFileError, match="line 5 has 3 cells, expected 2 as in line 2"):
        read_texts(file)


def test_a_table_of_unknown_names_says_which_it_found_and_what_to_choose(tmp_path):
    named = read_texts(write(tmp_path, "a.csv", "Frage;Antwort;Punkte\nwho?;a cat;3\nwhere?;here it is;2,5\n"))
    assert named.texts == ["a cat", "here it is"]
    assert "Found 'Frage', 'Antwort', 'Punkte'; shown is 'Antwort'" in named.note and "choose another" in named.note
    plain = read_texts(write(tmp_path, "b.csv", "Frage;Antwort\nwho?;a cat\n"))
    assert plain.texts == ["Antwort", "a cat"]
    assert "Found 'column 1' (“Frage”), 'column 2' (“Antwort”)" in plain.note
    assert "The first row counts as a text" in plain.note


def test_a_table_with_several_columns_of_texts_is_read_by_the_one_that_is_chosen(tmp_path):
    file = write(tmp_path, "a.csv", "id,Text,Title,label\n1,one,first title,x\n2,two,second title,y\n")
    assert text_columns(file) == ["Text", "Title"]
    assert read_texts(file).texts == ["one", "two"]
    chosen = read_texts(file, column="Title")
    assert (chosen.texts, chosen.sets) == (["first title", "second title"], ["x", "y"])
    with pytest.raises(TextFileError, match="no column 'title', expected one of 'id', 'Text', 'Title', 'label'"):
        read_texts(file, column="title")


def test_columns_without_names_are_numbered(tmp_path):
    file = write(tmp_path, "a.csv", "the cat,7,it sat there\nthe dog,8,it ran away\n")
    assert text_columns(file) == ["column 1", "column 3"]
    assert read_texts(file).texts == ["it sat there", "it ran away"]
    assert read_texts(file, column="column 1").texts == ["the cat", "the dog"]


@pytest.mark.parametrize("array", [True, False])
def test_json_with_several_keys_of_texts_is_read_by_the_one_that_is_chosen(tmp_path, array):
    entries = [{"n": 1, "question": "who", "answer": "a cat"}, {"question": "where", "answer": "here", "code": "12"}]
    lines = json.dumps(entries) if array else "\n".join(map(json.dumps, entries))
    file = write(tmp_path, "a.json", lines)
    assert text_columns(file) == ["question", "answer"]
    assert read_texts(file, column="answer").texts == ["a cat", "here"]
    with pytest.raises(
        TextFileError, match=r"line . has no text, expected a key 'code'; found 'n', 'question', 'answer'"
    ):
        read_texts(file, column="code")


def test_lines_have_no_columns(tmp_path):
    assert text_columns(write(tmp_path, "a.txt", "one, two\nthree, four\n")) == []


@pytest.mark.parametrize("lines", ["\n", "\r\n", "\r"])
def test_a_table_has_any_line_ends(tmp_path, lines):
    assert read_texts(write(tmp_path, "a.csv", lines.join(("text,n", "one,1", "two,2")))).texts == ["one", "two"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "utf-32"])
def test_a_byte_order_mark_tells_the_encoding(tmp_path, encoding):
    mark = {"utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}.get(encoding, b"")
    for name, content in (("a.csv", "text\tset\né 🎈\tx\ntwo\ty\n"), ("a.txt", "é 🎈\ntwo\n")):
        found = read_texts(write(tmp_path, name, mark + content.encode(encoding)))
        assert found.texts == ["é 🎈", "two"]


def test_a_million_lines_are_drawn_by_lot_the_same_every_time(tmp_path):
    file = write(tmp_path, "a.txt", "".join(f"line {i}\n" for i in range(1_000_000)))
    found = read_texts(file)
    assert len(found.texts) == MAX_TEXTS
    assert found.note == "1,000,000 texts, of which 5,000 were drawn at random."
    assert found == read_texts(file)


def test_long_texts_are_cut_and_that_is_said(tmp_path):
    found = read_texts(write(tmp_path, "a.txt", "x" * 5000 + "\nshort"))
    assert len(found.texts[0]) == MAX_CHARACTERS
    assert "1 of them is cut" in found.note


@pytest.mark.parametrize(
    ("name", "content", "note"),
    [
        ("a.txt", bytes(range(256)), "the file is binary"),
        ("a.txt", b"caf\xe9\nlatin\n", "line 1 is no UTF-8 text at byte 3"),
        ("a.txt", b"one\ntwo\r\nhalf \xed\xa0\xbd\n", "line 3 is no UTF-8 text at byte 14"),
        ("a.txt", "one\ntwo".encode("utf-16") + b"\x3d\xd8", "line 2 is no UTF-16 text at byte 16"),
        ("a.jsonl", '"one"\n"two"\n"half \\ud83d"', r"line 3 has half a character, U\+D83D"),
        ("a.json", '["one",\n{"text": "b", "set": "\\ude00"}]', r"line 2 has half a character, U\+DE00"),
        ("a.json", '["one",\n\n 2]', "line 3 is a number"),
        ("a.json", '["one",\n{"title": "b"}]', "line 2 has no text"),
        ("a.json", '["one",\n"two"', "line 2 does not go on with a comma"),
        ("a.json", '["one",\n"two",]', "line 2 is no JSON"),
        ("a.json", '["one", "two"]\n["three"]', "line 2 goes on after the end of the array"),
        ("a.json", "[", "line 1 is no JSON"),
        ("a.json", "[]", "no text, expected at least two"),
        ("a.json", "[" * 100_000, r"line 1 is no JSON \(it is nested too deeply\)"),
        ("a.json", '{\n "rows": []}', "line 1 has no text, expected a key 'text' .*; found 'rows'"),
        ("a.json", '{\n "text": "a"\n}', "a single text, expected at least two"),
        ("a.json", '"a"\n{\n "text": "b"\n "set": 1}', r"line 2 is no JSON \(Expecting ',' delimiter\), expected an"),
        ("a.json", '["one",\r"two",\r\n3]', "line 3 is a number"),
        ("a.jsonl", '"a"\n{"text": 5}', "line 2 has a number under 'text', expected a text"),
        ("a.jsonl", 'null\n"a"', "line 1 is null, expected an object with a text"),
        ("a.jsonl", '{"text": true}', "line 1 has true under 'text', expected a text"),
        ("a.json", '["one",\r\r"two" "three"]', "line 3 does not go on with a comma"),
        ("a.jsonl", '"a"\n{"text": "a", "text": "b"}', "line 2 is no JSON .*'text' is there 2 times"),
        ("a.jsonl", '"a"\n' + "1" * 5000, r"line 2 .*\(a whole number has more than 4,300 digits\)"),
        ("a.jsonl", json.dumps(dict.fromkeys(map(str, range(1001)))), "line 1 has 1,001 keys, expected at most 1,000"),
        ("a.csv", "\n\n" + ",".join("x" * 1001), "line 3 has 1,001 cells, expected at most 1,000"),
        ("a.csv", "Foo,foo\nhello,the dog\n", "line 1 has 2 columns of the name 'foo'"),
        ("a.csv", "Text,text \na,b\n", "line 1 has 2 columns of the name 'text'"),
        ("a.csv", "id,note,note\n1,a,b\n", "line 1 has 2 columns of the name 'note'"),
        ("a.jsonl", '"a"\n{"note": "a", "note": "b"}', "line 2 is no JSON .*'note' is there 2 times"),
        ("a.jsonl", '{"text": "a", "x\\ud800": "b"}', r"line 1 is no JSON .*half a character, U\+D800"),
        ("a.jsonl", '"a"\n{"text" "b"}', r"line 2 is no JSON \(Expecting ':' delimiter\)"),
        ("a.csv", "text;label;label\na;b;c\n", "line 1 has 2 columns of the name 'label'"),
        ("a.csv", "text,label\na,b\nHello, world,c\n", "line 3 has 3 cells, expected 2 as in line 1"),
        ("a.csv", "Hello, world\nTwo\nThree\n", "line 2 has a single cell, expected 2 as in line 1"),
        ("a.csv", 'text\na\n"b\nb"\n"c"d\n', "the row that begins in line 5"),
        ("a.txt", "", "no text, expected at least two"),
        ("a.txt", "\n \n", "no text, expected at least two"),
        ("a.txt", "a single line", "a single text"),
        ("a.csv", 'text\n"never closed\n', "the table is broken"),
        ("a.csv", 'text\n"' + "x" * (2 << 20) + '"\n', "the table is broken"),
        ("a.csv", "", "no text"),
        ("a.jsonl", '{"text": "a"}\n{"text": ', "line 2 is no JSON"),
        ("a.jsonl", '{"text": "a"}\n[1]', "line 2 is a list"),
        ("a.jsonl", '{"title": "a"}', "line 1 has no text"),
        ("a.jsonl", "[" * 100_000, "line 1 is no JSON"),
    ],
)
def test_what_cannot_be_read_is_a_sentence(tmp_path, name, content, note):
    with pytest.raises(TextFileError, match=note):
        read_texts(write(tmp_path, name, content))


def test_a_file_of_100_mb_is_not_even_opened(tmp_path):
    file = tmp_path / "a.txt"
    with file.open("wb") as out:
        out.truncate(100 << 20)
    with pytest.raises(TextFileError, match="104,857,600 bytes, expected at most"):
        read_texts(file)

"""Tokens that are bytes of one character are told as one."""

import pytest

from coladlm.evaluate.whole_characters import whole_characters

BYTES = {
    "": [], "abc": [1, 1, 1], "a😀b": [1, 4, 1], "你好": [3, 3], "مر": [2, 2], "a\ufffdb": [1, 3, 1],
    "\ufffd\ufffd": [3, 3], "é": [2], "x😀": [1, 4],
}  # fmt: skip


def decode(ids):
    return bytes(ids).decode("utf-8", errors="replace")


def grouped(units):
    return [[token for unit in units[part] for token in unit] for part in whole_characters(units, decode)]


@pytest.mark.parametrize("text", BYTES)
def test_bytes_of_a_character_come_together_and_no_others(text):
    units = [[byte] for byte in text.encode()]
    assert [len(ids) for ids in grouped(units)] == BYTES[text]
    assert [decode(ids) for ids in grouped(units)] == list(text)


def test_units_of_several_tokens_are_joined_where_a_character_crosses_their_border():
    ids = list("ab你cde".encode())  # 2 + 3 + 3 bytes
    units = [ids[start : start + 4] for start in range(0, len(ids), 4)]
    assert [decode(found) for found in grouped(units)] == ["ab你cde"]
    ids = list("abcd你e".encode())
    units = [ids[start : start + 4] for start in range(0, len(ids), 4)]
    assert [decode(found) for found in grouped(units)] == ["abcd", "你e"]


def test_bytes_that_are_no_text_are_kept_in_order():
    units = [[0x61], [0xE4], [0x62], [0xBD], [0xF0], [0x9F]]
    assert [token for ids in grouped(units) for token in ids] == [token for unit in units for token in unit]
    assert grouped(units)[:2] == [[0x61], [0xE4]]

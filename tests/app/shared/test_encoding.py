"""Texts as cells of a table."""

import pytest

from app.shared.encoding import safe_cell


@pytest.mark.parametrize("sign", "=+-@\uff1d\uff0b\uff0d\uff20")
@pytest.mark.parametrize("before", ["", "\n", "\t", "\r", "\r\n", " ", "\u00a0", " \n\t ", "\ufeff", "\0"])
def test_a_text_that_a_spreadsheet_would_run_is_quoted_whatever_blanks_stand_before(before, sign):
    text = f"{before}{sign}1+1"
    assert safe_cell(text) == "'" + text


@pytest.mark.parametrize("text", ["\tplain", "\rplain", "\nplain"])
def test_a_text_that_begins_in_another_cell_or_line_is_quoted(text):
    assert safe_cell(text) == "'" + text


@pytest.mark.parametrize("text", ["", "the cat", "a = b", "the cat\n=1+1", "'=1+1", " the cat", "..."])
def test_any_other_text_stays_as_it_is(text):
    assert safe_cell(text) == text

"""Measures of texts side by side, with what they mean."""

import pytest
from playwright.sync_api import expect

from app.components import MeasuresTable
from app.components.measures_table import measures_value

from .conftest import NARROW, WIDE
from .page_parts import part_of

VALUE = measures_value(
    ["flow", "<b>baseline</b>"],
    [("Surprise", "In nats a token; less is plainer.", ["2.41", "2.18"]), ("Length", "", ["96", "101"])],
    "Measured by the baseline itself.",
)


@pytest.fixture
def table(bare):
    """table(size) shows an empty MeasuresTable."""

    def show(size=WIDE):
        return bare({"measures": part_of(MeasuresTable())}, size)

    return show


def test_there_is_no_table_before_there_are_measures_and_after_they_are_gone(table):
    page = table()
    expect(page.locator("#measures table")).to_be_hidden()
    page.update("measures", VALUE)
    expect(page.locator("#measures table")).to_be_visible()
    page.update("measures", None)
    expect(page.locator("#measures table")).to_be_hidden()


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1280", "390"])
def test_every_measure_has_a_row_with_its_meaning_and_a_cell_for_each_text(table, size):
    page = table(size)
    page.update("measures", VALUE)
    assert page.locator("#measures thead th").all_inner_texts() == VALUE["columns"]
    heads = page.page.get_by_role("rowheader")
    expect(heads).to_have_text(["SurpriseIn nats a token; less is plainer.", "Length"])
    cells = [page.page.get_by_role("row").nth(i + 1).get_by_role("cell").all_inner_texts() for i in range(2)]
    assert cells == [["2.41", "2.18"], ["96", "101"]]
    expect(page.page.get_by_role("table", name="Measured by the baseline itself.")).to_be_visible()
    assert page.overflow() <= 0


def test_measures_of_another_run_take_the_place_of_those_before(table):
    page = table()
    page.update("measures", VALUE)
    page.update("measures", measures_value(["flow"], [("Length", "", ["7"])], ""))
    expect(page.page.get_by_role("rowheader")).to_have_text(["Length"])
    expect(page.page.get_by_role("cell", name="7")).to_have_count(1)

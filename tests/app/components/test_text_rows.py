"""Several texts below each other: variations and waypoints."""

import pytest
from playwright.sync_api import expect

from .conftest import NARROW, WIDE
from .values import PAIR, Generated, Interpolation

SIZES = pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1280", "390"])


def test_variations_stand_below_each_other_and_one_can_be_read(parts, bare, model):
    value = Generated(model, "Once upon a time", variations=3).rows
    page = bare({"rows": parts.part("rows", id="variations", value=value)}, bench="generate")
    rows = page.locator("#rows .list li")
    expect(rows).to_have_count(3)
    for row, shown in zip(value["rows"], rows.all(), strict=True):
        assert shown.locator(".label").inner_text() == row["label"]
    rows.nth(2).get_by_role("button", name="Look into it").click()
    assert page.triggered("rows", "select") == [{"text": value["rows"][2]["text"], "row": 2}]


@SIZES
def test_waypoints_have_what_is_new_in_them_marked(parts, bare, walked, size):
    page = bare({"rows": parts.part("rows", id="waypoints", value=walked.rows[-1])}, size, "interpolate")
    texts = page.locator("#rows .text").all_inner_texts()
    assert (len(texts), texts[0], texts[-1]) == (9, *PAIR)
    marked = [text for row in walked.rows[-1]["rows"] for text, flags in row["final"] if flags & 1]
    assert len(marked) > 2
    assert page.locator("#rows .list mark.changed").all_text_contents() == marked
    page.page.get_by_role("button", name="Edit: text 2").click()
    assert page.triggered("rows", "select") == [{"text": PAIR[1], "row": 8}]
    assert page.overflow() <= 0


def test_waypoints_are_there_while_they_form_and_stop_keeps_them(parts, bare, model):
    run = Interpolation(model, ("The sun was warm and bright.", "The night was cold and dark."), stops=17)
    forming = [rows for rows in run.rows if sum(len(row["live"]) for row in rows["rows"]) > 7]
    page = bare({"rows": parts.part("rows", id="waypoints", value=forming[0])}, bench="interpolate")
    expect(page.locator("#rows li")).to_have_count(17)
    assert page.locator("#rows .live .token").count() > 7
    page.run_state("stopping")
    expect(page.locator("#rows .rows")).to_have_attribute("data-state", "stopped")
    assert page.locator("#rows li").nth(4).locator(".token").count() > 0

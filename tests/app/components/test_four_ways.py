"""The four ways side by side: columns on a desk, one below another on a phone, and one slider by keys."""

import pytest
from playwright.sync_api import expect

from app.components.four_ways import way_value, ways_value

from .conftest import NARROW, WIDE
from .values import PAIR


@pytest.fixture(scope="module")
def compared(walked):
    waypoints = walked.stage["waypoints"]
    link = {"query": "?r=x", "recipe": "{}"}
    ways = [way_value(f"Way {i}", "done", link, waypoints) for i in range(3)]
    return ways_value("r", "done", PAIR, [*ways, way_value("Way 3", "refused", {}, note="It is too long. " * 4)])


@pytest.mark.parametrize(("size", "columns"), [(WIDE, 4), (NARROW, 1)], ids=["1280", "390"])
def test_the_ways_stand_side_by_side_where_there_is_room(parts, bare, compared, size, columns):
    page = bare({"ways": parts.part("ways", value=compared)}, size, "interpolate")
    expect(page.locator("#ways .way")).to_have_count(4)
    lefts = [page.locator("#ways .way").nth(i).bounding_box()["x"] for i in range(4)]
    assert len(set(lefts)) == columns
    assert page.overflow() <= 0


def test_the_slider_moves_all_ways_by_keys(parts, bare, compared):
    page = bare({"ways": parts.part("ways", value=compared)}, WIDE, "interpolate")
    page.locator("#ways .thumb").press("End")
    for way in range(3):
        expect(page.locator("#ways .now").nth(way)).to_have_text(PAIR[1])
    page.locator("#ways .thumb").press("Home")
    expect(page.locator("#ways .now").first).to_have_text(PAIR[0])

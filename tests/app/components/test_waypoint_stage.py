"""The waypoint under the thumb: a strip that is a slider, words in the colour of their text, a picture of the way."""

import re

import pytest
from playwright.sync_api import expect

from .conftest import NARROW, WIDE
from .values import PAIR

COLOURS = """() => ['first', 'second', 'both', 'own'].map(of => {
  const style = getComputedStyle(document.querySelector('#walk .key .of-' + of));
  return [style.color, style.textDecorationLine + ' ' + style.textDecorationStyle];
})"""


def at(page, share: float) -> None:
    """Presses the strip at a share of its width."""
    box = page.locator("#walk .cells").bounding_box()
    page.page.mouse.click(box["x"] + share * box["width"], box["y"] + box["height"] / 2)


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1280", "390"])
def test_the_strip_is_a_slider_by_mouse_and_by_keys(parts, bare, walked, size):
    page = bare({"walk": parts.part("walk", value=walked.stage)}, size, "interpolate")
    cells, now = page.locator("#walk .cells"), page.locator("#walk .now")
    expect(page.locator("#walk .cells i")).to_have_count(9)
    at(page, 0.01)
    expect(now).to_have_text(PAIR[0])
    at(page, 0.99)
    expect(now).to_have_text(PAIR[1])
    cells.press("Home")
    expect(cells).to_have_attribute("aria-valuetext", re.compile(f"^waypoint 1 of 9.*: {PAIR[0]}$"))
    expect(page.locator("#walk .dot.on")).to_have_count(1)
    assert page.overflow() <= 0


def test_a_hand_that_moves_along_the_strip_takes_the_thumb_with_it(parts, bare, walked):
    page = bare({"walk": parts.part("walk", value=walked.stage)}, WIDE, "interpolate")
    box = page.locator("#walk .cells").bounding_box()
    page.page.mouse.move(box["x"] + 5, box["y"] + 20)
    page.page.mouse.down()
    page.page.mouse.move(box["x"] + box["width"] - 5, box["y"] + 20, steps=6)
    page.page.mouse.up()
    expect(page.locator("#walk .cells")).to_have_attribute("aria-valuenow", "9")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_where_a_word_comes_from_is_told_by_more_than_its_colour(parts, bare, walked, dark):
    page = bare({"walk": parts.part("walk", value=walked.stage)}, WIDE, "interpolate", dark=dark)
    colours, lines = zip(*page.page.evaluate(COLOURS), strict=True)
    assert len(set(colours)) == len(set(lines)) == 4


def test_a_waypoint_goes_on_to_edit(parts, bare, walked):
    page = bare({"walk": parts.part("walk", value=walked.stage)}, WIDE, "interpolate")
    page.locator("#walk .cells").press("End")
    page.page.get_by_role("button", name="Edit this waypoint").click()
    assert page.triggered("walk", "select") == [{"text": PAIR[1], "row": 8}]


def test_a_run_that_is_stopped_keeps_what_there_is(parts, bare, walked):
    waypoints = list(walked.stage["waypoints"])
    waypoints[4] = forming = {**waypoints[4], "filled": 0.4, "distances": [], "misfit": None}
    running = {**walked.stage, "state": "running", "waypoints": waypoints}
    page = bare({"walk": parts.part("walk", value=running)}, WIDE, "interpolate")
    expect(page.locator("#walk .now")).to_have_class(re.compile("forming"))
    page.run_state("stopping")
    expect(page.locator("#walk .walk")).to_have_attribute("data-state", "stopped")
    expect(page.locator("#walk .now")).to_have_text(forming["text"].strip())

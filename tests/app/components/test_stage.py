"""The stage of Generate: the paths beside the text, the line of what is at work, and settings as chips."""

import json
import re

import pytest
from playwright.sync_api import expect

from app.generate.inspection import look_value, paths_of
from app.shared.charts import Charts

from .conftest import NARROW, WIDE
from .values import Generated

INK = """() => { const canvas = document.querySelector('#paths canvas');
  const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  let ink = 0; for (let i = 3; i < data.length; i += 4) ink += data[i] > 0; return ink; }"""
SIZED = """() => { document.querySelector('#paths .flow-view').style.height = '300px';
  document.querySelector('#text .text').style.maxWidth = '6rem'; }"""  # blocks of several lines


@pytest.fixture(scope="module")
def run_shown(model, golden_cloud, generated):
    """The values of the strip and of the paths for a finished run."""
    return values_of(model, golden_cloud, generated)


def values_of(model, cloud, generated):
    trace = generated.trace
    return look_value(model, trace, 0, "r"), paths_of(Charts(model, cloud), trace, 0, "r")


@pytest.fixture
def stage(parts, bare, run_shown):
    def show(size=WIDE, recorded="", values=run_shown, **options):
        strip, flow = values
        strip = {**strip, "recorded": recorded}
        shown = bare(
            {
                "paths": parts.part("paths", value=flow),
                "text": parts.part("strip", value=strip),
                "way": parts.part("way"),
            },
            size,
            "generate",
            **options,
        )
        shown.page.evaluate(SIZED)
        return shown

    return show


def scrub(page, at) -> None:
    page.locator("#text input[type=range]").evaluate(
        "(x, at) => { x.value = at; x.dispatchEvent(new Event('input')); }", at
    )


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1280", "390"])
def test_the_paths_follow_the_slider_of_the_text(stage, run_shown, size):
    page = stage(size)
    expect(page.locator("#paths canvas")).to_have_attribute("aria-label", re.compile("^Paths of 24 words"))
    whole = page.page.evaluate(INK)
    look = json.loads(run_shown[0]["look"])
    scrub(page, len(look[0]["steps"]))  # the first step of the second block
    expect(page.locator("#paths canvas")).to_have_attribute("aria-label", re.compile("^Block 2: "))
    assert 0 < page.page.evaluate(INK) != whole
    expect(page.locator("#way .lit")).to_have_text("noise")
    scrub(page, 10**6)
    expect(page.locator("#paths canvas")).to_have_attribute("aria-label", re.compile("^Paths of"))
    expect(page.locator("#way .lit")).to_have_text("words")
    assert page.overflow() <= 0


def test_a_recorded_run_plays_by_itself_where_movement_is_wanted(stage, model, golden_cloud):
    short = values_of(model, golden_cloud, Generated(model, "Once upon a time", max_new_tokens=8, steps=2))
    page = stage(recorded="a recorded run, seed 1, unedited", values=short, movement=True)
    expect(page.locator(".play")).to_have_text("Pause")
    expect(page.locator(".where")).to_contain_text("noise")
    expect(page.locator(".recorded")).to_have_text("This is a recorded run, seed 1, unedited")
    expect(page.locator(".where")).to_have_text("the finished text")  # and comes to its end
    expect(page.locator(".play")).to_have_text("Play")


# on the page: the middle of the line of every word at the end, and of those under way in every state before it
LINES = """() => {
  const lines = words => [...document.querySelectorAll(words)].map(word => {
    const {top, bottom} = word.getClientRects()[0];
    return (top + bottom) / 2; });
  const slider = document.querySelector('#text input[type=range]'), end = lines('#text .answer .token');
  return [end, Array.from({length: slider.max}, (_, at) => {
    slider.value = at;
    slider.dispatchEvent(new Event('input'));
    return lines('#text .live .token'); })];
}"""


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1280", "390"])
def test_a_word_under_way_stands_on_the_line_on_which_it_ends_up(stage, run_shown, size):
    page = stage(size)
    end, states = page.page.evaluate(LINES)
    blocks = json.loads(run_shown[0]["look"])
    assert len(states) == sum(len(block["steps"]) for block in blocks) and len(end) == sum(b["count"] for b in blocks)
    at = first = 0
    for block in blocks:
        for _ in block["steps"]:
            assert states[at] == pytest.approx(end[first : first + block["count"]], abs=4), f"state {at}"
            at += 1
        first += block["count"]


def test_without_movement_a_recorded_run_shows_its_last_frame(stage):
    page = stage(recorded="a recorded run, seed 1, unedited")
    expect(page.locator(".recorded")).to_have_text("This is a recorded run, seed 1, unedited")
    expect(page.locator(".play")).to_have_text("Play")


def test_a_run_that_has_no_paths_says_why(parts, bare):
    page = bare({"paths": parts.part("paths")}, bench="generate")
    page.update("paths", {"run": "r", "state": "done", "lines": "", "cloud": "", "note": "No map yet."})
    expect(page.locator(".why")).to_have_text("No map yet.")


def test_paths_with_fresh_noise_say_why_they_zigzag_and_offer_the_run_without(parts, bare, run_shown):
    page = bare({"paths": parts.part("paths", value=run_shown[1])}, bench="generate")
    expect(page.locator(".fresh")).to_be_hidden()
    page.update("paths", {**run_shown[1], "fresh": True})
    expect(page.locator(".fresh")).to_contain_text("Fresh noise at every step: paths zigzag")
    page.locator(".without").click()
    assert page.triggered("paths", "submit")


def test_a_chip_opens_its_setting_and_says_its_value(parts, bare):
    page = bare({"chips": parts.part("chips")}, bench="generate")
    chips = page.locator(".chip")
    expect(chips.last).to_have_text("All settings")
    value = page.value("chips")
    page.update("chips", [7, 1, *value[2:]])
    expect(chips.nth(0)).to_have_text("seed 7")
    expect(chips.nth(1)).to_have_text("1 token")
    page.update("chips", [7, 1, 1, 1 / 3, 1, *value[5:]])
    expect(chips.nth(3)).to_have_text("guidance 0.3333")
    expect(chips.nth(4)).to_have_text("1 step a block")
    page.update("chips", [7, 1, *value[2:]])
    expect(chips.nth(4)).to_have_text(f"{value[4]} steps a block")
    expect(chips.nth(0)).to_have_attribute("aria-expanded", "false")

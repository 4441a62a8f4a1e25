"""What a visitor does with the tab Interpolate, on a desk and on a phone."""

import re

import pytest
from playwright.sync_api import Page, expect

from .conftest import NARROW, WIDE
from .driving import press_run

SIZES = pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1280", "390"])
PAIR = ("The sun was warm", "The night was cold")


def open_tab(page: Page, name: str = "Interpolate") -> None:
    tab = page.get_by_role("tab", name=name)
    if tab.count() == 0 or not tab.first.is_visible():  # a narrow page keeps the last tabs in a menu
        page.locator("#tabs .overflow-menu > button").click()
        page.locator("#tabs .overflow-dropdown button", has_text=name).click()
    else:
        tab.first.click()
    expect(page.locator(f"#{name.lower()} button.run")).to_be_visible()


def box(page: Page, number: int):
    return page.get_by_label(f"Text {number}", exact=True)


def fill(page: Page, *texts: str) -> None:
    for i, text in enumerate(texts, 1):
        box(page, i).fill(text)
    for i, text in enumerate(texts, 1):  # a page that is still being put together may take a text back
        expect(box(page, i)).to_have_value(text)


def state(page: Page, *wanted: str) -> None:
    line = page.locator("#interpolate .line")
    expect(line).to_have_attribute("data-state", re.compile("|".join(wanted)))


def make(page: Page) -> list[str]:
    """Makes the road and returns the texts of its stops."""
    press_run(page, "interpolate")
    state(page, "done")
    return page.locator("#stops .text").all_inner_texts()


def overflow(page: Page) -> int:
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


@SIZES
def test_a_road_goes_from_text_to_text_with_its_distances(visit, size, tmp_path):
    page = visit(size)
    open_tab(page)
    fill(page, *PAIR)
    stops = make(page)
    assert (len(stops), stops[0], stops[-1]) == (9, *PAIR)
    assert page.locator("#stops mark.changed").count() > 2
    expect(page.locator("#interpolate .distances svg[role=img]")).to_have_count(2)
    page.get_by_text("The same as numbers").click()
    expect(page.locator("#interpolate .distances tbody tr")).to_have_count(9)
    assert overflow(page) <= 0
    for kind, wanted in (("svg", b"<polyline"), ("png", b"\x89PNG")):
        with page.expect_download() as download:
            page.locator(f"#interpolate .distances .save[data-format={kind}]").click()
        download.value.save_as(tmp_path / f"distances.{kind}")
        assert (tmp_path / f"distances.{kind}").read_bytes().count(wanted) == (4 if kind == "svg" else 1)


def test_stops_are_there_while_they_form_and_stop_keeps_them(visit):
    page = visit()
    open_tab(page)
    fill(page, "The sun was warm and bright. " * 12, "The night was cold and dark. " * 12)
    page.get_by_label("number input for Stops from text to text").fill("33")
    page.get_by_label("number input for Stops from text to text").blur()
    page.locator("#interpolate button.run").click()
    page.wait_for_function("document.querySelectorAll('#stops .live .token').length > 7")
    page.locator("#interpolate button.stop").click()
    state(page, "stopped")
    expect(page.locator("#stops li")).to_have_count(33)
    assert page.locator("#stops li").nth(4).locator(".token").count() > 0


@SIZES
def test_a_reload_restores_the_road_of_the_link(visit, size):
    page = visit(size)
    open_tab(page)
    page.get_by_role("button", name="Add a text").click()
    expect(box(page, 3)).to_be_visible()
    fill(page, *PAIR, "שלום 🌙")
    page.get_by_text("Decoder only", exact=True).click()
    stops = make(page)
    assert "r=" in page.url
    page.reload()
    state(page, "done")
    assert page.locator("#stops .text").all_inner_texts() == stops
    assert [box(page, i).input_value() for i in (1, 2, 3)] == [*PAIR, "שלום 🌙"]
    expect(page.get_by_role("radio", name="Decoder only")).to_be_checked()


def test_a_road_is_chosen_by_keyboard_and_brings_what_it_needs(visit):
    page = visit()
    open_tab(page)
    noise = page.get_by_label("number input for Noise (%)")
    expect(noise).to_be_visible()
    page.get_by_role("radio", name="Through the flow").focus()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("radio", name="Decoder only")).to_be_checked()
    expect(noise).to_be_hidden()
    expect(page.get_by_text("without asking the flow")).to_be_visible()


def test_texts_come_and_go_and_examples_fill_them_in(visit):
    page = visit()
    open_tab(page)
    expect(box(page, 3)).to_have_count(0)
    page.locator("#interpolate .example").nth(2).click()
    expect(box(page, 3)).to_have_value("Tom was very angry.")
    page.get_by_role("button", name="Remove the last").click()
    expect(box(page, 3)).to_have_count(0)
    expect(page.get_by_role("button", name="Remove the last")).to_be_disabled()


@pytest.mark.parametrize(
    ("texts", "said"),
    [(("", "b"), "Text 1 is empty"), (("a", "word " * 2000), "tokens")],
    ids=["empty", "2000 words"],
)
def test_odd_texts_get_a_sentence_in_place(visit, texts, said):
    page = visit(NARROW)
    open_tab(page)
    fill(page, *texts)
    page.locator("#interpolate button.run").click()
    state(page, "error")
    expect(page.get_by_role("alert").filter(has_text=said)).to_be_visible()
    assert overflow(page) <= 0


def test_nothing_of_the_form_is_painted_over_the_fixed_buttons(visit):
    """Gradio lifts the names of its fields, and lets clicks through them: only what is painted tells."""
    page = visit(NARROW)
    open_tab(page)
    lifted = "e => [...document.querySelectorAll(e)].map(x => Number(getComputedStyle(x).zIndex) || 0)"
    names, bars = (page.evaluate(lifted, e) for e in ("#interpolate [data-testid=block-info]", ".run-controls"))
    assert names and bars and max(names) < min(bars)

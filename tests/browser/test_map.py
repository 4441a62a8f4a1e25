"""The tab Map in a real browser, with the bundled model: make, search, select, compare, send on."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from .conftest import NARROW, WIDE
from .test_trajectories import choose_tab

WAIT = 120_000


@pytest.fixture(scope="module")
def server(bundled_server):
    return bundled_server


@pytest.fixture
def make_map(visit):
    def make_map(size=WIDE) -> Page:
        page = visit(size)
        page.set_default_timeout(WAIT)
        choose_tab(page, "Map")
        page.locator("#texts .start").click()
        page.locator(".texts[data-state=ready]").wait_for()
        page.wait_for_function("document.querySelector('#texts .plot').data")
        return page

    return make_map


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1280", "390"])
def test_sentences_become_points_in_clusters_that_are_told_in_words(make_map, size):
    page = make_map(size)
    assert page.evaluate("document.querySelector('#texts .plot').data[0].x.length") == 600
    assert "600 texts in" in page.locator("#texts .said").inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]


def test_words_are_found_and_the_nearest_texts_listed(make_map):
    page = make_map()
    page.locator("#texts .query").fill("dog")
    expect(page.locator("#texts .heading")).to_have_text("Found")
    assert all("dog" in text.lower() for text in page.locator("#texts .row .text").all_inner_texts())
    page.locator("#texts .query").fill("The dog ran to the park.")
    page.locator("#texts .near").click()
    expect(page.locator("#texts .heading")).to_have_text("Nearest")
    far = [float(text) for text in page.locator("#texts .row .far").all_inner_texts()]
    assert far == sorted(far)
    assert len(far) == 20
    page.wait_for_function(
        "document.querySelector('#texts .plot').data[0].marker.line.width.filter(width => width > 0).length === 20"
    )


def test_a_box_selects_and_a_selection_goes_to_edit(make_map):
    page = make_map()
    page.get_by_role("button", name="Box", exact=True).click()
    page.locator("#texts .stage").scroll_into_view_if_needed()
    box = page.locator("#texts .plot .nsewdrag").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.3)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + box["height"] * 0.7, steps=5)
    page.mouse.up()
    expect(page.locator("#texts .count")).to_contain_text("selected")
    expect(page.locator("#texts .heading")).to_contain_text("Selected")
    text = page.locator("#texts .row .text").first.inner_text()
    page.locator("#texts .send[data-to=edit]").click()
    expect(page.get_by_role("tab", name="Edit")).to_have_attribute("aria-selected", "true")
    expect(page.locator("#edit textarea").first).to_have_value(text)


def test_a_selection_is_a_road_for_interpolate_and_its_road_lies_on_the_map(make_map):
    page = make_map()
    rows = page.locator("#texts .row")
    chosen = [rows.nth(i).locator(".text").inner_text() for i in (2, 4)]
    for i in (2, 4):
        rows.nth(i).click()
    page.locator("#texts .send[data-to=interpolate]").click()
    for i, text in enumerate(chosen, 1):
        expect(page.get_by_label(f"Text {i}", exact=True)).to_have_value(text)
    page.get_by_label("number input for Stops from text to text").fill("3")
    page.get_by_label("number input for Stops from text to text").blur()
    page.locator("#interpolate button.run").click()
    expect(page.locator("#interpolate .line")).to_have_attribute("data-state", "done", timeout=WAIT)
    page.get_by_role("button", name="See the road on the map").click()
    expect(page.locator("#texts .said")).to_contain_text("A road of 3 stops", timeout=WAIT)
    page.wait_for_function("document.querySelector('#texts .plot').data[1]?.x.length === 3")


def test_a_cluster_is_selected_by_its_name(make_map):
    page = make_map()
    cluster = page.locator("#texts .cluster").first
    count = cluster.inner_text().rsplit("·", 1)[1].strip()
    cluster.press("Enter")
    expect(page.locator("#texts .count")).to_contain_text(f"{count} selected")


def test_keys_alone_select_two_ends_that_become_a_direction_in_edit(make_map):
    page = make_map()
    rows = page.locator("#texts .row")
    rows.first.focus()
    for _ in range(2):
        page.keyboard.press(" ")
        page.keyboard.press("ArrowDown")
    page.get_by_role("button", name="Use as A").press("Enter")
    expect(page.locator("#direction-said")).to_contain_text("A has 2 texts")
    page.get_by_role("button", name="Select nothing").press("Enter")
    rows.nth(5).focus()
    for _ in range(2):
        page.keyboard.press(" ")
        page.keyboard.press("ArrowDown")
    page.get_by_role("button", name="Use as B").press("Enter")
    expect(page.locator("#direction-said")).to_contain_text("radii of the sphere of latents")
    page.get_by_role("button", name="Use the direction in Edit").click()
    expect(page.get_by_role("tab", name="Edit")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_label("To sentences like")).not_to_have_value("")


def test_texts_of_ones_own_and_a_file_that_holds_none(make_map, tmp_path):
    page = make_map()
    page.locator("#map").get_by_role("button", name="Open texts of your own").click()
    broken = tmp_path / "broken.csv"
    broken.write_text('text\n"never closed\n')
    page.locator("#map input[type=file]").set_input_files(broken)
    expect(page.locator("#map .progress .wrong")).to_contain_text("able is broken")
    own = tmp_path / "own.jsonl"
    own.write_text("\n".join(f'{{"text": "<b>cat</b> number {i}", "set": "{"ab"[i % 2]}"}}' for i in range(12)))
    page.locator("#map input[type=file]").set_input_files(own)
    expect(page.locator("#texts .said")).to_contain_text("12 texts in")
    expect(page.locator("#texts .row .text").first).to_have_text("<b>cat</b> number 0")  # rows are drawn a moment later
    expect(page.locator("#texts .by option[value=set]")).to_be_enabled()

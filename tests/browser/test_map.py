"""What a visitor does with the tab Map: makes one, opens texts, and sends them on to other tabs and back."""

import json
import re
from pathlib import Path

from playwright.sync_api import Page, expect

from .conftest import NARROW, WIDE
from .driving import be_still, fits, frames, is_no_wider, number, open_tab, shifted, state, unfold


def ready(page, count: int) -> None:
    """Waits until so many texts are on the map, drawn and told in words."""
    expect(page.locator("#texts .note")).to_contain_text(f"{count} texts in")
    page.wait_for_function("n => document.querySelector('#texts .plot').data?.[0].x.length === n", arg=count)


def test_the_map_of_the_sentences_is_searched_and_kept_in_a_file_and_texts_of_ones_own_go_to_other_tabs(
    visit, tmp_path
):
    page = visit(NARROW, "/?tab=map")
    bench = page.locator("#map")
    ready(page, 600)
    assert shifted(page) < 0.02, "the page moved while it was put together"
    is_no_wider(page)
    page.locator("#texts .query").fill("The dog ran to the park.")
    page.get_by_role("button", name="Find by meaning").click()
    expect(page.locator("#texts .heading")).to_have_text("Nearest, 20")
    expect(page.locator("#texts .row")).to_have_count(20)
    expect(page.get_by_role("button", name="Show the new UMAP")).to_be_visible()
    with page.expect_download() as download:
        bench.get_by_role("button", name="Map (npz)").click()
    download.value.save_as(tmp_path / "map.npz")
    bench.get_by_role("button", name="Open texts of your own").click()
    bench.locator("input[type=file]").set_input_files(tmp_path / "map.npz")
    expect(bench).to_contain_text("600 texts of a saved map")
    expect(page.locator("#texts .heading")).to_have_text("Nearest, 20")
    expect(page.locator("#texts .query")).to_have_value("The dog ran to the park.")
    expect(page.locator("#texts .chart")).to_have_value("pca")
    fits(page)
    page.set_viewport_size(WIDE)
    texts_of_ones_own_go_to_other_tabs_and_come_back_as_waypoints(page, tmp_path)


def texts_of_ones_own_go_to_other_tabs_and_come_back_as_waypoints(page: Page, tmp_path: Path) -> None:
    """Where a file of texts has been opened already."""
    bench = page.locator("#map")
    broken = tmp_path / "broken.csv"
    broken.write_text('text\n"never closed\n')
    bench.locator("input[type=file]").set_input_files(broken)
    expect(bench.get_by_role("alert")).to_contain_text("able is broken")
    be_still(page)  # a file that comes while gradio makes the field anew is lost
    many = tmp_path / "many.txt"
    many.write_text("\n".join(f"the cat number {i} sat on the mat" for i in range(5000)))
    bench.locator("input[type=file]").set_input_files(many)
    expect(bench.locator(".own-progress_line").first).to_contain_text(re.compile(r"[1-9]\d* of 5,000 texts"))
    own = tmp_path / "own.jsonl"
    own.write_text(
        "\n".join(
            json.dumps({"text": f"<b>cat</b> number {i}", "title": f"title {i}", "set": "ab"[i % 2]}) for i in range(12)
        )
    )
    bench.locator("input[type=file]").set_input_files(own)  # while the other is still on its way
    ready(page, 12)
    rows = page.locator("#texts .row")
    expect(rows.first.locator(".text")).to_have_text("<b>cat</b> number 0")
    for column, first in (("title", "title 0"), ("text", "<b>cat</b> number 0")):
        bench.get_by_role("radio", name=column, exact=True).check()
        expect(rows.first.locator(".text")).to_have_text(first)
    for end, first in (("A", 0), ("B", 4)):
        for i in (first, first + 1):
            rows.nth(i).click()
        bench.get_by_role("button", name=f"Use as {end}").click()
        bench.get_by_role("button", name="Show all").click()
    expect(page.locator("#direction-note")).to_contain_text("radii of the sphere of latents")
    bench.get_by_role("button", name="Use the direction in Edit").click()
    expect(page.get_by_role("tab", name="Edit")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_label("From sentences like")).to_have_value("<b>cat</b> number 0\n<b>cat</b> number 1")
    open_tab(page, "Map")
    rows.nth(3).click()
    bench.get_by_role("button", name="To Edit").click()
    expect(page.locator("#edit textarea").first).to_have_value("<b>cat</b> number 3")
    open_tab(page, "Map")
    rows.nth(5).click()
    bench.get_by_role("button", name="To Interpolate").click()
    expect(page.get_by_label("Text 1", exact=True)).to_have_value("<b>cat</b> number 3")
    expect(page.get_by_label("Text 2", exact=True)).to_have_value("<b>cat</b> number 5")
    frames(page)  # gradio gives the controls of a tab that is first shown their values a second time
    unfold(page.locator("#interpolate"))
    number(page.locator("#interpolate"), "Waypoints from text to text", 3)
    page.locator("#interpolate button.run").click()
    state(page, "done", bench="interpolate")
    page.get_by_role("button", name="See the waypoints on the map").click()
    expect(page.locator("#texts .note")).to_contain_text("3 waypoints, numbered")
    page.wait_for_function("document.querySelector('#texts .plot').data[1]?.x.length === 3")

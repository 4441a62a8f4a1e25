"""What a visitor does with the tab Trajectories: runs, opens a point, branches, stops. The map: tests/components."""

import re

from playwright.sync_api import Page, expect

from .conftest import NARROW, WIDE
from .driving import number, open_tab, overflow, press_run, state

BENCH = "trajectories"


def open_flow(visit, size: dict, tokens: int = 6, steps: int = 8) -> Page:
    """Opens the tab with the settings of a short run."""
    page = visit(size)
    bench = open_tab(page, "Trajectories")
    if size is NARROW:
        bench.locator(".fold").click()
    bench.get_by_role("button", name="Sampler").click()
    number(bench.locator(".setting-list"), "New tokens", tokens)
    number(bench.locator(".setting-list"), "Steps a block", steps)
    return page


def finished(page: Page, runs: int) -> None:
    """Waits until so many runs that have come to their end are on the map."""
    expect(page.locator("#curves .summary")).to_have_text(re.compile("^" + runs * "[^:]+: a path is [^:]+" + "$"))
    page.locator("#flow .flow[data-state=done][data-frame]").wait_for()


def scrub(page: Page, frame: int) -> None:
    page.locator("#flow .scrub").evaluate(
        "(scrub, value) => { scrub.value = value; scrub.dispatchEvent(new Event('input')); }", frame
    )
    page.locator(f"#flow .flow[data-frame='{frame}']").wait_for()


def test_a_point_is_opened_and_branched_from_and_the_branch_joins_the_map(visit):
    page = open_flow(visit, WIDE)
    press_run(page, BENCH)
    finished(page, runs=1)
    expect(page.get_by_role("checkbox", name=re.compile("^1 · "))).to_be_checked()
    scrub(page, 4)
    page.get_by_role("button", name="Next path").click()
    page.get_by_role("button", name="Look closer").click()
    expect(page.locator("#point .title")).to_contain_text("before step")
    expect(page.locator("#point .near tr")).to_have_count(8)
    page.get_by_role("button", name="Resume from here").click()
    finished(page, runs=2)
    texts = page.locator("#flow .line").all_inner_texts()
    first, second = (text.split("  ", 1)[1] for text in texts)
    assert first == second
    page.get_by_role("checkbox", name=re.compile("^1 · ")).uncheck()
    finished(page, runs=1)


def test_two_runs_are_compared_on_a_phone_and_saved_as_a_page(visit, tmp_path):
    page = open_flow(visit, NARROW)
    press_run(page, BENCH)
    finished(page, runs=1)
    page.get_by_label("Keep what is on the map, to compare").check()
    page.locator("#trajectories textarea").first.fill("The dog")
    press_run(page, BENCH)
    finished(page, runs=2)
    assert page.locator("#heat .row").count() > 0
    assert overflow(page) <= 0
    with page.expect_download() as download:
        page.get_by_role("button", name="Page (HTML)").click()
    download.value.save_as(tmp_path / "flow-map.html")
    assert "The dog" in (tmp_path / "flow-map.html").read_text()


def test_stop_keeps_what_there_is_and_a_file_that_is_no_trace_is_a_sentence(visit, tmp_path):
    page = open_flow(visit, WIDE, tokens=256, steps=64)  # long enough on any machine
    press_run(page, BENCH)
    page.locator("#flow .flow[data-state=running][data-frame]").wait_for()
    page.locator("#trajectories button.stop").click()
    state(page, "stopped", bench=BENCH)
    expect(page.get_by_role("checkbox", name="· Once upon a time")).to_be_visible()
    file = tmp_path / "broken.npz"
    file.write_bytes(b"PK\x03\x04 not really")
    page.locator("#trajectories").get_by_role("button", name="Open a trace").click()
    page.locator("#trajectories input[type=file]").set_input_files(file)
    expect(page.get_by_role("alert").filter(has_text="expected a trace")).to_be_visible()

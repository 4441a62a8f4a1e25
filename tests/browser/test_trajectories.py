"""What a visitor does with the tab Trajectories: runs, opens a point, branches. The map: tests/app/components."""

import contextlib
import re

from playwright.sync_api import Locator, Page, expect

from app.api.openai_api import ApiOptions
from app.server import Options, Served
from coladlm.serve import Limits

from ..conftest import PATIENCE
from .conftest import NARROW, WIDE
from .driving import (
    fits,
    is_no_wider,
    number,
    open_tab,
    press,
    press_run,
    shifted,
    state,
    unfold,
)

BENCH = "trajectories"

# the first question of the map for what it opens with, the only event whose data are empty, waits
HOLD = """const ask = window.fetch;
window.fetch = async (...request) => {
  const first = String(request[1]?.body).includes('"event_data":{}') && !window.letGo;
  if (first) await new Promise(go => { window.letGo = go; });
  return ask(...request);
};"""


def open_flow(visit, size: dict, tokens: int = 6, steps: int = 8) -> Page:
    """Opens the tab by its link with the settings of a short run, and looks at how it comes."""
    page = visit(size, path=f"/?tab={BENCH}")
    bench = page.locator(f"#{BENCH}")
    expect(bench.locator(".flow .start")).to_be_visible()  # the run that is recorded is of another model
    expect(bench.locator("button.run")).to_be_visible()
    run = bench.locator("button.run").bounding_box()
    assert run["y"] + run["height"] <= size["height"], "Run is not on the first screen"
    assert shifted(page) < 0.02, "the page moved while it was put together"
    unfold(bench)
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


def branch_is_followed_and_stopped_beside_its_button(page: Page) -> None:
    """After a first branch from the point that is opened."""
    branch = page.locator("#branch")
    button = branch.get_by_role("button", name="Resume from here")
    press(page, button.click, "branch")
    state(page, "done", bench="branch")
    button.click()  # at once: gradio's list of the runs may not have heard of the end yet
    expect(listed(page)).to_have_count(4)
    state(page, "done", bench="branch")
    page.get_by_role("checkbox", name=re.compile("^1 · ")).uncheck()
    finished(page, runs=3)
    note = branch.locator(".note")
    expect(note).to_have_text("Done.")
    expect(note).to_be_visible()
    assert abs(note.bounding_box()["y"] - button.bounding_box()["y"]) < 120
    number(branch, "Steps a block", 128)
    branch.get_by_role("button", name="Branch from here").click()
    state(page, "waiting", "running", bench="branch")
    branch.get_by_role("button", name="Stop").click()
    state(page, "stopped", bench="branch")
    expect(page.locator("#branch")).to_have_attribute("data-run-state", "ended")
    expect(page.locator("#flow .flow")).not_to_have_attribute("data-state", "running")
    press_run(page, BENCH)
    finished(page, runs=1)


def test_a_point_is_opened_and_branched_from_and_runs_and_branches_that_are_stopped_stay_on_the_map(visit, slowly):
    page = open_flow(visit, WIDE)
    press_run(page, BENCH)
    finished(page, runs=1)
    expect(page.locator("#branch")).to_be_hidden()  # there is no point to go on from
    page.get_by_role("button", name="Next path").click()
    page.get_by_role("button", name="Look closer").click()  # at the end of a block
    expect(page.get_by_role("button", name="Choose an earlier step first")).to_be_disabled()
    expect(page.get_by_role("checkbox", name=re.compile("^1 · "))).to_be_checked()
    scrub(page, 4)
    page.get_by_role("button", name="Next path").click()
    page.get_by_role("button", name="Look closer").click()
    expect(page.locator("#point .title")).to_contain_text("before step")
    expect(page.locator("#point .near tr")).to_have_count(8)
    page.get_by_role("button", name="Resume from here").click()
    finished(page, runs=2)
    expect(page.locator("#flow .line")).to_have_count(2)
    texts = page.locator("#flow .line").all_inner_texts()
    first, second = (text.split("  ", 1)[1] for text in texts)
    assert first == second
    branch_is_followed_and_stopped_beside_its_button(page)
    a_run_after_one_that_was_stopped_is_drawn_at_once_and_both_are_runs(page)


def test_two_runs_are_compared_on_a_phone_and_saved_as_a_page_and_no_trace_is_no_run(visit, tmp_path):
    page = open_flow(visit, NARROW)
    file = tmp_path / "broken.npz"
    file.write_bytes(b"PK\x03\x04 not really")
    page.locator("#trajectories").get_by_role("button", name="Open a trace").click()
    page.locator("#trajectories input[type=file]").set_input_files(file)
    expect(page.get_by_role("alert").filter(has_text="expected a trace")).to_be_visible()
    press_run(page, BENCH)
    finished(page, runs=1)
    page.get_by_label("Keep what is on the map, to compare").check()
    page.locator("#trajectories textarea").first.fill("The dog")
    press_run(page, BENCH)
    expect(page.locator("#flow .reads")).to_be_in_viewport()  # not where the prompt is, further down
    finished(page, runs=2)
    expect(page.locator("#heat .row").first).to_be_attached()
    is_no_wider(page)
    page.locator("#trajectories").get_by_role("button", name="Share a picture").click()
    expect(page.locator("dialog[open] .run-shown option")).to_have_count(2)
    is_no_wider(page)
    page.keyboard.press("Escape")
    fits(page)
    page.locator("#flow .folded summary").click()
    page.get_by_label("all paths").check()
    with page.expect_download() as download:
        page.get_by_role("button", name="Page (HTML)").click()
    download.value.save_as(tmp_path / "flow-map.html")
    saved = (tmp_path / "flow-map.html").read_text()
    assert "The dog" in saved and '"trails":true' in saved


def listed(page: Page) -> Locator:
    """The runs in the list."""
    return page.locator("#trajectories").get_by_role("checkbox", name=re.compile(r"^\d+ · "))


def stop(page: Page) -> None:
    page.locator("#trajectories .run-controls .stop").click()
    state(page, "stopped", bench=BENCH)


def drawn(page: Page, least: int = 0) -> None:
    """Waits until a run under way is on the map, with more than so many moments."""
    page.wait_for_function(
        """least => { const flow = document.querySelector('#flow .flow');
        return flow.dataset.state === 'running' && Number(flow.dataset.frame) > least; }""",
        arg=least,
    )


def scrolled(page: Page) -> float:
    return page.evaluate("window.scrollY")


def a_run_after_one_that_was_stopped_is_drawn_at_once_and_both_are_runs(page: Page) -> None:
    settings = page.locator("#trajectories .setting-list")
    number(settings, "New tokens", 256)  # long enough on any machine
    number(settings, "Steps a block", 64)
    before = listed(page).count()
    for runs in (1, 2):
        press_run(page, BENCH)
        drawn(page, least=3)  # a run that is stopped sooner has no path
        stop(page)
        expect(page.locator("#flow .flow")).to_have_attribute("data-state", "stopped")
        expect(listed(page)).to_have_count(before + runs)
        expect(listed(page).first).to_be_checked()
    expect(page.locator("#trajectories")).to_have_attribute("data-run-state", "ended")
    # the paths of a stopped run come after its word
    page.wait_for_function("Number(document.querySelector('#flow .scrub').max) > 1")
    last = int(page.locator("#flow .scrub").get_attribute("max"))
    scrub(page, last - 1)
    page.get_by_role("button", name="Play", exact=True).click()
    page.locator(f"#flow .flow[data-frame='{last}']").wait_for()
    page.locator("#heat .row").first.wait_for()


def the_path_of_a_word_is_shown_in_its_block_and_its_run_once(page: Page) -> None:
    """Of a text of 12 tokens on Generate."""
    words = page.locator("#text .answer .token")
    last = words.last
    for word in (words.nth(6), last):
        at = scrolled(page)
        word.dispatch_event("click")  # a random model's tokens may take no room
        block, token = word.get_attribute("data-block"), word.get_attribute("data-token")
        block, place = int(block) + 1, int(token) + 1  # the model of this server has a token a place
        expect(page.locator("#token .where")).to_have_text(f"token {place} of block {block}")
        assert scrolled(page) == at
        page.locator("#token .path").click()
        expect(page.locator("#flow .which")).to_contain_text(f"block {block} place {place}")
        expect(page.locator("#flow .note")).to_contain_text(f"block {block} of")
        expect(page.locator("#point .title")).to_contain_text(f"Block {block}, place {place}")
        expect(listed(page)).to_have_count(1)
        expect(listed(page)).to_be_checked()
        if word is not last:
            open_tab(page, "Generate")


def test_a_run_that_is_chosen_before_the_recorded_one_has_come_is_shown_with_it(browser, bundled):
    with contextlib.ExitStack() as at_the_end:
        # in this process: another one would import for seconds
        served = Served(bundled, Limits(), ApiOptions(), Options(quiet=True))
        at_the_end.callback(served.end, grace=0)
        page = at_the_end.enter_context(browser.new_context(reduced_motion="reduce")).new_page()
        page.set_default_timeout(PATIENCE)
        page.add_init_script(HOLD)
        page.goto(f"{served.address}?tab={BENCH}")
        page.wait_for_function("Boolean(window.letGo)")
        runs = ("A little fox", "The same fox a block at once")
        first, second = (page.get_by_role("checkbox", name=name) for name in runs)
        second.check()
        page.evaluate("window.letGo()")
        finished(page, runs=2)
        expect(first).to_be_checked()
        expect(second).to_be_checked()
        second.uncheck()
        finished(page, runs=1)

"""The tab Trajectories in a real browser, with the bundled model: run, play, scrub, open, branch, compare, export."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from .conftest import NARROW, WIDE

SETTLED = re.compile(r"(\d+) of (\d+) places have settled")
WAIT = 120_000  # a busy machine


@pytest.fixture(scope="module")
def server(bundled_server):
    return bundled_server


@pytest.fixture
def open_tab(visit):
    def open_tab(size=WIDE, **options) -> Page:
        page = visit(size, **options)
        page.set_default_timeout(WAIT)
        choose_tab(page, "Trajectories")
        page.locator(".flow[data-state=done][data-frame]").wait_for()
        if size is NARROW:
            page.locator("#trajectories .fold").click()
        page.locator("#trajectories").get_by_role("button", name="Sampler").click()
        for setting, value in (("New tokens", "6"), ("Steps a block", "8")):
            put(page, setting, value)
        return page

    return open_tab


def choose_tab(page: Page, name: str) -> None:
    """Opens a tab; a narrow page keeps the last ones in a menu."""
    tab = page.get_by_role("tab", name=name)
    if tab.count() and tab.first.is_visible():
        tab.first.click()
        return
    page.locator("#tabs .overflow-menu > button").click()
    page.locator("#tabs .overflow-dropdown button", has_text=name).click()


def put(page: Page, setting: str, value: str) -> None:
    number = page.locator("#trajectories .setting").filter(has_text=setting).locator("input[type=number]")
    number.fill(value)
    number.blur()


def run(page: Page) -> None:
    page.locator("#trajectories button.run").click()
    expect(page.get_by_role("checkbox", name=re.compile("^1 · "))).to_be_checked(timeout=WAIT)  # not the recorded one
    finished(page, runs=1)


def finished(page: Page, runs: int) -> None:
    """Waits until so many runs that have come to their end are on the map."""
    expect(page.locator("#curves .summary")).to_have_text(
        re.compile("^" + "[^:]+: a path is [^:]+" * runs + "$"), timeout=WAIT
    )
    page.locator(".flow[data-state=done]").wait_for(timeout=WAIT)


def scrub(page: Page, frame: int) -> None:
    page.locator("#flow .scrub").evaluate(
        "(scrub, value) => { scrub.value = value; scrub.dispatchEvent(new Event('input')); }", frame
    )
    page.locator(f".flow[data-frame='{frame}']").wait_for()


def settled(page: Page) -> tuple[int, int]:
    found = SETTLED.search(page.locator("#flow .said").inner_text())
    return int(found[1]), int(found[2])


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1280", "390"])
def test_a_run_is_scrubbed_with_its_text_and_its_heat_map(open_tab, size):
    page = open_tab(size)
    run(page)
    last = int(page.locator("#flow .scrub").get_attribute("max"))
    words, begun = settled(page)
    assert words == begun > 0
    text = page.locator("#flow .reads").inner_text()
    scrub(page, 0)
    assert settled(page)[0] <= settled(page)[1] < begun
    assert page.locator("#flow .reads").inner_text() != text
    scrub(page, last)
    assert page.locator("#flow .reads").inner_text() == text
    assert page.locator("#heat .row").count() == begun
    assert "words had settled at" in page.locator("#heat .about").inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]


def test_a_first_visit_shows_a_recorded_run_on_a_cloud_of_words(visit):
    page = visit()
    page.set_default_timeout(WAIT)
    choose_tab(page, "Trajectories")
    page.locator(".flow[data-state=done][data-frame]").wait_for()
    assert page.locator("#flow .scatterlayer .trace").first.locator(".points path").count() > 1000
    paths = page.locator("#flow .scatterlayer .js-line")
    assert paths.count() > 0
    scrub(page, 0)
    assert paths.count() == 0, "a path of another moment stays on the map"
    assert "PCA is a shadow" in page.locator("#flow .truth").inner_text()


def test_the_player_stays_where_it_is_while_the_text_grows(open_tab):
    page = open_tab()
    last = int(page.locator("#flow .scrub").get_attribute("max"))
    tops = set()
    for frame in (0, last // 2, last):
        scrub(page, frame)
        tops.add(page.locator("#flow .play").bounding_box()["y"])
    assert len(tops) == 1


def test_playing_asks_the_server_for_nothing(open_tab):
    page = open_tab()
    asked = []
    page.on("request", lambda request: asked.append(request.url) if "heartbeat" not in request.url else None)
    run(page)
    while asked:  # what follows a run: its place in the history, its link
        asked.clear()
        page.wait_for_timeout(1000)
    scrub(page, 0)
    page.locator("#flow .speed").select_option("4")
    page.get_by_role("button", name="Play", exact=True).click()
    last = page.locator("#flow .scrub").get_attribute("max")
    page.locator(f".flow[data-frame='{last}']").wait_for()
    expect(page.get_by_role("button", name="Play", exact=True)).to_be_visible()
    assert asked == []


def click_on_a_path(page: Page) -> None:
    """Clicks the first head of the first run, where Plotly has drawn it."""
    spot = page.evaluate("""() => {
      const plot = document.querySelector('#flow .map'), heads = plot.data.find(trace => trace.mode === 'markers+text');
      const {xaxis, yaxis} = plot._fullLayout, box = plot.getBoundingClientRect();
      return [box.x + xaxis._offset + xaxis.d2p(heads.x[0]), box.y + yaxis._offset + yaxis.d2p(heads.y[0])];
    }""")
    page.mouse.move(*spot)
    page.wait_for_function("document.querySelector('#flow .map')._hoverdata")  # what Plotly gives out at a click
    page.mouse.click(*spot)


def test_a_point_is_opened_and_branched_from_and_the_branch_joins_the_map(open_tab):
    page = open_tab()
    run(page)
    scrub(page, 4)
    page.locator("#flow .stage").scroll_into_view_if_needed()
    click_on_a_path(page)
    page.locator("#point .title").wait_for()
    assert "before step" in page.locator("#point .title").inner_text()
    assert page.locator("#point .near tr").count() == 8
    page.get_by_role("button", name="Resume from here").click()
    finished(page, runs=2)
    texts = page.locator("#flow .line").all_inner_texts()
    first, second = (text.split("  ", 1)[1] for text in texts)
    assert first == second


def test_two_runs_are_compared(open_tab):
    page = open_tab()
    run(page)
    page.get_by_label("Keep what is on the map, to compare").check()
    page.locator("#trajectories textarea").first.fill("The dog")
    page.locator("#trajectories button.run").click()
    finished(page, runs=2)
    assert page.locator("#curves .summary").inner_text().count("times as long") == 2
    page.get_by_role("checkbox", name="· Once upon a time").uncheck()
    finished(page, runs=1)


def test_keys_alone_choose_a_path_open_it_and_step(open_tab):
    page = open_tab()
    run(page)
    page.locator("#flow .next").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#flow .which")).to_contain_text("block 1 place")
    page.locator("#flow .open").focus()
    page.keyboard.press("Enter")
    page.locator("#point .title").wait_for()
    expect(page.locator("#point .title")).to_be_focused()
    page.locator("#heat .row[tabindex='0']").focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator("#heat .row[aria-selected=true]")).to_be_focused()
    before = page.locator("#flow .said").inner_text()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#flow .said")).not_to_have_text(before)
    page.locator("#flow .scrub").focus()
    page.keyboard.press("Home")
    page.locator(".flow[data-frame='0']").wait_for()


def test_pictures_are_saved_and_the_page_plays_without_the_server(open_tab, browser, tmp_path):
    page = open_tab()
    run(page)
    for kind, start in (("png", b"\x89PNG"), ("svg", b"<svg")):
        with page.expect_download() as download:
            page.locator(f"#flow .save[data-format={kind}]").click()
        download.value.save_as(tmp_path / f"map.{kind}")
        assert (tmp_path / f"map.{kind}").read_bytes().startswith(start)
    with page.expect_download() as download:
        page.locator("#save button[data-kind=html]").click()
    for picture, start in (("heat", b"\x89PNG"), ("curves", b"\x89PNG"), ("heat", b"<svg"), ("curves", b"<svg")):
        kind = "svg" if start == b"<svg" else "png"
        with page.expect_download() as saved:
            page.locator(f"#{picture} .save[data-format={kind}]").click()
        saved.value.save_as(tmp_path / f"{picture}.{kind}")
        assert (tmp_path / f"{picture}.{kind}").read_bytes().startswith(start)
    file = tmp_path / "flow-map.html"
    download.value.save_as(file)
    wrong = []
    context = browser.new_context(offline=True, reduced_motion="reduce")
    alone = context.new_page()
    alone.on("pageerror", lambda error: wrong.append(str(error)))
    alone.on("request", lambda request: wrong.append(request.url) if not request.url.startswith("file:") else None)
    alone.goto(file.as_uri())
    alone.locator(".flow[data-state=done]").wait_for()
    alone.locator(".flow[data-frame]").wait_for()
    assert alone.locator(".reads").inner_text() == page.locator("#flow .reads").inner_text()
    scrub_alone = "(s) => { s.value = 0; s.dispatchEvent(new Event('input')); }"
    alone.locator(".scrub").evaluate(scrub_alone)
    alone.locator(".flow[data-frame='0']").wait_for()
    assert alone.locator(".heat .row").count() > 0
    assert [w for w in wrong if not w.startswith("data:")] == []
    context.close()


def test_three_dimensions_and_umap_can_be_seen(open_tab):
    page = open_tab(NARROW)  # a browser without a graphics card draws three dimensions pixel by pixel
    run(page)
    page.locator("#flow .chart[value=umap]").check()
    expect(page.locator("#flow .truth")).to_contain_text("Distances on a UMAP are not latent distances")
    if page.locator("#flow .dims[value='3']").is_enabled():
        page.locator("#flow .dims[value='3']").check()
        page.wait_for_function("document.querySelector('#flow .map')._fullLayout.scene !== undefined")


def test_stop_keeps_what_there_is(open_tab):
    page = open_tab()
    for setting, value in (("New tokens", "256"), ("Steps a block", "64")):  # long enough on any machine
        put(page, setting, value)
    page.locator("#trajectories button.run").click()
    page.locator(".flow[data-state=running][data-frame]").wait_for()
    page.locator("#trajectories button.stop").click()
    expect(page.locator("#trajectories .progress .said")).to_contain_text("Stopped")
    expect(page.get_by_role("checkbox", name="· Once upon a time")).to_be_visible(timeout=WAIT)


def test_a_file_that_is_no_trace_is_a_sentence(open_tab, tmp_path):
    page = open_tab()
    file = tmp_path / "broken.npz"
    file.write_bytes(b"PK\x03\x04 not really")
    page.locator("#trajectories").get_by_role("button", name="Open a trace").click()
    page.locator("#trajectories input[type=file]").set_input_files(file)
    expect(page.locator("#trajectories .progress .wrong")).to_contain_text("expected a trace")

"""The flow map with its heat map and its curves: recorded runs of the bundled model on its reference cloud."""

import base64
import json
import re

import pytest
from playwright.sync_api import expect

from .conftest import NARROW, WIDE

SETTLED = re.compile(r"(\d+) of (\d+) places have settled")
# those of a size after each other, for a map is drawn once for all of them
SIZES = pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1280", "390"], scope="module")


@pytest.fixture
def flow(parts, bare, flows):
    """flow(size, runs) shows recorded runs on the map, the first of them if none is named.

    scrubbed: for a test that does no more with that first run than to scrub it, and leaves it to the next one.
    """

    def show(size=WIDE, runs=(), play=False, scrubbed=False, **visitor):
        shown = flows.shown(*(runs or flows.recorded[:1]), play=play)
        page = bare(
            {
                "flow": parts.part("flow", cloud=flows.cloud, value=shown.flow),
                "heat": parts.part("heat"),
                "curves": parts.part("curves", value=shown.curves),
                "point": parts.part("point"),
                "share": parts.part("share", within="trajectories"),
            },
            size,
            "trajectories",
            kept=f"a run of {size['width']}" if scrubbed else "",
            **visitor,
        )
        if scrubbed:
            page.page.evaluate(
                """() => { const scrub = document.querySelector('#flow .scrub');
                if (scrub.value === scrub.max) return;
                scrub.value = scrub.max;
                scrub.dispatchEvent(new Event('input')); }"""
            )
        page.page.wait_for_function(
            """() => {
            const flow = document.querySelector('#flow .flow'), last = flow.querySelector('.scrub').max;
            return flow.dataset.state === 'done' && (flow.dataset.frame === last || %s); }"""
            % ("true" if play else "false")
        )
        return page

    return show


def last_frame(page) -> int:
    return int(page.locator("#flow .scrub").get_attribute("max"))


def scrub(page, frame: int) -> None:
    page.locator("#flow .scrub").evaluate(
        "(scrub, value) => { scrub.value = value; scrub.dispatchEvent(new Event('input')); }", frame
    )
    page.locator(f".flow[data-frame='{frame}']").wait_for()


def settled(page) -> tuple[int, int]:
    """How many places have settled, of how many that have begun."""
    found = SETTLED.search(page.locator("#flow .note").inner_text())
    return int(found[1]), int(found[2])


@SIZES
def test_a_run_is_scrubbed_with_its_text_and_its_heat_map(flow, size):
    page = flow(size, scrubbed=True)
    words, begun = settled(page)
    assert words == begun > 0
    text = page.locator("#flow .reads").inner_text()
    scrub(page, 0)
    assert settled(page)[0] <= settled(page)[1] < begun
    assert page.locator("#flow .reads").inner_text() != text
    scrub(page, last_frame(page))
    assert page.locator("#flow .reads").inner_text() == text
    assert page.locator("#heat .row").count() == begun
    assert re.search(r"words (had )?settled (after|before)", page.locator("#heat .about").inner_text())
    assert page.overflow() <= 0


def test_a_run_lies_on_a_cloud_of_words_and_only_its_moment_is_drawn(flow, flows):
    page = flow(scrubbed=True)
    words = page.locator("#flow .scatterlayer .trace").first.locator(".points path")
    assert words.count() == len(json.loads(flows.cloud)["words"])
    paths = page.locator("#flow .scatterlayer .js-line")
    assert paths.count() > 0
    scrub(page, 0)
    assert paths.count() == 0, "a path of another moment stays on the map"
    assert "PCA is a shadow" in page.locator("#flow .truth").inner_text()


PIXELS = """() => { const canvas = document.querySelector('#flow .roll canvas');
    const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    return data.reduce((sum, value) => sum + value, 0); }"""  # of the strip, 0 where nothing is drawn


@SIZES
def test_the_strip_below_the_map_shows_every_step_and_where_the_run_stands(flow, size):
    page = flow(size, scrubbed=True)
    end = page.page.evaluate(PIXELS)
    assert end > 0
    scrub(page, last_frame(page) // 2)
    assert 0 < page.page.evaluate(PIXELS) != end
    stage, strip = (page.locator(f"#flow {part}").bounding_box() for part in (".stage", ".roll"))
    assert strip["y"] >= stage["y"] + stage["height"] and strip["y"] + strip["height"] <= size["height"]


def test_the_player_stays_where_it_is_while_the_text_grows(flow):
    page = flow(scrubbed=True)
    last = last_frame(page)
    tops = set()
    for frame in (0, last // 2, last):
        scrub(page, frame)
        tops.add(page.locator("#flow .play").bounding_box()["y"])
    assert len(tops) == 1


def test_words_left_and_map_right_of_a_wide_page_and_one_below_the_other_on_a_phone(flow):
    def places(page):
        return [page.locator(f"#flow {part}").bounding_box() for part in (".reads", ".stage")]

    words, map_ = places(flow(scrubbed=True))
    assert words["x"] + words["width"] <= map_["x"] and words["y"] == map_["y"]
    assert map_["width"] > words["width"]
    words, map_ = places(flow(NARROW, scrubbed=True))
    assert words["y"] + words["height"] <= map_["y"] and words["width"] == map_["width"]


def test_the_colours_of_confidence_are_there_on_request(flow):
    page = flow()
    word = page.locator("#flow .reads .token").first
    colour = "node => getComputedStyle(node).backgroundColor"
    before = word.evaluate(colour)
    page.locator("#flow .colours").check()
    assert word.evaluate(colour) != before == "rgba(0, 0, 0, 0)"
    page.locator("#flow .colours").uncheck()


def test_a_map_that_is_wider_than_its_points_says_how_much_wider_than_to_scale_it_is_drawn(flow):
    page = flow()
    ratio = page.page.evaluate("document.querySelector('#flow .map').layout.yaxis.scaleratio")
    assert 0.5 <= ratio < 0.95
    assert f"It is drawn {1 / ratio:.2g} times wider than to scale." in page.locator("#flow .truth").inner_text()
    page.page.set_viewport_size({"width": 1000, "height": 1200})
    page.page.wait_for_function(
        """ratio => { const {layout, clientHeight} = document.querySelector('#flow .map');
        return layout.yaxis.scaleratio > ratio && clientHeight > 400; }""",
        arg=ratio,
    )
    page.page.set_viewport_size(WIDE)
    page.page.wait_for_function(
        "ratio => document.querySelector('#flow .map').layout.yaxis.scaleratio === ratio", arg=ratio
    )


def test_an_empty_map_asks_for_a_run_when_it_is_first_seen(parts, bare, flows):
    page = bare({"flow": parts.part("flow", cloud=flows.cloud)}, bench="trajectories")
    page.page.wait_for_function("parts.flow.triggered.length > 0")
    page.page.get_by_role("button", name="Run one").click()
    assert page.triggered("flow") == [["input", {}], ["submit", {}]]


def test_playing_asks_for_nothing_and_comes_to_the_end(flow):
    page = flow()
    asked = []
    page.page.on("request", lambda request: asked.append(request.url))
    last = last_frame(page)
    scrub(page, last - 8)
    page.locator("#flow .speed").select_option("4")
    page.page.get_by_role("button", name="Play", exact=True).click()
    expect(page.page.get_by_role("button", name="Pause", exact=True)).to_be_visible()
    page.locator(f".flow[data-frame='{last}']").wait_for()
    expect(page.page.get_by_role("button", name="Play", exact=True)).to_be_visible()
    assert asked == [] and page.triggered("flow") == []


def test_a_run_plays_by_itself_where_movement_is_allowed_until_another_begins(flow, flows):
    still = flow(play=True)
    expect(still.page.get_by_role("button", name="Play", exact=True)).to_be_visible()
    page = flow(play=True, movement=True)
    expect(page.page.get_by_role("button", name="Pause", exact=True)).to_be_visible()
    [own] = growing(flows, (9,), "a-run-of-ones-own")  # ends the playing of what stood there, and is followed
    page.frame("flow", own)
    page.locator(f".flow[data-state=running][data-frame='{moment(own)}']").wait_for()
    expect(page.page.get_by_role("button", name="Play", exact=True)).to_be_visible()


def test_a_word_that_is_clicked_stays_where_it_is(flow):
    page = flow()
    reads = page.locator("#flow .reads")
    reads.evaluate(
        "reads => { reads.style.cssText = 'min-height: 0; max-height: 2em; width: 8em'; reads.scrollTop = 0; }"
    )
    assert reads.evaluate("reads => reads.scrollHeight > 2 * reads.clientHeight")
    page.locator("#flow .reads .token").first.dispatch_event("click")
    expect(page.locator("#flow .reads .token.chosen")).to_have_count(1)
    assert reads.evaluate("reads => reads.scrollTop") == 0


def test_a_click_on_a_path_opens_its_point(flow, flows):
    page = flow()
    scrub(page, 4)
    page.locator("#flow .stage").scroll_into_view_if_needed()
    spot = page.page.evaluate(
        """() => {
        const plot = document.querySelector('#flow .map');
        const heads = plot.data.find(trace => trace.mode === 'markers+text');
        const {xaxis, yaxis} = plot._fullLayout, box = plot.getBoundingClientRect();
        return [box.x + xaxis._offset + xaxis.d2p(heads.x[0]), box.y + yaxis._offset + yaxis.d2p(heads.y[0])]; }"""
    )
    page.page.mouse.move(*spot)
    page.page.wait_for_function("document.querySelector('#flow .map')._hoverdata")  # what Plotly gives out at a click
    page.page.mouse.click(*spot)
    page.page.wait_for_function("parts.flow.triggered.length > 0")
    (point,) = page.triggered("flow", "select")
    page.update("point", flows.card(point))
    expect(page.locator("#point .title")).to_contain_text("before step")
    expect(page.locator("#point .title")).to_be_focused()
    expect(page.locator("#point .near tr")).to_have_count(8)


def test_keys_alone_choose_a_path_open_it_and_step(flow):
    page = flow()
    keyboard = page.page.keyboard
    page.locator("#flow .next").focus()
    keyboard.press("Enter")
    expect(page.locator("#flow .which")).to_contain_text("block 1 place")
    page.locator("#flow .open").focus()
    keyboard.press("Enter")
    assert len(page.triggered("flow", "select")) == 1
    page.locator("#heat .row[tabindex='0']").focus()
    keyboard.press("ArrowDown")
    expect(page.locator("#heat .row[aria-selected=true]")).to_be_focused()
    before = page.locator("#flow .note").inner_text()
    keyboard.press("ArrowLeft")
    expect(page.locator("#flow .note")).not_to_have_text(before)
    page.locator("#flow .scrub").focus()
    keyboard.press("Home")
    page.locator(".flow[data-frame='0']").wait_for()


# a box is as high as its letters, without the room above and below
LABELS = """() => [...document.querySelectorAll('#flow .map .textpoint text')].filter(node => node.textContent)
    .map(node => {
        const {x, y, width, height} = node.getBoundingClientRect();
        return {text: node.textContent, x, y: y + height * 0.2, width, height: height * 0.6}; })"""


@SIZES
def test_no_label_of_the_map_covers_another(flow, size):
    page = flow(size, scrubbed=True)
    for frame in (0, last_frame(page) // 2, last_frame(page)):
        scrub(page, frame)
        labels = page.page.evaluate(LABELS)
        assert len(labels) > 8
        for i, a in enumerate(labels):
            for b in labels[:i]:
                beside = a["x"] + a["width"] <= b["x"] + 1 or b["x"] + b["width"] <= a["x"] + 1
                assert beside or a["y"] + a["height"] <= b["y"] or b["y"] + b["height"] <= a["y"], (a, b)


def test_the_colours_of_a_single_run_are_explained_and_compared_runs_have_their_own(flow, flows):
    page = flow()
    expect(page.locator("#flow .key")).to_be_visible()
    colours = (
        "document.querySelector('#flow .map').data.filter(each => each.mode === 'lines').map(each => each.line.color)"
    )
    time = page.page.evaluate(colours)
    assert len(set(time)) == len(time) == 4
    page = flow(runs=flows.recorded[:2])
    expect(page.locator("#flow .key")).to_be_hidden()
    assert not set(page.page.evaluate(colours)) & set(time)


def test_two_runs_are_compared_side_by_side(flow, flows):
    page = flow(runs=flows.recorded[:2])
    assert page.locator("#flow .line").count() == 2
    first, second = (page.locator("#flow .line").nth(i).bounding_box() for i in range(2))
    assert first["y"] == second["y"] and first["x"] + first["width"] <= second["x"]
    expect(page.locator("#curves .summary")).to_have_text(re.compile("^" + 2 * "[^:]+: a path is [^:]+" + "$"))
    assert page.locator("#curves .summary").inner_text().count("times as long") == 2
    one = flows.shown(flows.recorded[1])
    page.update("flow", one.flow)
    page.update("curves", one.curves)
    expect(page.locator("#flow .line")).to_have_count(1)
    expect(page.locator("#curves .summary")).to_have_text(re.compile("^[^:]+: a path is [^:]+$"))


def growing(flows, counts, run="a-run", began=1.0):
    """Values of a run under way with so many lines."""
    value = flows.shown(flows.recorded[0]).flow
    lines = value["lines"].replace(flows.recorded[0], run).splitlines(keepends=True)
    return [{**value, "state": "running", "run": run, "began": began, "lines": "".join(lines[:n])} for n in counts]


def moment(value):
    """The number of the last moment of a value: all lines but that of the run, counted from 0."""
    return value["lines"].count("\n") - 2


def test_a_run_that_grows_is_followed_and_stop_keeps_what_there_is(parts, bare, flows):
    values = growing(flows, (4, 9, 14))
    page = bare({"flow": parts.part("flow", cloud=flows.cloud)}, bench="trajectories")
    for given in values[:2]:
        page.frame("flow", given)
        page.locator(f".flow[data-state=running][data-frame='{moment(given)}']").wait_for()
    page.run_state("stopping")
    expect(page.locator(".flow")).to_have_attribute("data-state", "stopped")
    page.frame("flow", {**values[2], "state": "stopped"})  # the last frame, which comes with the end
    page.run_state("ended", "stopped")
    page.locator(f".flow[data-state=stopped][data-frame='{moment(values[2])}']").wait_for()
    scrub(page, 0)
    page.page.get_by_role("button", name="Play", exact=True).click()
    expect(page.page.get_by_role("button", name="Pause", exact=True)).to_be_visible()


def test_the_run_after_one_that_was_stopped_is_drawn_from_its_first_frame_on(parts, bare, flows):
    (first,), (second,) = growing(flows, (9,)), growing(flows, (4,), "another-run", 2.0)
    page = bare({"flow": parts.part("flow", cloud=flows.cloud)}, bench="trajectories")
    page.frame("flow", first)
    page.run_state("stopping")
    page.frame("flow", {**first, "state": "stopped"})
    page.run_state("ended", "stopped")
    page.frame("flow", second)
    page.locator(f".flow[data-state=running][data-frame='{moment(second)}']").wait_for()


def test_of_two_runs_at_once_the_map_shows_the_one_that_began_last(parts, bare, flows):
    early, late = growing(flows, (4, 14)), growing(flows, (6, 9), "another-run", 2.0)
    page = bare({"flow": parts.part("flow", cloud=flows.cloud)}, bench="trajectories")
    for given in (early[0], late[0], early[1]):
        page.frame("flow", given)
    page.locator(f".flow[data-frame='{moment(late[0])}']").wait_for()
    page.frame("flow", late[1])
    page.locator(f".flow[data-frame='{moment(late[1])}']").wait_for()


def test_a_path_that_was_asked_for_is_chosen_in_its_block(flow, flows):
    page = flow()
    value = flows.shown(flows.recorded[0]).flow
    end = max(json.loads(line)["step"] for line in value["lines"].splitlines()[1:])
    for block, time in ((2, "a"), (1, "b"), (1, "c")):
        chosen = {"run": flows.recorded[0], "block": block, "step": end, "place": 3, "time": time}
        page.update("flow", {**value, "choose": chosen})
        expect(page.locator("#flow .which")).to_contain_text(f"block {block + 1} place 4")
        expect(page.locator("#flow .note")).to_contain_text(f"block {block + 1} of")
        scrub(page, 0)


def test_pictures_are_saved(flow, tmp_path):
    page = flow()
    for place in ("flow", "heat", "curves"):
        page.locator(f"#{place} .save").first.wait_for()
        for kind, start in (("png", b"\x89PNG"), ("svg", b"<svg")):
            file = page.save(page.locator(f"#{place} .save[data-format={kind}]"), tmp_path)
            assert file.suffix == f".{kind}" and file.read_bytes().startswith(start), place


def test_a_run_of_the_map_becomes_a_picture_to_share(flow, flows, tmp_path):
    page = flow(runs=flows.recorded[-2:])
    page.locator("#share .open").click()
    page.locator("dialog[open]").wait_for()
    assert page.locator("#share .run-shown option").count() == 2
    texts = []
    for number in ("0", "1"):
        page.locator("#share .run-shown").select_option(number)
        texts.append(page.locator("#share canvas").get_attribute("aria-label"))
    assert texts[0] != texts[1] and all(text.startswith("The card: Once upon a time") for text in texts)
    svg = page.save(page.locator("#share [data-kind=svg]"), tmp_path).read_text("utf-8")
    assert "stochasticity" in svg and "renewed at every step" in svg  # the last recorded run has fresh noise
    page.page.keyboard.press("Escape")


def test_three_dimensions_and_umap_can_be_seen(flow):
    page = flow(NARROW)  # a browser without a graphics card draws three dimensions pixel by pixel
    page.page.get_by_text("What the map shows").click()
    page.locator("#flow .chart[value=umap]").check()
    expect(page.locator("#flow .truth")).to_contain_text("Distances on a UMAP are not latent distances")
    if page.locator("#flow .dims[value='3']").is_enabled():
        page.locator("#flow .dims[value='3']").check()
        page.page.wait_for_function("document.querySelector('#flow .map')._fullLayout.scene !== undefined")


def test_the_exported_page_plays_without_a_server_dark_and_as_the_map_was_looked_at(flow, flows, browser, tmp_path):
    text, run = flow().locator("#flow .reads").inner_text(), flows.recorded[0]
    look = {"chart": "umap", "dims": 2, "words": True, "trails": True, "chosen": {"run": run, "block": 1, "place": 0}}
    file = tmp_path / "flow-map.html"
    file.write_bytes(base64.b64decode(flows.exported(run, look=look)))
    wrong = []
    with browser.new_context(offline=True, reduced_motion="reduce", color_scheme="dark") as context:
        alone = context.new_page()
        alone.on("pageerror", lambda error: wrong.append(str(error)))
        alone.on("request", lambda request: wrong.append(request.url) if not request.url.startswith("file:") else None)
        alone.goto(file.as_uri())
        alone.locator(".flow[data-state=done][data-frame]").wait_for()
        assert alone.locator(".reads").inner_text() == text
        assert [alone.locator(box).is_checked() for box in (".chart[value=umap]", ".trails", ".blocks")] == [
            True,
            True,
            False,
        ]
        expect(alone.locator(".which")).to_contain_text("block 2 place 1")
        expect(alone.locator("body")).to_have_css("background-color", "rgb(27, 28, 33)")
        alone.locator(".scrub").evaluate("(s) => { s.value = 0; s.dispatchEvent(new Event('input')); }")
        alone.locator(".flow[data-frame='0']").wait_for()
        assert alone.locator(".heat .row").count() > 0
    assert [w for w in wrong if not w.startswith("data:")] == []

"""The card of a run: a dialog with the picture, and its files, made in the browser of what the bench shows."""

import html
import io
import re
import xml.etree.ElementTree as ElementTree

import pytest
from PIL import Image, ImageSequence
from playwright.sync_api import expect

from app.generate.inspection import look_value, paths_of
from app.shared.charts import Charts

from ...browser.driving import grave_violations
from .conftest import NARROW, WIDE

OPEN = "#share .open"


@pytest.fixture(scope="module")
def run_shown(model, golden_cloud, generated):
    """The values of the strip and of the paths for a finished run."""
    trace = generated.trace
    return look_value(model, trace, 0, "r"), paths_of(Charts(model, golden_cloud), trace, 0, "r")


@pytest.fixture
def card(parts, bare, run_shown):
    """card(size) opens the card of a finished run, by keyboard."""

    def show(size=WIDE, dark=False):
        strip, flow = run_shown
        shown = bare(
            {
                "paths": parts.part("paths", value=flow),
                "text": parts.part("strip", value=strip),
                "share": parts.part("share", within="generate"),
            },
            size,
            "generate",
            dark=dark,
        )
        shown.locator(OPEN).focus()
        shown.page.keyboard.press("Enter")
        shown.locator("dialog[open]").wait_for()
        return shown

    return show


def saved(page, kind, folder) -> bytes:
    file = page.save(page.locator(f"#share [data-kind={kind}]"), folder)
    assert re.fullmatch(rf"once-upon-a-time.*-seed-3\.{kind}", file.name)
    return file.read_bytes()


def plain(text: str) -> str:
    """Without what differs between files: spaces, and characters that a random model writes and no SVG can hold."""
    return "".join(letter for letter in "".join(text.split()) if letter.isprintable() and letter != "\ufffd")


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1280", "390"])
def test_the_dialog_opens_by_keyboard_and_gives_the_focus_back(card, run_shown, size):
    page = card(size)
    assert grave_violations(page.page) == []
    expect(page.locator("#share [data-kind=png]")).to_be_focused()
    assert page.locator("#share canvas").get_attribute("aria-label").startswith("The card: Once upon a time")
    assert page.overflow() <= 0
    page.page.keyboard.press("Escape")
    expect(page.locator("dialog[open]")).to_have_count(0)
    expect(page.locator(OPEN)).to_be_focused()


def test_its_files_show_the_whole_text(card, generated, tmp_path):
    page, text = card(), plain("Once upon a time" + generated.trace.texts[0])
    picture = Image.open(io.BytesIO(saved(page, "png", tmp_path)))
    assert picture.size == (2400, 1260)
    words = [node for node in ElementTree.fromstring(saved(page, "svg", tmp_path)).iter() if node.get("textLength")]
    assert plain("".join(node.text for node in words)).startswith(text)
    assert text in plain(html.unescape(saved(page, "html", tmp_path).decode()))


def test_the_gif_rises_out_of_noise_and_ends_on_the_card(card, tmp_path):
    page = card()
    moments = page.page.evaluate("CardFilm.MOMENTS")
    page.page.evaluate("CardFilm.MOMENTS = 28")  # a quarter of them: each is drawn and packed
    film = Image.open(io.BytesIO(saved(page, "gif", tmp_path)))
    page.page.evaluate("moments => { CardFilm.MOMENTS = moments; }", moments)
    frames = [frame.convert("L") for frame in ImageSequence.Iterator(film)]
    durations = [frame.info["duration"] for frame in ImageSequence.Iterator(film)]
    assert film.info["loop"] == 0 and len(frames) > 20 and durations[-1] >= 3000 > sum(durations[:-1]) / len(durations)
    still = Image.open(io.BytesIO(saved(page, "png", tmp_path))).convert("L").resize(frames[0].size)
    apart = [sum(frame.histogram()[:128]) / sum(still.histogram()[:128]) for frame in (frames[0], frames[-1])]
    assert apart[0] < 0.8 and 0.8 < apart[1] < 1.25  # dark pixels, as shares of those of the card


def test_a_gif_can_be_stopped(card):
    page = card()
    page.page.evaluate(
        """() => { const root = document.querySelector('#share');
        root.querySelector('[data-kind=gif]').click(); root.querySelector('.stop-film').click(); }"""
    )
    expect(page.locator("#share .outcome")).to_have_text("Stopped.")
    expect(page.locator("#share [data-kind=gif]")).to_be_enabled()


def test_a_dark_page_has_a_dark_card_and_paper_can_be_chosen(card):
    page = card(dark=True)
    paper = "() => document.querySelector('#share .card').getContext('2d').getImageData(3, 3, 1, 1).data[0]"
    assert page.page.evaluate(paper) < 40
    page.locator("#share .paper[value=light]").check()
    assert page.page.evaluate(paper) > 200


def test_where_there_is_no_run_a_sentence_says_so(parts, bare):
    page = bare({"share": parts.part("share", within="generate"), "paths": parts.part("paths")}, bench="generate")
    page.locator(OPEN).click()
    expect(page.locator("#share .none")).to_have_text("There is no run with paths here yet.")


def test_the_html_plays_without_a_network_and_follows_the_reader_s_colours(card, browser, tmp_path):
    file, wrong = tmp_path / "card.html", []
    file.write_bytes(saved(card(), "html", tmp_path))
    paper = "() => document.querySelector('canvas').getContext('2d').getImageData(3, 3, 1, 1).data[0]"
    with browser.new_context(offline=True, color_scheme="dark", reduced_motion="reduce") as context:
        alone = context.new_page()
        alone.on("pageerror", lambda error: wrong.append(str(error)))
        alone.on("request", lambda request: wrong.append(request.url) if not request.url.startswith("file:") else None)
        alone.goto(file.as_uri())
        expect(alone.locator("canvas")).to_have_attribute("aria-label", re.compile("^Once upon a time"))
        expect(alone.get_by_role("button")).to_have_text("Play")
        alone.wait_for_function(f"() => ({paper})() < 40")
        alone.emulate_media(color_scheme="light")
        alone.wait_for_function(f"() => ({paper})() > 200")
        alone.get_by_role("button").click()
        expect(alone.get_by_role("button")).to_have_text("Pause")
        assert grave_violations(alone) == []
    assert [url for url in wrong if not url.startswith("data:")] == []

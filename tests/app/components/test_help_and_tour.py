"""What a newcomer is offered: the tour and the list of keys and words; and what the keys do."""

import pytest
from playwright.sync_api import expect

from .conftest import NARROW, WIDE

SIZES = pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1280", "390"])


@pytest.fixture
def tools(parts, bare):
    """tools(size) shows the tour, the history and the help above a workbench."""

    def show(size=WIDE, **options):
        shown = {kind: parts.part(kind) for kind in ("tour", "history", "help")}
        return bare({**shown, "text": parts.part("strip")}, size, bench="generate", **options)

    return show


@SIZES
def test_the_tour_is_offered_once_and_ends_at_run(tools, size):
    page = tools(size)
    offer = page.locator("#tour").get_by_role("button", name="See in five steps what happens")
    offer.click()
    count = page.locator("dialog[open] .count")
    for step in range(1, 5):
        expect(count).to_contain_text(f"{step} of 5")
        page.page.get_by_role("button", name="Next").click()
    page.page.get_by_role("button", name="Write your own").click()
    expect(page.page.get_by_role("button", name="Run", exact=True)).to_be_focused()
    page.open()
    expect(offer).to_be_hidden()
    assert page.overflow() <= 0
    page.page.get_by_role("button", name="Help: shortcuts and glossary").click()
    page.locator("#help").get_by_role("button", name="See in five steps what happens").click()
    expect(count).to_contain_text("1 of 5")  # who asks sees it again


def test_the_tour_shows_a_recorded_run_from_noise_to_words(tools):
    page = tools()
    page.locator("#tour .begin").click()
    scenes = page.page.evaluate("parts.tour.props.scenes")
    for scene in scenes:
        shown = page.locator("dialog[open] :is(.settled, .live) .token").all_text_contents()
        assert shown == ["∎" if special else text for text, _, special in scene["settled"] + scene["live"]]
        page.page.keyboard.press("ArrowRight")
    assert len(scenes) == 5 and len(scenes[-1]["settled"]) > len(scenes[0]["settled"])


def test_the_keys_do_what_the_list_says(tools):
    page = tools()
    page.page.evaluate(
        """() => { window.pressed = [];
        for (const name of ['run', 'stop']) document.querySelector('button.' + name).onclick = () => pressed.push(name);
        const field = document.createElement('textarea');
        document.querySelector('.workbench').prepend(field); }"""
    )
    keyboard, pressed = page.page.keyboard, lambda: page.page.evaluate("pressed")
    keyboard.press("r")
    keyboard.press("s")
    assert pressed() == ["run", "stop"]
    keyboard.press("/")
    expect(page.page.get_by_role("textbox")).to_be_focused()
    keyboard.type("rs?h")  # no key while one writes
    assert pressed() == ["run", "stop"]
    expect(page.locator("dialog[open]")).to_have_count(0)
    keyboard.press("Control+Enter")
    assert pressed() == ["run", "stop", "run"]
    page.locator("h1").click()
    keyboard.press("?")
    expect(page.locator("dialog[open]")).to_contain_text("Words used here")
    keyboard.press("r")  # nor while a dialog is open
    assert len(pressed()) == 3
    page.page.get_by_label("single keys work").uncheck()
    keyboard.press("Escape")
    expect(page.locator("dialog[open]")).to_have_count(0)
    keyboard.press("h")
    expect(page.locator("dialog[open]")).to_have_count(0)
    page.page.get_by_role("button", name="Help: shortcuts and glossary").click()
    page.page.get_by_label("single keys work").check()
    keyboard.press("Escape")
    keyboard.press("h")
    expect(page.locator("dialog[open]")).to_contain_text("What you have run")

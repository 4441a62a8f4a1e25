"""What a newcomer is offered: the tour and the list of keys and words; and what the keys do."""

import json

import pytest
from playwright.sync_api import expect

from ...browser.driving import grave_violations
from .conftest import LOW, NARROW, WIDE

SIZES = pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1280", "390"])


@pytest.fixture
def tools(parts, bare):
    """tools(size) shows the tour, the history and the help above a workbench."""

    def show(size=WIDE, **options):
        shown = {kind: parts.part(kind) for kind in ("tour", "history", "help")}
        return bare({**shown, "text": parts.part("strip")}, size, bench="generate", **options)

    return show


@pytest.fixture
def walk(parts, bare, generated):
    """walk(size) shows a finished run that can be looked back at, begins the tour from Help, and returns the page."""

    def begin(size=WIDE, value=generated.strips[-1], **options):
        shown = {kind: parts.part(kind) for kind in ("tour", "help", "token")}
        page = bare({**shown, "text": parts.part("strip", value=value)}, size, "generate", **options)
        page.locator("#help .open").click()
        page.page.get_by_role("button", name="Take a short tour").last.click()
        return page

    return begin


def where(page) -> dict:
    """The card of the tour and the ring of what it points at, as boxes."""
    return page.page.evaluate(
        """() => { const box = node => { const {left, top, right, bottom} = node.getBoundingClientRect();
          return {left, top, right, bottom}; };
        const [card, ring] = ['.card', '.ring'].map(part => box(document.querySelector('#tour .walk ' + part)));
        return {card, ring, window: {left: 0, top: 0, right: innerWidth, bottom: innerHeight}}; }"""
    )


def inside(inner: dict, outer: dict) -> bool:
    return all(inner[low] >= outer[low] for low in ("left", "top")) and all(
        inner[high] <= outer[high] for high in ("right", "bottom")
    )


def apart(one: dict, other: dict) -> bool:
    return (
        one["right"] <= other["left"] or other["right"] <= one["left"]
        or one["bottom"] <= other["top"] or other["bottom"] <= one["top"]
    )  # fmt: skip


def stands_beside(page) -> bool:
    """Is the card of the tour in sight as a whole, and beside what it points at, which is in sight too?"""
    found = where(page)
    ring, middle = found["ring"], dict(found["ring"])
    middle["left"] = middle["right"] = (ring["left"] + ring["right"]) / 2
    middle["top"] = middle["bottom"] = (ring["top"] + ring["bottom"]) / 2
    return inside(found["card"], found["window"]) and inside(middle, found["window"]) and apart(found["card"], ring)


@SIZES
def test_the_tour_is_offered_once_and_ends_at_run(tools, size):
    page = tools(size)
    offer = page.locator("#tour").get_by_role("button", name="Take a short tour")
    offer.click()
    page.page.get_by_role("button", name="Next").click()
    page.page.get_by_role("button", name="Write your own").click()
    expect(page.locator("#tour .walk")).to_be_hidden()
    expect(page.page.get_by_role("button", name="Run", exact=True)).to_be_focused()
    page.open()
    expect(offer).to_be_hidden()
    assert page.overflow() <= 0
    page.page.get_by_role("button", name="Help: shortcuts and glossary").click()
    page.locator("#help").get_by_role("button", name="Take a short tour").click()
    expect(page.locator("#tour .count")).to_contain_text("1 of 2")  # who asks sees it again


@SIZES
def test_the_tour_stands_beside_what_it_points_at_whatever_the_size_of_the_window(walk, size):
    page = walk(size)
    other = NARROW if size is WIDE else WIDE
    for target in ("#text .page", "#text .look", "#text .answer .token", "button.run"):
        assert stands_beside(page), target
        ringed = where(page)["ring"]
        boxes = page.locator(target).evaluate_all("all => all.map(one => one.getBoundingClientRect().toJSON())")
        assert any(inside(box, ringed) for box in boxes), target
        page.page.set_viewport_size(other)
        page.page.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
        assert stands_beside(page), target
        page.page.set_viewport_size(size)
        page.page.keyboard.press("ArrowRight")


def test_the_tour_covers_nothing_that_it_points_at_on_a_phone_held_sideways(walk):
    page = walk(LOW)
    page.page.evaluate("document.querySelector('#text .page').style.height = '13rem'")  # as on the stage
    page.page.evaluate("() => { dispatchEvent(new Event('resize')); }")
    for target in ("#text .page", "#text .look", "#text .answer .token"):
        assert stands_beside(page), target
        page.page.keyboard.press("ArrowRight")


def test_the_stage_shows_what_the_tour_speaks_of_and_is_put_back_afterwards(walk, generated):
    page = walk()
    step = page.locator("#text .where")
    expect(step).to_contain_text("step 1 of")
    expect(step).to_contain_text("noise 100 %")
    page.page.keyboard.press("ArrowRight")
    last = json.loads(generated.strips[-1]["look"])[0]
    expect(step).to_contain_text(f"step {last['of']} of {last['of']}")
    page.page.keyboard.press("ArrowRight")
    expect(page.locator("#text .live .token")).to_have_count(0)
    page.page.keyboard.press("ArrowLeft")
    page.page.keyboard.press("Escape")
    expect(page.locator("#tour .walk")).to_be_hidden()
    expect(step).to_contain_text("the finished text")


def test_the_tour_is_done_by_keyboard_and_gives_the_focus_back(walk):
    page = walk()
    count, keyboard = page.locator("#tour .count"), page.page.keyboard
    expect(page.page.get_by_role("heading", name="A text comes out of noise")).to_be_focused()
    keyboard.press("ArrowLeft")
    expect(count).to_have_text("1 of 4")
    for key in ("ArrowRight", "Tab", "Tab", "Tab", "Enter"):  # End, Back, Next
        keyboard.press(key)
    expect(count).to_have_text("3 of 4")
    keyboard.press("Escape")
    expect(page.locator("#tour .walk")).to_be_hidden()
    expect(page.page.get_by_role("button", name="Help: shortcuts and glossary")).to_be_focused()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_tour_has_no_serious_violation(walk, dark):
    page = walk(dark=dark)
    expect(page.locator("#tour .card")).to_be_visible()
    bare_own = page.locator("h1, button.stop")  # of the bare page, which has no colours for the dark
    bare_own.evaluate_all("all => all.forEach(one => one.remove())")
    assert grave_violations(page.page) == []


def test_the_tour_leaves_out_what_is_not_on_the_page(walk):
    page = walk(value=None)
    expect(page.locator("#tour .count")).to_have_text("1 of 2")
    page.page.keyboard.press("ArrowRight")
    expect(page.page.get_by_role("heading", name="Now write your own")).to_be_visible()


@SIZES
def test_the_tour_makes_room_for_the_card_of_a_word(walk, generated, size):
    page = walk(size)
    page.page.keyboard.press("ArrowRight")
    page.page.keyboard.press("ArrowRight")
    page.locator("#text .answer .token:visible").first.click()
    page.update("token", generated.card(**generated.tokens[0]))
    expect(page.locator("#token .card")).to_be_visible()
    page.page.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
    shown = page.locator("#token .card").evaluate("card => card.getBoundingClientRect().toJSON()")
    assert page.locator("#tour .card").is_hidden() or apart(where(page)["card"], shown)
    page.page.keyboard.press("Escape")  # closes the card of the word, in which the focus is
    expect(page.locator("#token .card")).to_be_hidden()
    expect(page.locator("#tour .card")).to_be_visible()


def test_the_keys_do_what_the_list_says(tools):
    page = tools()
    page.page.evaluate(
        """() => { window.pressed = [];
        for (const name of ['run', 'stop']) document.querySelector('button.' + name).onclick = () => pressed.push(name);
        // what stands beside, and before, has a Stop of its own
        document.querySelector('.workbench').insertAdjacentHTML('afterbegin', '<button class="stop">Stop</button>');
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
    keyboard.press("Escape")  # but this one
    assert pressed() == ["run", "stop", "stop"]
    expect(page.locator("dialog[open]")).to_have_count(0)
    keyboard.press("Control+Enter")
    assert pressed() == ["run", "stop", "stop", "run"]
    page.locator("h1").click()
    keyboard.press("Escape")
    page.page.locator("#tools button, .own-history .open").first.focus()
    keyboard.press("Escape")  # nor does that stop anything where it may close something
    assert pressed() == ["run", "stop", "stop", "run", "stop"]
    keyboard.press("?")
    expect(page.locator("dialog[open]")).to_contain_text("Words used here")
    keyboard.press("r")  # nor while a dialog is open
    assert len(pressed()) == 5
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

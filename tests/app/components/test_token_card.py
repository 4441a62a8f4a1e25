"""The card of a word: what else it could have been, as the tab says it."""

import re

import pytest
from playwright.sync_api import expect

from .bare import Bare
from .conftest import LOW, NARROW, WIDE
from .values import Generated

SIZES = pytest.mark.parametrize("size", [WIDE, NARROW, LOW], ids=["1280", "390", "740x390"])


def test_a_card_says_how_a_word_was_chosen_and_closes_by_keyboard(parts, bare, generated):
    first, second = (generated.card(**generated.tokens[i]) for i in (1, 7))
    page = bare({"token": parts.part("token")}, bench="generate")
    expect(page.locator("#token .card")).to_be_hidden()
    page.update("token", first)
    expect(page.locator("#token .tells")).to_contain_text("Chosen with")
    expect(page.locator("#token .read tr")).to_have_count(len(first["read"]))
    expect(page.locator("#token .title")).to_be_focused()
    where = page.locator("#token .where").inner_text()
    page.update("token", second)
    expect(page.locator("#token .where")).not_to_have_text(where)
    page.page.get_by_role("button", name="See its path").click()
    assert page.triggered("token", "select") == [{"point": second["point"]}]
    page.locator("#token .title").focus()
    page.page.keyboard.press("Escape")
    expect(page.locator("#token .card")).to_be_hidden()
    assert page.value("token") is None


@pytest.fixture(scope="module")
def long_answer(model):
    return Generated(model, "Once upon a time", max_new_tokens=96)


@SIZES
def test_the_card_of_a_clicked_word_opens_in_sight_beside_the_word_and_nothing_scrolls(parts, bare, long_answer, size):
    strip = parts.part("strip", value=long_answer.strips[-1])
    page = bare({"text": strip, "token": parts.part("token")}, size, bench="generate")
    for where in (0, 0.5, 1):  # the first word, one in the middle, the last
        opens_in_sight(page, long_answer, size, where)


def opens_in_sight(page: Bare, answer: Generated, size: dict, where: float) -> None:
    """Opens the card of a word, and closes it again."""
    words = page.locator("#text .answer .token").filter(has_text=re.compile(r"\w"))
    word = words.nth(round(where * (words.count() - 1)))
    word.scroll_into_view_if_needed()
    before = page.page.evaluate("scrollY"), word.bounding_box()
    word.click()
    chosen = page.triggered("text", "select")[-1]
    page.update("token", answer.card(chosen["block"], chosen["token"]) | {"requested": chosen["requested"]})
    card = page.locator("#token .card")
    expect(card).to_be_visible()
    assert (page.page.evaluate("scrollY"), word.bounding_box()) == before
    shown, at = card.bounding_box(), before[1]
    bar = page.locator(".run-controls").bounding_box()["y"] if size != WIDE else size["height"]
    assert shown["y"] >= 0 and shown["y"] + shown["height"] <= bar, "a part of the card is out of sight"
    assert shown["height"] >= 150
    above, below = shown["y"] + shown["height"] <= at["y"], shown["y"] >= at["y"] + at["height"]
    left, right = shown["x"] + shown["width"] <= at["x"], shown["x"] >= at["x"] + at["width"]
    assert above or below or (size == LOW and (left or right)), "the card covers its word"
    assert page.overflow() <= 0
    page.page.keyboard.press("Escape")
    expect(page.locator("#text .text")).to_be_focused()
    assert page.page.evaluate("scrollY") == before[0]
    expect(page.locator("#token .card")).to_be_hidden()


READ = [["house", 0.7, 1, 4], ["tree", 0.2, 0, 5]]


def test_a_word_that_was_chosen_by_keyboard_leaves_the_focus_on_the_text(parts, bare, generated):
    strip = parts.part("strip", value=generated.strips[-1])
    page = bare({"text": strip, "token": parts.part("token")}, bench="generate")
    page.update("token", {**generated.card(**generated.tokens[1]), "read": READ, "noise": 71})
    expect(page.locator("#token caption")).to_have_text("Earlier, at noise 71 %: what it could still have become")
    page.page.get_by_role("button", name="tree").focus()
    page.page.keyboard.press("Enter")
    assert page.value("token")["pin"] == {"id": 5}
    page.frame("token", None)  # of the run that it begins
    expect(page.locator("#token .card")).to_be_hidden()
    expect(page.locator("#text .text")).to_be_focused()


def test_a_word_that_was_never_in_doubt_has_the_field_for_another_one_alone(parts, bare, generated):
    page = bare({"token": parts.part("token")}, bench="generate")
    page.update("token", {**generated.card(**generated.tokens[1]), "read": [], "noise": None})
    expect(page.locator("#token .read")).to_be_hidden()
    expect(page.page.get_by_label("Another word")).to_be_visible()


def test_an_answer_that_comes_after_a_newer_one_is_dropped(parts, bare, generated):
    older, newer = ({**generated.card(**generated.tokens[i]), "requested": i} for i in (1, 7))
    page = bare({"token": parts.part("token")}, bench="generate")
    page.update("token", newer)
    expect(page.locator("#token .where")).to_have_text(newer["where"])
    page.update("token", older)
    expect(page.locator("#token .where")).to_have_text(newer["where"])
    assert page.value("token")["point"] == newer["point"]


def test_an_answer_that_comes_after_another_run_has_begun_is_dropped(parts, bare, generated):
    page = bare({"token": parts.part("token")}, bench="generate")
    asked = page.page.evaluate("performance.now()")
    page.run_state("starting")
    page.update("token", {**generated.card(**generated.tokens[1]), "requested": asked})
    expect(page.locator("#token .card")).to_be_hidden()
    assert page.value("token") is None


def test_a_window_that_changes_its_size_while_the_tab_is_hidden_does_no_harm(parts, bare, generated):
    strip = parts.part("strip", value=generated.strips[-1])
    page = bare({"text": strip, "token": parts.part("token")}, bench="generate")
    page.locator("#text .answer .token").filter(has_text=re.compile(r"\w")).first.click()
    chosen = page.triggered("text", "select")[-1]
    page.update("token", generated.card(chosen["block"], chosen["token"]) | {"requested": chosen["requested"]})
    expect(page.locator("#token .card")).to_be_visible()
    page.page.evaluate("document.getElementById('generate').hidden = true; dispatchEvent(new Event('resize'))")
    page.page.evaluate("document.getElementById('generate').hidden = false; dispatchEvent(new Event('resize'))")
    expect(page.locator("#token .card.at-word")).to_be_visible()

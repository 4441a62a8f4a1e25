"""A span of a text is selected by mouse, by touch and by keyboard alone."""

import pytest
from playwright.sync_api import expect

from .conftest import NARROW, WIDE
from .values import picked

TEXT = "The dog ran home"


@pytest.fixture
def picker(parts, bare, model):
    """picker(size, text) shows the tokens of a text, none of them selected."""

    def show(size=WIDE, text=TEXT, **options):
        return bare({"picker": parts.part("picker", id="picker", value=picked(model, text))}, size, **options)

    return show


def token(page, i: int):
    return page.locator("#picker .token").nth(i)


def selected(page) -> list[int]:
    tokens = page.locator("#picker .token")
    found = [
        i for i, chosen in enumerate(tokens.evaluate_all("all => all.map(t => t.ariaSelected)")) if chosen == "true"
    ]
    value = page.value("picker")
    assert found == list(range(value["start"], value["end"])), "what is shown is not what is sent"
    return found


def test_a_span_is_selected_by_keyboard_alone(picker):
    page = picker()
    keyboard = page.page.keyboard
    for _ in range(4):
        keyboard.press("Tab")
        if page.page.evaluate("document.activeElement.role === 'option'"):
            break
    assert page.page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert page.locator("#picker .token[tabindex='0']").count() == 1
    for key, chosen in (
        ("Home", []),
        ("ArrowRight", []),
        ("Space", [1]),
        ("Shift+ArrowRight", [1, 2]),
        ("Shift+ArrowRight", [1, 2, 3]),
        ("Shift+ArrowLeft", [1, 2]),
        ("Escape", []),
        ("Enter", [2]),
    ):
        keyboard.press(key)
        assert selected(page) == chosen, key
    keyboard.press("Control+a")
    assert len(selected(page)) == page.locator("#picker .token").count()
    expect(page.locator("#picker .chosen")).to_contain_text("selected")


def test_a_span_is_selected_by_mouse(picker):
    page = picker()
    token(page, 1).click()
    assert selected(page) == [1]
    token(page, 3).click(modifiers=["Shift"])
    assert selected(page) == [1, 2, 3]
    token(page, 4).hover()
    page.page.mouse.down()
    token(page, 2).hover()
    page.page.mouse.up()
    assert selected(page) == [2, 3, 4]
    page.page.get_by_role("button", name="Select none").click()
    assert selected(page) == []


def test_a_span_is_selected_by_touch(picker):
    page = picker(NARROW, touch=True)
    token(page, 1).tap()
    assert selected(page) == [1]
    token(page, 3).tap()
    assert selected(page) == [1, 2, 3]
    token(page, 2).tap()
    assert selected(page) == []


def test_undo_and_redo_are_asked_for_by_keyboard(picker):
    page = picker()
    for key in ("Control+z", "Control+Shift+Z", "Control+y"):
        token(page, 1).focus()
        page.page.keyboard.press(key)
    page.page.get_by_role("button", name="Select all").focus()
    page.page.keyboard.press("Control+z")
    page.page.evaluate("document.querySelector('main').append(document.createElement('textarea'))")
    page.locator("main > textarea").focus()
    page.page.keyboard.press("Control+z")  # is that field's own
    assert page.triggered("picker", "undo") == [{"by": -1}, {"by": 1}, {"by": 1}, {"by": -1}]


@pytest.mark.parametrize("text", ["שלום עולם 👩‍🚀", "<b>x</b> {{y}} ${z}"], ids=["right to left", "markup"])
def test_any_script_is_shown_as_it_was_typed(picker, text):
    page = picker(NARROW, text)
    shown = "".join(page.locator("#picker .token").all_text_contents())
    assert shown.replace("▫", "") == text  # a token without a letter of its own is shown by a mark
    assert page.locator("#picker b").count() == 0
    page.page.get_by_role("button", name="Select all").click()
    assert len(selected(page)) == page.locator("#picker .token").count()
    assert page.overflow() <= 0


def test_a_text_that_is_too_long_says_so_in_its_place(picker):
    page = picker(NARROW, "word " * 10_000)
    expect(page.page.get_by_role("alert")).to_contain_text("tokens")
    expect(page.locator("#picker .token")).to_have_count(0)
    assert page.overflow() <= 0

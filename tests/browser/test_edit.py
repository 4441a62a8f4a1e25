"""What a visitor does with the tab Edit, on a desk and on a phone, by mouse, touch and keyboard."""

import re

import pytest
from playwright.sync_api import Page, expect

from .conftest import NARROW, WIDE
from .driving import press_run
from .test_interpolate import PAIR, fill, make, open_tab, overflow

SIZES = pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1280", "390"])
TEXT = "The dog ran home"


def text_box(page: Page):
    return page.locator("#edit .ask textarea")


def token(page: Page, i: int):
    return page.locator("#picker .token").nth(i)


def selected(page: Page) -> list[int]:
    return page.evaluate(
        "[...document.querySelectorAll('#picker .token')].flatMap((t, i) => t.ariaSelected === 'true' ? [i] : [])"
    )


def shows(page: Page, text: str) -> None:
    """Waits until the tokens spell the text; those without a letter of their own do not count."""
    page.wait_for_function(
        """text => [...document.querySelectorAll('#picker .token')].map(t => t.textContent).join('').replaceAll('▫', '')
        === text""",
        arg=text,
    )


def write(page: Page, text: str) -> None:
    """Opens the tab with a text in it, waits for its tokens and selects none."""
    open_tab(page, "Edit")
    expect(page.locator("#picker .token").first).to_be_visible()
    text_box(page).fill(text)
    shows(page, text)


def state(page: Page, *wanted: str) -> None:
    line = page.locator("#edit .line")
    expect(line).to_have_attribute("data-state", re.compile("|".join(wanted)))


def change(page: Page) -> list[str]:
    """Changes the span and returns the candidates, best first."""
    press_run(page, "edit")
    state(page, "done")
    return page.locator("#candidates .text").all_text_contents()[1:]


@SIZES
def test_from_a_road_to_an_edit_and_back_by_its_link(visit, size):
    page = visit(size)
    open_tab(page)
    fill(page, *PAIR)
    make(page)
    page.get_by_role("button", name="Edit: text 2").click()
    expect(text_box(page)).to_have_value(PAIR[1])
    shows(page, PAIR[1])
    token(page, 2).focus()
    page.keyboard.press("Shift+ArrowRight")
    assert selected(page) == [2, 3]
    first, *_ = change(page)
    link = page.url
    expect(page.locator("#candidates mark.changed").first).to_be_visible()
    page.get_by_role("button", name="Use it: no. 1").click()
    expect(page.locator("#picker .chosen")).to_contain_text("This is the text now")
    now = text_box(page).input_value()
    assert now != PAIR[1] and page.locator("#picker .tokens").text_content()
    page.get_by_role("button", name="Undo").click()
    expect(text_box(page)).to_have_value(PAIR[1])
    assert selected(page) == [2, 3]
    page.get_by_role("button", name="Redo").click()
    expect(text_box(page)).to_have_value(now)
    assert overflow(page) <= 0
    page.goto(link)
    state(page, "done")
    expect(text_box(page)).to_have_value(PAIR[1])
    expect(token(page, 2)).to_have_attribute("aria-selected", "true")
    assert selected(page) == [2, 3]
    assert page.locator("#candidates .text").all_text_contents()[1] == first


def test_a_span_is_selected_by_keyboard_alone(visit):
    page = visit()
    write(page, TEXT)
    text_box(page).focus()
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.role === 'option'"):
            break
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert page.locator("#picker .token[tabindex='0']").count() == 1
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    assert selected(page) == [1]
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    assert selected(page) == [1, 2, 3]
    page.keyboard.press("Shift+ArrowLeft")
    assert selected(page) == [1, 2]
    page.keyboard.press("Escape")
    assert selected(page) == []
    page.keyboard.press("Enter")
    assert selected(page) == [2]
    page.keyboard.press("Control+a")
    assert len(selected(page)) == page.locator("#picker .token").count()
    expect(page.locator("#picker .chosen")).to_contain_text("selected")


def test_a_span_is_selected_by_mouse(visit):
    page = visit()
    write(page, TEXT)
    token(page, 1).click()
    assert selected(page) == [1]
    token(page, 3).click(modifiers=["Shift"])
    assert selected(page) == [1, 2, 3]
    token(page, 4).hover()
    page.mouse.down()
    token(page, 2).hover()
    page.mouse.up()
    assert selected(page) == [2, 3, 4]
    page.get_by_role("button", name="Select none").first.click()
    assert selected(page) == []


def test_a_span_is_selected_by_touch(visit):
    page = visit(NARROW, has_touch=True)
    write(page, TEXT)
    token(page, 1).tap()
    assert selected(page) == [1]
    token(page, 3).tap()
    assert selected(page) == [1, 2, 3]
    token(page, 2).tap()
    assert selected(page) == []


def test_undo_and_redo_by_keyboard(visit):
    page = visit()
    write(page, TEXT)
    token(page, 1).focus()
    page.keyboard.press("Control+z")
    expect(text_box(page)).not_to_have_value(TEXT)
    token(page, 1).focus()
    page.keyboard.press("Control+Shift+Z")
    expect(text_box(page)).to_have_value(TEXT)


def test_nothing_selected_gets_a_sentence_in_place(visit):
    page = visit(NARROW)
    write(page, TEXT)
    page.locator("#edit button.run").click()
    state(page, "error")
    expect(page.get_by_role("alert").filter(has_text="No token is selected")).to_be_visible()
    assert overflow(page) <= 0


def test_a_direction_from_one_sentence_gets_a_sentence_in_place(visit):
    page = visit()
    write(page, TEXT)
    token(page, 1).click()
    page.get_by_text("Add a direction", exact=True).click()
    page.get_by_role("combobox", name="Direction").click()
    page.get_by_role("option", name="my own").click()
    page.get_by_label("From sentences like").fill("He is glad.")
    page.get_by_label("To sentences like").fill("He is sad.\nShe is sad.")
    page.locator("#edit button.run").click()
    state(page, "error")
    expect(page.get_by_role("alert").filter(has_text="The first list is 1 sentence")).to_be_visible()


@pytest.mark.parametrize("text", ["שלום עולם 👩‍🚀", "<b>x</b> {{y}} ${z}"], ids=["right to left", "markup"])
def test_any_script_is_shown_and_changed_as_it_was_typed(visit, text):
    page = visit(NARROW)
    write(page, text)
    page.get_by_role("button", name="Select all").first.click()
    change(page)
    assert page.locator("#candidates .text").first.text_content() == text
    assert page.locator("#picker b, #candidates b").count() == 0
    expect(page.locator("#candidates .notes")).to_contain_text("All tokens are selected")
    assert overflow(page) <= 0


def test_a_text_goes_on_in_generate_and_in_interpolate(visit):
    page = visit()
    write(page, TEXT)
    page.get_by_role("button", name="Continue in Generate").click()
    expect(page.get_by_label("Prompt")).to_be_visible()
    expect(page.get_by_label("Prompt")).to_have_value(TEXT)
    open_tab(page, "Edit")
    page.get_by_role("button", name="Send to Interpolate").click()
    expect(page.get_by_label("Text 1", exact=True)).to_have_value(TEXT)

"""One of several values in a list of the browser's own, which opens when it is asked to and not by the focus."""

import pytest
from playwright.sync_api import expect

from app.components import ChoiceBox

from .page_parts import part_of

CHOICES = [("little <b>", "a"), ("more", "b"), ("most", "c")]


@pytest.fixture
def box(bare):
    """box(value, placeholder) shows a ChoiceBox on a page with a field before it."""

    def show(value="b", placeholder=""):
        part = part_of(ChoiceBox("How much", "It is a matter of taste.", CHOICES, value, placeholder))
        return bare({"box": part}, bench="bench")

    return show


def test_it_shows_its_name_its_hint_its_choices_and_the_chosen_one(box):
    page = box()
    select = page.page.get_by_role("combobox", name="How much")
    expect(select).to_have_accessible_description("It is a matter of taste.")
    expect(page.page.get_by_text("It is a matter of taste.")).to_be_visible()
    assert select.locator("option").all_inner_texts() == [words for words, _ in CHOICES]
    expect(select).to_have_value("b")


def test_a_choice_is_its_value_and_is_told(box):
    page = box()
    page.locator("#box select").select_option("most")
    assert page.value("box") == "c"
    assert page.triggered("box") == [["select", {}]]


def test_by_keyboard_it_is_chosen_and_left_without_a_list_that_stays_open(box):
    page = box()
    page.locator(".run").focus()
    page.page.keyboard.press("Tab")
    page.page.keyboard.press("Tab")
    expect(page.locator("#box select")).to_be_focused()
    page.page.keyboard.press("m")  # the next whose words begin so
    page.page.keyboard.press("Tab")
    expect(page.locator("#box select")).not_to_be_focused()
    assert page.value("box") == "c"
    assert page.locator("[role=listbox]").count() == 0


def test_a_value_of_the_server_is_shown_and_not_told(box):
    page = box()
    page.update("box", "a")
    expect(page.locator("#box select")).to_have_value("a")
    assert page.triggered("box") == []


def test_a_value_that_is_none_of_the_choices_is_shown_as_one_more(box):
    page = box("12")
    select = page.locator("#box select")
    expect(select).to_have_value("12")
    select.select_option("more")
    assert page.value("box") == "b"
    page.update("box", "64")
    expect(select).to_have_value("64")
    assert select.locator("option").all_inner_texts() == [*(words for words, _ in CHOICES), "64"]


def test_the_words_for_no_value_are_shown_and_cannot_be_chosen(box):
    page = box(value="", placeholder="Choose one")
    assert page.locator("#box select").evaluate("select => select.selectedOptions[0].text") == "Choose one"
    page.locator("#box select").select_option("little <b>")
    page.update("box", "")
    assert page.locator("#box select").evaluate("select => select.selectedOptions[0].text") == "Choose one"
    assert page.locator("#box option").first.is_disabled()

"""What a visitor does with the tab Edit, on a desk and on a phone, by mouse, touch and keyboard."""

from playwright.sync_api import Page, expect

from .conftest import NARROW
from .driving import fits, is_no_wider, open_tab, press_run, state
from .test_interpolate import PAIR, fill, make

TEXT = "The dog ran home"


def text_box(page: Page):
    return page.locator("#edit .ask textarea")


def token(page: Page, i: int):
    return page.locator("#picker .token").nth(i)


def selects(page: Page, *tokens: int) -> None:
    """Waits until just these are selected."""
    page.wait_for_function(
        """tokens => JSON.stringify(tokens) === JSON.stringify([...document.querySelectorAll('#picker .token')]
          .flatMap((token, i) => token.ariaSelected === 'true' ? [i] : []))""",
        arg=list(tokens),
    )


def shows(page: Page, text: str) -> None:
    """Waits until the tokens spell the text; those without a letter of their own do not count."""
    page.wait_for_function(
        """text => [...document.querySelectorAll('#picker .token')].map(t => t.textContent).join('').replaceAll('▫', '')
        === text""",
        arg=text,
    )


def change(page: Page) -> list[str]:
    """Changes the span and returns the candidates that are shown."""
    press_run(page, "edit")
    state(page, "done", bench="edit")
    return page.locator("#candidates .text").all_text_contents()


def a_text_is_undone_by_keyboard_and_goes_on_in_generate_and_in_interpolate(page: Page) -> None:
    """From a page whose text has no token selected."""
    page.locator("#edit button.run").click()
    state(page, "error", bench="edit")
    expect(page.get_by_role("alert").filter(has_text="No token is selected")).to_be_visible()
    token(page, 1).focus()
    page.keyboard.press("Control+z")
    page.wait_for_function("text => document.querySelector('#edit .ask textarea').value !== text", arg=TEXT)
    page.keyboard.press("Control+Shift+Z")
    expect(text_box(page)).to_have_value(TEXT)
    page.get_by_role("button", name="Continue in Generate").click()
    expect(page.get_by_label("Prompt").first).to_be_visible()
    expect(page.get_by_label("Prompt").first).to_have_value(TEXT)
    open_tab(page, "Edit")
    page.get_by_role("button", name="Send to Interpolate").click()
    expect(page.get_by_label("Text 1", exact=True)).to_have_value(TEXT)


def test_a_page_whose_load_events_are_held_back_keeps_what_is_written_which_goes_on_to_other_tabs(visit):
    held = []
    page = visit(before=lambda page: page.route("**/gradio_api/run/predict*", lambda route: held.append(route)))
    open_tab(page, "Edit")
    expect(page.locator("#picker .chosen")).to_contain_text("selected")
    press_run(page, "edit")
    state(page, "done", bench="edit")
    text_box(page).fill(TEXT)
    for route in held:
        route.continue_()
    page.unroute_all()
    shows(page, TEXT)
    expect(text_box(page)).to_have_value(TEXT)
    a_text_is_undone_by_keyboard_and_goes_on_in_generate_and_in_interpolate(page)


def test_from_an_interpolation_to_an_edit_and_back_by_its_link(visit):
    page = visit(NARROW)
    open_tab(page, "Interpolate")
    fill(page, *PAIR)
    make(page)
    page.get_by_role("button", name="Edit: text 2").click()
    expect(text_box(page)).to_have_value(PAIR[1])
    shows(page, PAIR[1])
    token(page, 2).focus()
    page.keyboard.press("Shift+ArrowRight")
    selects(page, 2, 3)
    page.get_by_label("Re-noise").check()
    first, *_ = change(page)
    expect(page.locator("#candidates .text").first).to_be_in_viewport()  # Run has brought it there
    link = page.url.partition("#")[0]  # as Copy link gives it, without the tab that is open
    page.locator("#candidates .cells").press("End")
    expect(page.locator("#candidates .cells")).to_have_attribute("aria-valuenow", "7")
    expect(page.locator("#candidates mark.changed").first).to_be_visible()
    page.get_by_role("button", name="Use it: on the strip").click()
    expect(page.locator("#picker .chosen")).to_contain_text("This is the text now")
    expect(text_box(page)).not_to_have_value(PAIR[1])
    now = text_box(page).input_value()
    expect(page.locator("#picker .tokens")).not_to_be_empty()
    page.get_by_role("button", name="Undo").click()
    expect(text_box(page)).to_have_value(PAIR[1])
    selects(page, 2, 3)
    page.get_by_role("button", name="Redo").click()
    expect(text_box(page)).to_have_value(now)
    is_no_wider(page)
    page.goto(link)
    state(page, "done", bench="edit")
    expect(text_box(page)).to_have_value(PAIR[1])
    expect(token(page, 2)).to_have_attribute("aria-selected", "true")
    selects(page, 2, 3)
    expect(page.locator("#candidates .cells")).to_have_attribute("aria-valuemax", "7")
    assert page.locator("#candidates .text").first.text_content() == first
    fits(page)

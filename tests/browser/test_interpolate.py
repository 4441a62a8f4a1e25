"""What a visitor does with the tab Interpolate, on a desk and on a phone."""

from playwright.sync_api import Page, expect

from .conftest import NARROW
from .driving import fits, is_no_wider, number, open_tab, press_run, state, unfold

PAIR = ("The sun was warm", "The night was cold")
BENCH = "interpolate"


def box(page: Page, number: int):
    return page.get_by_label(f"Text {number}", exact=True)


def fill(page: Page, *texts: str) -> None:
    for i, text in enumerate(texts, 1):
        box(page, i).fill(text)
    for i, text in enumerate(texts, 1):  # a page that is still being put together may take a text back
        expect(box(page, i)).to_have_value(text)


def unfold_list(page: Page) -> None:
    """Shows all waypoints below each other, if they are not."""
    button = page.get_by_role("button", name="All waypoints as a list")
    if "open" not in button.get_attribute("class").split():
        button.click()
    expect(page.locator("#waypoints")).to_be_visible()


def make(page: Page) -> list[str]:
    """Interpolates and returns the texts of the waypoints."""
    press_run(page, BENCH)
    state(page, "done", bench=BENCH)
    expect(page.locator("#walk .now")).to_be_in_viewport()  # Run has brought it there
    unfold_list(page)
    expect(page.locator("#waypoints .rows")).to_have_attribute("data-state", "done")
    return page.locator("#waypoints .text").all_inner_texts()


def test_run_stop_run_shows_the_second_run_and_stop_keeps_its_waypoints_to_go_on_with(visit, slowly):
    page = visit()
    bench = open_tab(page, "Interpolate")
    fill(page, "The sun was warm and bright. " * 12, "The night was cold and dark. " * 12)
    unfold(bench)
    number(bench, "Candidates for each waypoint", 1)
    number(bench, "Waypoints from text to text", 33)
    unfold_list(page)
    for noise in (30, 60):
        number(bench, "Noise (%)", noise)
        press_run(page, BENCH)
        state(page, "running", bench=BENCH)
        expect(page.locator("#waypoints .rows")).to_have_attribute("data-state", "running")
        page.wait_for_function("document.querySelectorAll('#waypoints .token').length > 7")
        if noise == 30:
            what_is_refused_meanwhile_ends_nothing(page)
        bench.locator("button.stop").first.click()
        state(page, "stopped", bench=BENCH)
        expect(page.locator("#waypoints .rows")).to_have_attribute("data-state", "stopped")
    expect(page.locator("#waypoints li")).to_have_count(33)
    expect(page.locator("#waypoints li").nth(4).get_by_role("button", name="Edit")).to_be_visible()  # the last frame
    # a random model writes half characters too: one of the waypoints on the way that has whole ones
    found = page.evaluate(
        """() => [...document.querySelectorAll('#waypoints li')].findIndex(row => row.querySelector('.token')
          && row.querySelector('.text').textContent.replace(/[\\s\\p{C}∎\\ufffd]/gu, '') !== '')"""
    )
    assert found > 0
    waypoint = page.locator("#waypoints li").nth(found)
    to_edit = waypoint.get_by_role("button", name="Edit")
    text = waypoint.locator(".text").text_content()
    assert waypoint.locator(".token").count() > 0
    to_edit.click()
    # what a random model writes may hold characters that a field does not keep, and half ones: its beginning tells
    page.wait_for_function(
        """text => {
          const plain = text => text.replace(/[\\s\\p{C}∎\\ufffd]/gu, '').slice(0, 12);
          const field = document.querySelector('#edit .ask textarea');
          return field && plain(field.value) !== '' && plain(text).startsWith(plain(field.value));
        }""",
        arg=text,
    )


def what_is_refused_meanwhile_ends_nothing(page: Page) -> None:
    page.get_by_role("button", name="Add a text").click()
    expect(box(page, 3)).to_be_visible()
    press_run(page, BENCH)
    expect(page.get_by_role("alert").filter(has_text="Text 3 is empty")).to_be_visible()
    state(page, "running", bench=BENCH)
    tokens = "document.querySelectorAll('#waypoints .token').length"
    page.wait_for_function(f"before => {tokens} > before", arg=page.evaluate(tokens))
    page.get_by_role("button", name="Remove the last").click()
    expect(box(page, 3)).to_have_count(0)


def nothing_of_the_form_is_painted_over_the_fixed_buttons(page: Page) -> None:
    """Gradio lifts the names of its fields, and lets clicks through them: only what is painted tells."""
    for part in ("#interpolate [data-testid=block-info]", "#interpolate .run-controls"):
        expect(page.locator(part).first).to_be_attached()
    lifted = "e => [...document.querySelectorAll(e)].map(x => Number(getComputedStyle(x).zIndex) || 0)"
    names, bars = (page.evaluate(lifted, e) for e in ("#interpolate [data-testid=block-info]", ".run-controls"))
    assert names and bars and max(names) < min(bars)


def texts_come_and_go_and_what_is_missing_gets_a_sentence_in_place(page: Page) -> None:
    bench = page.locator("#interpolate")
    expect(box(page, 3)).to_have_count(0)
    bench.locator(".example").nth(3).click()
    expect(box(page, 3)).to_have_value("Tom was very angry.")
    page.get_by_role("button", name="Remove the last").click()
    expect(box(page, 3)).to_have_count(0)
    expect(page.get_by_role("button", name="Remove the last")).to_be_disabled()
    fill(page, "", "b")
    bench.locator("button.run").click()
    state(page, "error", bench=BENCH)
    expect(page.get_by_role("alert").filter(has_text="Text 1 is empty")).to_be_visible()
    is_no_wider(page)


def test_texts_come_and_go_on_a_phone_and_a_reload_restores_the_interpolation_of_the_link(visit):
    page = visit(NARROW)
    open_tab(page, "Interpolate")
    nothing_of_the_form_is_painted_over_the_fixed_buttons(page)
    texts_come_and_go_and_what_is_missing_gets_a_sentence_in_place(page)
    page.get_by_role("button", name="Add a text").click()
    expect(box(page, 3)).to_be_visible()
    fill(page, *PAIR, "שלום 🌙")
    unfold(page.locator("#interpolate"))
    number(page.locator("#interpolate"), "Waypoints from text to text", 3)
    page.get_by_text("Decoder only", exact=True).click()
    expect(page.get_by_label("number input for Noise (%)")).to_be_hidden()  # which is not needed there
    waypoints = make(page)
    page.locator("#walk .cells").press("Home")
    expect(page.locator("#walk .now")).to_have_text(PAIR[0])
    page.get_by_role("button", name="Distances to the texts").click()
    expect(page.locator("#interpolate .distances svg[role=img]")).to_have_count(2)
    is_no_wider(page)
    assert "r=" in page.url
    page.reload()
    state(page, "done", bench=BENCH)
    unfold_list(page)
    expect(page.locator("#waypoints .text")).to_have_text(waypoints)
    for i, text in enumerate((*PAIR, "שלום 🌙"), 1):  # the run is found before gradio has filled in the recipe
        expect(box(page, i)).to_have_value(text)
    unfold(page.locator("#interpolate"))
    expect(page.get_by_role("radio", name="Decoder only")).to_be_checked()
    page.get_by_role("button", name="Compare the four ways").click()
    expect(page.locator("#ways .way")).to_have_count(4)
    expect(page.locator("#ways .ways")).to_have_attribute("aria-busy", "false")
    expect(page.locator("#ways .way .now").nth(2)).not_to_be_empty()
    is_no_wider(page)
    page.get_by_role("button", name="Use this way: Prompt to prompt").click()
    expect(page.get_by_role("radio", name="Prompt to prompt")).to_be_checked()
    fits(page)

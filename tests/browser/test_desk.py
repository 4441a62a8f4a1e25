"""What a visitor does with a finished text, with the history, and by keyboard."""

import json
import re

from playwright.sync_api import Page, expect

from app.shared.links import link_of
from coladlm import SamplerSettings
from coladlm.recipe import Recipe

from .conftest import NARROW, WIDE
from .driving import (
    number,
    open_tab,
    run,
    set_up,
    state,
    write,
)
from .test_trajectories import the_path_of_a_word_is_shown_in_its_block_and_its_run_once

HEIGHT = "document.documentElement.scrollHeight"
LONG_TEXT = SamplerSettings(steps=1, max_new_tokens=230, stop_at_end=False)


def test_variations_are_read_compared_swept_and_followed_on_the_map(visit):
    page = visit()
    number(page, "Variations", 3)
    write(page)
    rows = page.locator("#variations .list li")
    expect(rows).to_have_count(3)
    rows.nth(2).get_by_role("button", name="Look into it").click()
    expect(page.locator("#generate .numbers").first).to_contain_text("no. 3 of 3")
    expect(page.locator("#text .answer")).to_have_text(rows.nth(2).locator(".answer").inner_text())
    page.get_by_role("button", name="Other settings").click()
    number(page, "Guidance", 2)
    page.get_by_role("button", name="Run B").click()
    expect(page.locator("#ab-rows .rows")).to_have_attribute("data-state", "done")
    expect(page.locator("#ab-rows .notes")).to_contain_text("Guidance")
    heights = [page.evaluate(HEIGHT)]  # all settings are open
    thumb = page.locator("#ab-rows .thumb")  # one playhead for both, the variations and the stage
    thumb.fill("0")
    expect(page.locator("#text .where")).to_contain_text("block 1 of")
    expect(page.locator("#ab-rows .stepped")).to_have_count(2)
    expect(page.locator("#variations .stepped")).to_have_count(3)
    page.locator("#text .look input").press("End")
    expect(page.locator("#generate .stepped")).to_have_count(0)
    expect(thumb).to_have_value(thumb.get_attribute("max"))
    page.get_by_role("button", name="An autoregressive model").click()
    baseline = page.locator("#baseline .small-run")
    expect(baseline).to_be_visible()
    page.get_by_role("button", name="A sweep").click()
    expect(baseline).to_be_hidden()
    baseline.dispatch_event("click")  # a run that nobody sees
    page.get_by_label("Values down").fill("1, 3")
    page.get_by_label("And by").select_option(label="Seed")
    page.get_by_label("Values by").fill("1, 2")
    page.get_by_role("button", name="Run the sweep").click()
    expect(page.locator("#grid .use")).to_have_count(8)
    expect(page.locator("#grid .index")).to_have_text(re.compile("2 grids:.*Seed 1.*Seed 2", re.DOTALL))
    expect(page.locator("#sweep-curve .measured:visible")).to_have_count(2)  # with the one of the paper
    heights.append(page.evaluate(HEIGHT))
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    before = page.evaluate("scrollY")
    page.get_by_role("button", name="An autoregressive model (finished)").evaluate("button => button.click()")
    expect(page.locator("#baseline-numbers table")).to_contain_text("Distinct 2-grams")
    expect(page.locator("#sweep")).to_be_hidden()
    assert max(*heights, page.evaluate(HEIGHT)) < 1800
    assert page.evaluate("scrollY") == before > 0
    page.get_by_role("button", name="A sweep").click()
    page.get_by_role("button", name=re.compile("Use these settings: Seed 1, Guidance 3, Steps a block 4")).click()
    expect(page.get_by_label("number input for Guidance", exact=True)).to_have_value("3")
    expect(page.get_by_label("number input for Steps a block")).to_have_value("4")
    expect(page.locator("#generate")).to_have_attribute("data-run", "done")  # the views leave the tab's own run alone
    the_path_of_a_word_is_shown_in_its_block_and_its_run_once(page)
    expect(page.get_by_role("tab", name="Trajectories")).to_have_attribute("aria-selected", "true")
    expect(page.locator("#point .title")).to_contain_text("at its end")
    page.locator("#flow .flow[data-state=done][data-frame]").wait_for()


def test_the_baseline_that_was_stopped_is_drawn_again_while_it_writes(visit, slowly):
    page = visit(path="/" + link_of(Recipe("generate", ("Once upon a time",), LONG_TEXT))["query"])
    expect(page.locator("#generate .note").first).to_contain_text("Restored from the link")
    run(page)
    page.get_by_role("button", name="An autoregressive model").click()
    panel = page.locator("#baseline")
    written = panel.locator(".list li").nth(1).locator(".answer")
    for _ in range(2):
        panel.get_by_role("button", name="Write with the baseline").click()
        expect(panel).to_have_attribute("data-run", "running")
        expect(written).to_have_text(re.compile(r"(\S+\s+){8}"))
        expect(panel.locator(".rows")).to_have_attribute("data-state", "running")
        text = written.inner_text()
        panel.get_by_role("button", name="Stop").click()
        expect(panel.locator(".note")).to_have_text(re.compile(r"^Stopped after \d+ tokens\.$"))
        expect(panel.locator(".rows")).to_have_attribute("data-state", "stopped")
        assert written.inner_text().startswith(text)
    expect(page.locator("#baseline-numbers table")).to_be_hidden()
    expect(page.locator("#generate")).to_have_attribute("data-run", "done")  # the tab's own run is left alone


def history(page: Page) -> Page:
    page.get_by_role("button", name="History", exact=True).click()
    return page.locator("dialog[open]")


def back_opens_the_tab_before_and_a_reload_the_one_that_was_open_with_the_run_of_the_address(page: Page) -> None:
    """Of a page that has written a text."""
    text = page.locator("#text .answer").inner_text()
    for name in ("Edit", "Model"):
        open_tab(page, name)
    page.go_back()
    expect(page.locator("#edit")).to_be_visible()
    expect(page.get_by_role("tab", name="Edit", exact=True)).to_have_attribute("aria-selected", "true")
    page.reload()
    expect(page.locator("#edit")).to_be_visible()
    page.go_back()
    expect(page.locator("#text .answer")).to_have_text(text)
    assert "r=" in page.url


def test_back_a_reload_the_history_and_a_recipe_file_bring_a_tab_and_a_run_back(visit, tmp_path):
    page = visit()
    text = write(page, "The moon", seed="8")
    write(page, "A cat 🐈 <b>sat</b>")
    back_opens_the_tab_before_and_a_reload_the_one_that_was_open_with_the_run_of_the_address(page)
    state(page, "done")  # the address brings the last result back
    sheet = history(page)
    expect(sheet.locator(".title")).to_have_text(["A cat 🐈 <b>sat</b>", "The moon"])
    sheet.get_by_role("button", name="Open: The moon").click()
    expect(page.get_by_label("Prompt").first).to_have_value("The moon")
    expect(page.get_by_label("Seed", exact=True).first).to_have_value("8")
    expect(page.locator("#generate .note").first).to_contain_text("Restored from the history: press Run to repeat it")
    assert run(page) == text
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save recipe").locator("visible=true").click()
    saved.value.save_as(tmp_path / "recipe.json")
    set_up(page, "Something else", seed="1")
    history(page).locator("input[type=file]").set_input_files(tmp_path / "recipe.json")
    expect(page.get_by_label("Seed", exact=True).first).to_have_value("8")
    expect(page.locator("#generate .note").first).to_contain_text("Restored from the file: press Run to repeat it")
    assert run(page) == text
    recipe = json.loads((tmp_path / "recipe.json").read_text()) | {"model": "another"}
    (tmp_path / "foreign.json").write_text(json.dumps(recipe))
    history(page).locator("input[type=file]").set_input_files(tmp_path / "foreign.json")
    expect(page.locator("#generate .note").first).to_contain_text("made with the model another")


def the_keys_do_what_the_list_says(page: Page) -> None:
    set_up(page, tokens=4)
    page.locator("h1").click()
    page.keyboard.press("r")
    state(page, "done")
    page.keyboard.press("2")
    expect(page.get_by_role("tab", name="Interpolate")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("tab", name="Interpolate")).to_be_focused()
    page.keyboard.press("1")
    page.keyboard.press("/")
    expect(page.get_by_label("Prompt").first).to_be_focused()
    page.keyboard.type("r?")  # no key while one writes
    expect(page.locator("dialog[open]")).to_have_count(0)
    page.keyboard.press("Control+Enter")
    expect(page.locator("#text .prompt")).to_contain_text("r?")
    state(page, "done")
    page.locator("h1").click()
    page.keyboard.press("?")
    expect(page.locator("dialog[open]")).to_contain_text("Words used here")


def test_the_tour_walks_over_generate_ends_at_run_and_is_not_offered_again_and_the_keys_work(visit):
    page = visit(WIDE)
    open_tab(page, "Model")
    offer = page.get_by_role("button", name="Take a short tour")
    offer.click()
    for title in ("A text comes out of noise", "Each word has a path", "There is more"):  # the stage is empty
        expect(page.get_by_role("heading", name=title)).to_be_visible()
        page.get_by_role("button", name="Next").click()
    page.get_by_role("button", name="Write your own").click()
    expect(page.get_by_role("tab", name="Generate")).to_have_attribute("aria-selected", "true")
    expect(page.locator("#generate button.run")).to_be_focused()
    open_tab(page, "Model")
    page.locator(".own-help .open").click()
    offer.last.click()
    expect(page.get_by_role("tab", name="Generate")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("heading", name="A text comes out of noise")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("tab", name="Model")).to_have_attribute("aria-selected", "true")
    page.reload()
    expect(page.get_by_role("tab", name="Model")).to_have_attribute("aria-selected", "true")
    open_tab(page, "Generate")
    expect(offer).to_be_hidden()
    the_keys_do_what_the_list_says(page)


def test_the_page_of_the_api_lists_all_endpoints_at_once(pages, server):
    heard = pages.lend(WIDE, server, {})
    page = heard.page
    page.goto(server)
    page.get_by_role("link", name="Use via API").click()
    expect(page.get_by_text("9 API endpoints")).to_be_visible()
    for name in ("/generate", "/likelihood"):
        expect(page.get_by_text(name, exact=True)).to_be_visible()
    expect(page).to_have_url(f"{server}/api")  # which gradio would change to that of the main page
    page.set_viewport_size(NARROW)
    page.goto(f"{server}/api?view=api")  # gradio's address for it
    expect(page.get_by_text("9 API endpoints")).to_be_visible()
    close, recorder = (page.locator(f".banner-wrap {of}").bounding_box() for of in ("> button", ".counts button"))
    assert recorder["x"] + recorder["width"] <= close["x"]
    chips = [chip.bounding_box() for chip in page.locator(".api-docs .snippet").all()]
    assert len(chips) > 3 and all(chip["x"] + chip["width"] <= NARROW["width"] for chip in chips)
    pages.take_back(heard, WIDE, {}, again=True)

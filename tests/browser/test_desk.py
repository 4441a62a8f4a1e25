"""What a visitor does with a finished text, with the history, and in the first minutes."""

import json
import re

import pytest
from playwright.sync_api import Page, expect

from .conftest import NARROW, WIDE
from .driving import be_still, press_run
from .test_generate import overflow, run, set_up, state

SIZES = pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1280", "390"])


def write(page: Page, prompt: str = "Once upon a time", tokens: int = 12, seed: str = "3") -> str:
    """Runs, and waits until the text can be looked into."""
    set_up(page, prompt, tokens=tokens, seed=seed)
    press_run(page, "generate")
    state(page, "done")
    expect(page.locator("#text .look.ready")).to_have_count(1)
    return page.locator("#text .answer").inner_text()


def scrub(page: Page, share: float) -> None:
    page.locator("#text .look input").evaluate(
        "(x, share) => { x.value = Math.floor(x.max * share); x.dispatchEvent(new Event('input')); }", share
    )


@SIZES
def test_a_finished_text_is_scrubbed_and_comes_back(visit, size):
    page = visit(size)
    write(page)
    done = page.locator("#text .answer").inner_text()
    scrub(page, 0.4)
    expect(page.locator("#text .where")).to_contain_text("noise")
    expect(page.locator("#text .live .token").first).to_be_visible()
    assert len(page.locator("#text .answer").inner_text()) < len(done)
    scrub(page, 1)
    expect(page.locator("#text .where")).to_have_text("the finished text")
    assert page.locator("#text .answer").inner_text() == done
    assert overflow(page) <= 0


def test_a_word_is_looked_into_by_mouse_and_by_keyboard(visit):
    page = visit()
    write(page)
    tokens = page.locator("#text .answer .token")
    tokens.nth(2).click()
    expect(page.locator("#token .tells")).to_contain_text("Chosen with")
    expect(page.locator("#token .read tr.chosen")).to_have_count(1)
    first = page.locator("#token .where").inner_text()
    page.locator("#text .text").focus()
    for key in ("ArrowRight", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    expect(page.locator("#token .where")).not_to_have_text(first)
    page.get_by_role("button", name="Close", exact=True).locator("visible=true").click()
    expect(page.locator("#token .card")).to_be_hidden()


def test_a_word_chosen_while_another_is_looked_into_is_shown(visit):
    page = visit()
    write(page)
    where = page.locator("#token .where")
    page.locator("#text .answer .token").nth(5).dispatch_event("click")
    expect(page.locator("#token .tells")).to_contain_text("Chosen with")
    fifth = where.inner_text()
    page.locator("#text .answer .token").nth(8).dispatch_event("click")  # a random model's tokens may take no room
    expect(where).not_to_have_text(fifth)
    page.evaluate(
        """() => { const tokens = document.querySelectorAll('#text .answer .token'), ask = window.fetch;
        window.fetch = async (...request) => {
          const answer = await ask(...request);
          if (String(request[0]).includes('queue/join')) {  // the first is in the line
            window.fetch = ask;
            tokens[5].click();
          }
          return answer;
        };
        tokens[2].click(); }"""
    )
    expect(where).to_have_text(fifth)
    be_still(page)
    expect(where).to_have_text(fifth)


def test_variations_stand_below_each_other_and_one_can_be_read(visit):
    page = visit()
    page.get_by_label("number input for Variations").fill("3")
    page.get_by_label("number input for Variations").blur()
    write(page)
    rows = page.locator("#variations .list li")
    expect(rows).to_have_count(3)
    rows.nth(2).get_by_role("button", name="Look into it").click()
    expect(page.locator("#generate .numbers").first).to_contain_text("no. 3 of 3")
    expect(page.locator("#text .answer")).to_have_text(rows.nth(2).locator(".answer").inner_text())


def test_a_and_b_the_baseline_and_a_sweep(visit):
    page = visit()
    write(page)
    page.get_by_role("button", name="Same noise").click()
    page.get_by_label("number input for Guidance", exact=True).fill("2")
    page.get_by_label("number input for Guidance", exact=True).blur()
    page.get_by_role("button", name="Run B").click()
    expect(page.locator("#ab-rows .rows")).to_have_attribute("data-state", "done")
    expect(page.locator("#ab-rows .notes")).to_contain_text("Guidance")
    page.get_by_role("button", name="Beside an").click()
    page.get_by_role("button", name="Write with the baseline").click()
    expect(page.locator("#baseline-numbers table")).to_contain_text("Distinct 2-grams")
    page.get_by_role("button", name="Sweep over").click()
    page.get_by_role("button", name="Run the sweep").click()
    expect(page.locator("#grid .use")).to_have_count(6)
    page.get_by_role("button", name=re.compile("Use these settings: Guidance 3, Steps a block 4")).click()
    expect(page.get_by_label("number input for Guidance", exact=True)).to_have_value("3")
    expect(page.get_by_label("number input for Steps a block")).to_have_value("4")
    expect(page.locator("#generate")).to_have_attribute("data-run", "done")  # the folds leave the tab's own run alone


def history(page: Page) -> Page:
    page.get_by_role("button", name="History", exact=True).click()
    return page.locator("dialog[open]")


def test_the_history_survives_a_reload_and_can_be_kept_in_order(visit, tmp_path):
    page = visit()
    write(page, "A cat 🐈 <b>sat</b>")
    write(page, "The moon")
    page.reload()
    state(page, "done")  # the address brings the last result back
    sheet = history(page)
    expect(sheet.locator(".title")).to_have_text(["The moon", "A cat 🐈 <b>sat</b>"])
    assert sheet.locator(".title b").count() == 0
    sheet.get_by_label("Search the history").fill("moon")
    expect(sheet.locator(".title")).to_have_count(1)
    sheet.get_by_label("Search the history").fill("")
    sheet.get_by_role("button", name="Pin: A cat").click()
    expect(sheet.locator(".title").first).to_contain_text("A cat")
    sheet.get_by_role("button", name="Give a name to: The moon").click()
    sheet.get_by_label("Name", exact=True).fill("night")
    page.keyboard.press("Enter")
    expect(sheet.locator(".title").nth(1)).to_have_text("night")
    with page.expect_download() as saved:
        sheet.get_by_role("button", name="Export all").click()
    saved.value.save_as(tmp_path / "history.json")
    for _ in range(2):
        sheet.get_by_role("button", name=re.compile("Delete:")).first.click()
    expect(sheet.locator(".none")).to_contain_text("Nothing yet")
    sheet.locator("input[type=file]").set_input_files(tmp_path / "history.json")
    expect(sheet.locator(".told")).to_contain_text("2 added")
    sheet.get_by_role("button", name="Open: night").click()
    expect(page.get_by_label("Prompt").first).to_have_value("The moon")
    expect(page.locator("#generate .said").first).to_contain_text("press Run to repeat it")


def test_a_recipe_file_opens_again_and_says_if_it_is_another_models(visit, tmp_path):
    page = visit()
    text = write(page, "The moon", seed="8")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save recipe").locator("visible=true").click()
    saved.value.save_as(tmp_path / "recipe.json")
    other = visit()
    history(other).locator("input[type=file]").set_input_files(tmp_path / "recipe.json")
    expect(other.get_by_label("Seed", exact=True).first).to_have_value("8")
    assert run(other) == text
    recipe = json.loads((tmp_path / "recipe.json").read_text()) | {"model": "another"}
    (tmp_path / "foreign.json").write_text(json.dumps(recipe))
    history(other).locator("input[type=file]").set_input_files(tmp_path / "foreign.json")
    expect(other.locator("#generate .said").first).to_contain_text("made with the model another")


@pytest.mark.parametrize("content", ["no json", "[]", '{"history": 3}', '{"operation": 1, "texts": []}'])
def test_a_file_that_is_no_recipe_gets_a_sentence(visit, tmp_path, content):
    (tmp_path / "file.json").write_text(content)
    page = visit()
    sheet = history(page)
    sheet.locator("input[type=file]").set_input_files(tmp_path / "file.json")
    expect(sheet.locator(".told")).to_contain_text("The file")


@SIZES
def test_the_tour_is_offered_once_and_ends_at_run(visit, size):
    page = visit(size)
    page.get_by_role("button", name="See in five steps what happens").click()
    for step in range(1, 5):
        expect(page.locator("dialog[open] .count")).to_contain_text(f"{step} of 5")
        page.get_by_role("button", name="Next").click()
    page.get_by_role("button", name="Write your own").click()
    expect(page.locator("#generate button.run")).to_be_focused()
    page.reload()
    page.wait_for_selector("button.run")
    expect(page.locator(".invite")).to_be_hidden()
    assert overflow(page) <= 0
    page.get_by_role("button", name="Help: shortcuts and glossary").click()
    page.get_by_role("button", name="See in five steps what happens").click()
    expect(page.locator("dialog[open] .count")).to_contain_text("1 of 5")  # who asks sees it again


def test_the_keys_do_what_the_list_says(visit):
    page = visit()
    set_up(page, tokens=4)
    page.locator("h1").click()
    page.keyboard.press("r")
    state(page, "done")
    page.keyboard.press("2")
    expect(page.get_by_role("tab", name="Interpolate")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("1")
    page.keyboard.press("/")
    expect(page.get_by_label("Prompt").first).to_be_focused()
    page.keyboard.type("r?")  # no key while one writes
    expect(page.locator("dialog[open]")).to_have_count(0)
    page.keyboard.press("Control+Enter")
    expect(page.locator("#text .prompt")).to_contain_text("r?")
    expect(page.locator("#generate")).to_have_attribute("data-run", "done")
    page.locator("h1").click()
    page.keyboard.press("?")
    expect(page.locator("dialog[open]")).to_contain_text("Words used here")

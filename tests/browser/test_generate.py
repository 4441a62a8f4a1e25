"""What a visitor does with the tab Generate, on a desk and on a phone."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from app.shared.links import link_of
from coladlm import SamplerSettings
from coladlm.recipe import Recipe

from .conftest import NARROW, WIDE
from .driving import be_still, overflow, run, set_up, state

# a run of half a minute and more, for those that are stopped
LONG = SamplerSettings(steps=48, max_new_tokens=1024, stop_at_end=False)
SIZES = pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1280", "390"])


def visit_long(visit: Callable[..., Page], size: dict = WIDE) -> Page:
    """Opens the page with the settings of a long run, by a link."""
    page = visit(size, path="/" + link_of(Recipe("generate", ("Once upon a time",), LONG))["query"])
    expect(page.locator("#generate .own-progress_line .said").first).to_contain_text("Restored from the link")
    return page


@SIZES
def test_run_streams_a_text_and_finishes(visit, size):
    page = visit(size)
    set_up(page, "Once upon a time", tokens=40)
    before = page.locator("#text .strip").bounding_box()
    page.evaluate(
        """() => { window.seen = new Set();
        new MutationObserver(() => window.seen.add(document.querySelector('.text').textContent))
          .observe(document.querySelector('.text'), {subtree: true, childList: true, characterData: true}); }"""
    )
    assert run(page)
    # an empty sheet and the whole text would be two; how many come in between depends on the machine
    assert page.evaluate("window.seen.size") > 2, "the text did not change while it was written"
    expect(page.locator(".answer .token")).to_have_count(40)
    expect(page.locator(".live .token")).to_have_count(0)
    expect(page.locator(".prompt", has_text="Once upon a time").first).to_be_visible()
    expect(page.locator("#generate .numbers").first).to_contain_text("40 tokens")
    assert overflow(page) <= 0
    if size is WIDE:
        assert page.locator("#text .strip").bounding_box() == before, "the place of the text jumped"


@SIZES
def test_stop_keeps_the_text(visit, size):
    page = visit_long(visit, size)
    page.locator("button.run").click()
    page.wait_for_function("document.querySelectorAll('.answer .token').length >= 8")
    page.locator("button.stop").click()
    state(page, "stopped")
    kept = page.locator(".answer .token").count()
    assert kept >= 8
    expect(page.locator(".said")).to_have_text(re.compile(r"Stopped after \d+ tokens"))
    assert int(re.search(r"\d+", page.locator(".said").inner_text())[0]) >= kept
    # the model is free again, and the next run starts from a clean sheet
    set_up(page, tokens=4)
    run(page)
    expect(page.locator(".answer .token")).to_have_count(4)


def test_run_and_stop_by_keyboard_alone(visit):
    page = visit_long(visit)
    page.get_by_label("Prompt").focus()
    page.keyboard.press("Shift+Enter")
    state(page, "running")
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent.trim()") == "Stop":
            break
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid", "the button with the focus shows nothing of it"
    page.keyboard.press("Enter")
    state(page, "stopped")


def test_the_empty_state_starts_a_run_and_an_empty_prompt_writes_from_nothing(visit):
    page = visit(NARROW)
    set_up(page, "", tokens=8)
    page.get_by_role("button", name="Write something").click()
    state(page, "done")
    expect(page.locator(".answer .token")).to_have_count(8)


def test_a_run_pressed_in_the_moment_the_last_one_ends_is_taken(visit):
    """Gradio drops a press that comes after the last frame of a run and before its end: nothing would ever follow."""
    page = visit()
    set_up(page, tokens=4)
    page.evaluate(
        """() => { window.ends = [];
        const line = document.querySelector('.line');
        let pressed = 0;
        new MutationObserver(() => {
          if (line.dataset.state !== 'done') return;
          window.ends.push(document.querySelectorAll('.answer .token').length);
          if (pressed++ < 3) document.querySelector('#generate button.run').click();
        }).observe(line, {attributeFilter: ['data-state']}); }"""
    )
    page.locator("#generate button.run").click()
    page.wait_for_function("window.ends.length === 4")
    be_still(page)
    assert page.evaluate("window.ends.length") == 4, "a run was pressed once and taken twice"
    state(page, "done")


def test_a_full_queue_says_so_in_the_page(visit):
    visitors = [visit_long(visit), visit(), visit(), visit()]
    visitors[0].locator("button.run").click()
    state(visitors[0], "running")
    for number, page in enumerate(visitors[1:3], 1):
        page.locator("button.run").click()
        expect(page.locator("#generate .own-progress_line").first).to_contain_text(f"number {number} in the line")
    refused = visitors[3]
    refused.locator("button.run").click()
    expect(refused.locator("#generate .own-progress_line").first).to_contain_text("The queue is full")
    expect(refused.locator("#generate .own-progress_line").first).to_contain_text("Try again in about")
    for page in visitors[2::-1]:
        page.locator("button.stop").click()
        state(page, "stopped")


def test_an_absurd_number_gets_a_sentence_and_the_next_run_is_free_of_it(visit):
    page = visit()
    set_up(page, seed="1e40")
    page.locator("#generate button.run").click()
    state(page, "error")
    expect(page.get_by_role("alert").filter(has_text="Seed is")).to_be_visible()
    set_up(page, seed="1", tokens=4)
    run(page)
    set_up(page, tokens=10**12)
    expect(page.get_by_label("number input for New tokens")).to_have_value("1024")  # the most that a run may have


def test_two_visitors_take_turns_and_get_the_same_text(visit):
    first, second = visit(), visit(NARROW)
    for page in (first, second):
        set_up(page, "A cat and a dog", tokens=48, seed="3")
    first.locator("button.run").click()
    second.locator("button.run").click()
    state(first, "done")
    state(second, "done")
    assert first.locator(".answer").inner_text() == second.locator(".answer").inner_text()


def test_a_visitor_who_stops_waiting_keeps_the_place_free(visit):
    first, second = visit_long(visit), visit()
    set_up(second, tokens=4)
    first.locator("button.run").click()
    state(first, "running")
    second.locator("button.run").click()
    state(second, "waiting")
    second.locator("button.stop").click()
    state(second, "stopped")
    expect(second.locator(".said")).to_have_text("Stopped before it began.")
    first.locator("button.stop").click()
    state(first, "stopped")
    run(second)


@SIZES
def test_a_reload_restores_the_recipe_of_the_link_and_its_result(visit, size):
    page = visit(size)
    set_up(page, "The moon 🌙", tokens=12, seed="42")
    text = run(page)
    assert "r=" in page.url
    page.reload()
    page.wait_for_selector(".strip")
    state(page, "done")
    assert page.locator(".answer").inner_text() == text
    expect(page.get_by_label("Prompt")).to_have_value("The moon 🌙")
    expect(page.get_by_label("Seed", exact=True)).to_have_value("42")


def test_links_that_give_no_result_say_so_and_nothing_runs(visit, model):
    foreign = Recipe("generate", ("The moon",), SamplerSettings(max_new_tokens=8), model="another")
    page = visit(path="/" + link_of(foreign)["query"])
    expect(page.locator("#generate .said").first).to_contain_text("made with the model another")
    expect(page.get_by_label("Prompt").first).to_have_value("The moon")
    be_still(page)
    expect(page.locator("#generate")).to_have_attribute("data-run", "idle")
    page.goto(page.url.split("?")[0] + "?r=broken")
    state(page, "error")
    expect(page.get_by_role("alert").filter(has_text="link")).to_be_visible()


def test_the_dice_roll_another_seed_and_an_example_fills_in_the_prompt(visit):
    page = visit()
    set_up(page, seed="0")
    page.get_by_role("button", name="Roll a new seed").first.click()
    expect(page.locator("#generate").get_by_label("Seed", exact=True)).not_to_have_value("0")
    example = page.locator("#generate .example").nth(1)
    example.click()
    expect(page.get_by_label("Prompt").first).to_have_value(example.inner_text())


def test_on_a_phone_the_result_comes_first_and_run_brings_it_into_view(visit):
    page = visit(NARROW)
    tops = page.evaluate("['.results', '.controls'].map(x => document.querySelector(x).getBoundingClientRect().top)")
    assert tops[0] < tops[1]
    expect(page.locator("#generate .setting-list")).to_be_hidden()
    expect(page.locator("#generate button.run")).to_be_in_viewport()
    page.get_by_role("button", name="Settings").first.click()
    expect(page.locator("#generate .setting-list")).to_be_visible()
    assert overflow(page) <= 0
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    line = page.locator("#generate .line").first
    expect(line).not_to_be_in_viewport()
    run(page)
    expect(line).to_be_in_viewport()

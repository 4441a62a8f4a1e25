"""What a visitor does with the tab Generate, on a desk and on a phone."""

import re

import pytest
from playwright.sync_api import Page, expect

from app.shared.generation import CANDIDATES
from app.shared.links import link_of
from coladlm import SamplerSettings
from coladlm.recipe import Recipe

from .conftest import NARROW, WIDE
from .driving import (
    be_still,
    fits,
    is_no_wider,
    number,
    press,
    run,
    set_up,
    shifted,
    state,
    unfold,
    write,
)

# a run of half a minute and more, for those that are stopped
LONG = SamplerSettings(steps=48, max_new_tokens=1024, stop_at_end=False)
SIZES = pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1280", "390"])

# on the page: Run brings the text into the window where it was scrolled away
PLACE = """() => { const {top, left, width, height} = document.querySelector('#text .strip').getBoundingClientRect();
  return [top + window.scrollY, left, width, height].map(Math.round); }"""


def the_prompt_comes_first(page: Page) -> None:
    """On a phone, where the settings are folded, and Run is in sight."""
    for part in (".prompt-box", ".stage", ".chips .chip", ".views .offer"):
        expect(page.locator("#generate").locator(part).first).to_be_visible()
    expect(page.locator("#generate .setting-list").first).to_be_attached()
    tops = page.evaluate(
        "['.prompt-box', '.stage', '.chips', '.views'].map(x => document.querySelector(x).getBoundingClientRect().top)"
    )
    assert tops == sorted(tops)
    expect(page.locator("#generate .setting-list")).to_be_hidden()
    expect(page.locator("#generate button.run")).to_be_in_viewport()
    page.get_by_role("button", name="guidance").click()
    expect(page.get_by_label("number input for Guidance").first).to_be_visible()
    expect(page.get_by_label("number input for Steps a block").first).to_be_hidden()
    page.get_by_role("button", name="All settings").click()
    expect(page.get_by_label("number input for Steps a block").first).to_be_visible()
    is_no_wider(page)


def run_brings_the_text_into_view(page: Page) -> None:
    set_up(page, "", tokens=8)
    # an empty prompt begins with a line of the model's
    press(page, page.get_by_role("button", name="Write something").click)
    state(page, "done")
    expect(page.locator(".answer .token")).to_have_count(8)
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    text = page.locator("#text .text")
    expect(text).not_to_be_in_viewport()
    run(page)
    expect(text).to_be_in_viewport()


def a_run_pressed_in_the_moment_the_last_one_ends_is_taken(page: Page) -> None:
    """Gradio drops a press that comes after the last frame of a run and before its end: nothing would ever follow."""
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


def a_reload_brings_the_recipe_and_the_result_back(page: Page, text: str) -> None:
    page.reload()
    state(page, "done")
    expect(page.locator(".answer .token")).to_have_count(24)
    assert page.locator(".answer").first.inner_text() == text
    expect(page.get_by_label("Prompt").first).to_have_value("The moon 🌙")
    expect(page.get_by_label("Seed", exact=True).first).to_have_value("42")


@SIZES
def test_run_streams_a_text_and_a_reload_brings_its_recipe_and_its_result_back(visit, size, slowly):
    page = visit(size)
    be_still(page)
    assert shifted(page) < 0.02, "the page moved while it was put together"
    if size is NARROW:
        the_prompt_comes_first(page)
        run_brings_the_text_into_view(page)
    set_up(page, "The moon 🌙", tokens=24, seed="42")
    before = page.evaluate(PLACE)
    page.evaluate(
        """() => { window.seen = new Set();
        new MutationObserver(() => window.seen.add(document.querySelector('.text').textContent))
          .observe(document.querySelector('.text'), {subtree: true, childList: true, characterData: true}); }"""
    )
    text = run(page)
    # an empty sheet and the whole text would be two; how many come in between depends on the machine
    assert page.evaluate("window.seen.size") > 2, "the text did not change while it was written"
    expect(page.locator(".answer .token")).to_have_count(24)
    expect(page.locator(".live .token")).to_have_count(0)
    expect(page.locator(".prompt", has_text="The moon 🌙").first).to_be_visible()
    expect(page.locator("#generate .numbers").first).to_contain_text("24 tokens")
    is_no_wider(page)
    if size is WIDE:
        assert page.evaluate(PLACE) == before, "the place of the text jumped"
    assert "r=" in page.url
    if size is NARROW:
        a_reload_brings_the_recipe_and_the_result_back(page, text)
        fits(page)
    else:
        a_run_pressed_in_the_moment_the_last_one_ends_is_taken(page)


def test_a_link_of_another_model_runs_nothing_and_run_and_stop_by_keyboard_keep_the_text_and_the_next_is_clean(visit):
    page = visit(path="/" + link_of(Recipe("generate", ("The moon",), LONG, model="another"))["query"])
    expect(page.locator("#generate .note").first).to_contain_text("made with the model another")
    expect(page.get_by_label("Prompt").first).to_have_value("The moon")
    be_still(page)
    expect(page.locator("#generate")).to_have_attribute("data-run", "idle")
    page.get_by_label("Prompt").first.focus()
    page.keyboard.press("Shift+Enter")
    page.wait_for_function("document.querySelectorAll('.answer .token').length >= 8")
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent.trim()") == "Stop":
            break
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid", "the button with the focus shows nothing of it"
    page.keyboard.press("Enter")
    state(page, "stopped")
    kept = page.locator(".answer .token").count()
    assert kept >= 8
    note = page.locator("#generate .own-progress_line .note").first
    expect(note).to_have_text(re.compile(r"Stopped after \d+ tokens"))
    assert int(re.search(r"\d+", note.inner_text())[0]) >= kept
    set_up(page, "", tokens=4)
    run(page)
    expect(page.locator(".answer .token")).to_have_count(4)


def the_answer_to_an_older_question_does_not_take_the_place_of_a_newer_one(page: Page) -> None:
    where, newer = page.locator("#token .where"), page.locator("#text .answer .token").nth(5)
    block, token = (int(newer.get_attribute(f"data-{name}")) + 1 for name in ("block", "token"))
    page.evaluate(
        """() => { const tokens = document.querySelectorAll('#text .answer .token'), ask = window.fetch;
        let first = true;
        window.ends = 0;  // of gradio's events
        window.fetch = async (...request) => {
          const path = String(request[0].url ?? request[0]);
          if (path.includes('/queue/join') && first) {
            first = false;
            tokens[5].click();
            await new Promise(go => { window.letGo = go; });
          }
          const answer = await ask(...request);
          if (!path.includes('/queue/data')) return answer;
          const [own, told] = answer.body.tee();
          told.pipeThrough(new TextDecoderStream()).pipeTo(new WritableStream({
            write: text => { window.ends += text.split('process_completed').length - 1; }})).catch(() => {});
          return new Response(own, answer);
        };
        tokens[2].click(); }"""
    )
    expect(where).to_have_text(f"token {token} of block {block}")
    page.evaluate("window.letGo()")
    page.wait_for_function("window.ends === 2")
    be_still(page)
    expect(where).to_have_text(f"token {token} of block {block}")


def test_run_pressed_before_its_script_has_come_is_taken_and_another_word_is_written_on_from_and_taken_back(visit):
    held = []
    page = visit(before=lambda page: page.route("**/runs/run_client.js", lambda route: held.append(route)))
    page.locator("#generate button.run").click()
    page.wait_for_function("window.runs.calls.length === 1")
    held[0].continue_()
    state(page, "done")
    page.unroute_all()
    another_word_is_written_on_from_and_the_text_before_comes_back(page)


def another_word_is_written_on_from_and_the_text_before_comes_back(page: Page) -> None:
    before, address = write(page, tokens=16, seed="9"), page.url
    the_answer_to_an_older_question_does_not_take_the_place_of_a_newer_one(page)
    expect(page.locator("#flow-view canvas")).to_have_attribute("aria-label", re.compile("^Paths of 16 words"))
    page.locator("#text .answer .token").nth(5).dispatch_event("click")  # a random model's tokens may take no room
    card = page.locator("#token")
    expect(card.locator(".tells")).to_contain_text("in the end")
    card.get_by_label("Another word").fill("moon")
    press(page, lambda: card.get_by_role("button", name="Write on").click())
    state(page, "done")
    rows = page.locator("#variations .list li")
    expect(rows).to_have_count(2)
    expect(rows.locator("mark").last).to_have_text("moon")
    expect(page.locator("#text .prompt")).to_have_text(re.compile("^Once upon a time.*moon$", re.DOTALL))
    expect(page.locator("#text .answer .token")).to_have_count(7)  # 16 less the five before and the four of "moon"
    steered = page.url
    assert steered != address
    rows.first.get_by_role("button", name="Look into it").click()
    expect(page.locator("#text .answer .token")).to_have_count(16)
    expect(page).to_have_url(address)
    rows.last.get_by_role("button", name="Look into it").click()
    expect(page.locator("#text mark")).to_have_text("moon")
    expect(page).to_have_url(steered)
    page.keyboard.press("Control+z")
    expect(page.locator("#text .answer .token")).to_have_count(16)
    assert page.locator("#text .answer").inner_text() == before
    expect(page).to_have_url(address)
    page.reload()
    state(page, "done")
    expect(page.locator("#text .answer .token")).to_have_count(16)
    assert page.locator("#text .answer").inner_text() == before and page.url == address


def a_choice_opens_when_it_is_pressed_and_a_preset_is_applied_once(page: Page) -> None:
    bench = page.locator("#generate")
    unfold(bench)
    preset, steps = bench.get_by_label("Preset"), bench.get_by_label("number input for Steps a block")
    bench.get_by_label("number input for Guidance", exact=True).focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.locator("[role=listbox]")).to_have_count(0)
    preset.select_option("fast draft")
    expect(steps).to_have_value("8")
    number(bench, "New tokens", 6)
    expect(preset).to_have_value("fast draft")  # says nothing of the length
    number(bench, "Steps a block", 5)
    expect(preset).to_have_value("")  # these settings are no preset's
    preset.focus()
    page.keyboard.press("Tab")
    be_still(page)
    expect(steps).to_have_value("5")
    preset.select_option("fast draft")
    expect(steps).to_have_value("8")
    bench.get_by_role("button", name="More settings").click()
    preset.select_option("as published")
    expect(bench.get_by_label("Solver")).to_have_value(SamplerSettings().solver)
    expect(steps).to_have_value(str(SamplerSettings().steps))
    be_still(page)  # the others of the preset come, too
    expect(preset).to_have_value("as published")


def blocks_of_another_size_are_written(page: Page) -> None:
    page.locator("#generate").get_by_label("Block size").select_option("8")
    expect(page.locator("#generate").get_by_label("Preset")).to_have_value("")
    set_up(page, tokens=4)
    run(page)
    expect(page.locator(".answer .token")).to_have_count(4)
    assert Recipe.from_url(page.url.split("r=")[1].split("&")[0].split("#")[0]).settings.block_size == 8


def test_a_broken_link_says_so_and_what_stands_in_the_settings_is_rolled_refused_and_held_within_limits(visit):
    page = visit(path="/?r=broken")
    state(page, "error")
    expect(page.get_by_role("alert").filter(has_text="link")).to_be_visible()
    set_up(page, seed="0")
    page.get_by_role("button", name="Roll a new seed").first.click()
    expect(page.locator("#generate").get_by_label("Seed", exact=True)).not_to_have_value("0")
    example = page.locator("#generate .example").nth(1)
    example.click()
    prompt, texts = page.get_by_label("Prompt").first, page.locator("#generate .chip[data-name=variations]")
    expect(prompt).to_have_value(example.inner_text())
    prompt.fill("The ___ ran.")
    expect(texts).to_have_text(f"{CANDIDATES} texts")  # so many ways, unless another number is asked
    prompt.fill("The cat ran.")
    expect(texts).to_have_text("1 text")
    set_up(page, seed="1e40")
    page.locator("#generate button.run").click()
    state(page, "error")
    expect(page.get_by_role("alert").filter(has_text="Seed is")).to_be_visible()
    set_up(page, seed="1", tokens=4)
    run(page)  # free of what was refused
    set_up(page, tokens=10**12)
    expect(page.get_by_label("number input for New tokens")).to_have_value("1024")  # the most that a run may have
    a_choice_opens_when_it_is_pressed_and_a_preset_is_applied_once(page)
    blocks_of_another_size_are_written(page)

"""What a visitor does with the tab Generate, on a desk and on a phone."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from app.share import link_of
from coladlm import SamplerSettings
from coladlm.recipe import Recipe

from .conftest import NARROW, WIDE
from .driving import be_still, press_run

# a run of half a minute and more, for those that are stopped
LONG = SamplerSettings(steps=48, max_new_tokens=1024, stop_at_end=False)
SIZES = pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1280", "390"])


def visit_long(visit: Callable[..., Page], size: dict = WIDE) -> Page:
    """Opens the page with the settings of a long run, by a link."""
    page = visit(size, path="/" + link_of(Recipe("generate", ("Once upon a time",), LONG))["query"])
    expect(page.locator("#generate .own-progress_line .said").first).to_contain_text("Restored from the link")
    return page


def set_up(page: Page, prompt: str | None = None, tokens: float | None = None, seed: str | None = None) -> None:
    """Fills in the prompt and the settings named; on a phone the settings are unfolded for it."""
    if prompt is not None:
        page.get_by_label("Prompt").fill(prompt)
    if (tokens is not None or seed is not None) and page.locator(".setting-list").is_hidden():
        page.locator(".fold").click()
    if tokens is not None:
        page.get_by_label("number input for New tokens").fill(str(tokens))
        page.get_by_label("number input for New tokens").blur()
    if seed is not None:
        page.get_by_label("Seed", exact=True).fill(seed)
        page.get_by_label("Seed", exact=True).blur()


def state(page: Page, *wanted: str) -> None:
    """Waits until the progress line is in one of the states."""
    expect(page.locator(".line")).to_have_attribute("data-state", re.compile("|".join(wanted)))


def run(page: Page) -> str:
    """Presses Run, waits for the end and returns the answer."""
    press_run(page, "generate")
    state(page, "done")
    return page.locator(".answer").inner_text()


def overflow(page: Page) -> int:
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


@SIZES
def test_run_streams_a_text_and_finishes(visit, size):
    page = visit(size)
    set_up(page, "Once upon a time", tokens=40)
    page.evaluate(
        """() => { window.seen = new Set();
        new MutationObserver(() => window.seen.add(document.querySelector('.text').textContent))
          .observe(document.querySelector('.text'), {subtree: true, childList: true, characterData: true}); }"""
    )
    assert run(page)
    assert page.evaluate("window.seen.size") > 5, "the text did not change while it was written"
    expect(page.locator(".answer .token")).to_have_count(40)
    expect(page.locator(".live .token")).to_have_count(0)
    expect(page.locator(".prompt", has_text="Once upon a time").first).to_be_visible()
    expect(page.locator(".numbers")).to_contain_text("40 tokens")
    assert overflow(page) <= 0


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


def test_an_empty_prompt_writes_from_nothing(visit):
    page = visit(NARROW)
    set_up(page, "", tokens=8)
    run(page)
    expect(page.locator(".answer .token")).to_have_count(8)


def test_the_empty_state_starts_a_run(visit):
    page = visit()
    set_up(page, tokens=4)
    page.get_by_role("button", name="Write something").click()
    state(page, "done")
    expect(page.locator(".answer .token")).to_have_count(4)


@SIZES
def test_a_prompt_of_50_000_characters_gets_a_sentence(visit, size):
    page = visit(size)
    set_up(page, "long " * 10_000)
    page.locator("button.run").click()
    state(page, "error")
    expect(page.get_by_role("alert").filter(has_text="tokens")).to_be_visible()
    assert overflow(page) <= 0


SCRIPTS = (
    "👩‍🚀🎈 to the moon 🇫🇷",
    "שלום עולם, hello",
    "日本語のお話",
    "<b>bold</b><script>document.title='x'</script>",
    "${1} {{x}} `y`",
)


def test_any_script_is_shown_as_it_was_typed(visit):
    page = visit(NARROW)
    for prompt in SCRIPTS:
        set_up(page, prompt, tokens=4)
        run(page)
        expect(page.locator(".text .prompt")).to_have_text(prompt)
        assert page.locator(".text b").count() == 0
        assert page.title() == "Cola-DLM Explorer"
        assert overflow(page) <= 0, prompt


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


def test_a_run_pressed_right_after_stop_is_taken(visit):
    page = visit_long(visit)
    page.locator("button.run").click()
    page.wait_for_function("document.querySelectorAll('.answer .token').length >= 8")
    page.evaluate(
        """() => { document.querySelector('#generate button.stop').click();
        document.querySelector('#generate button.run').click(); }"""
    )
    state(page, "running")
    page.wait_for_function("document.querySelectorAll('.answer .token').length >= 8")
    page.locator("button.stop").click()
    state(page, "stopped")
    be_still(page)
    state(page, "stopped")


def test_a_run_stopped_before_the_server_has_answered_is_stopped_there_too(visit):
    page, other = visit_long(visit), visit()
    set_up(other, tokens=4)
    page.evaluate(
        """() => { window.states = [];
        const line = document.querySelector('.line'), ask = window.fetch;
        const seen = new MutationObserver(() => window.states.push(line.dataset.state));
        seen.observe(line, {attributeFilter: ['data-state']});
        window.fetch = async (...request) => {
          const slow = String(request[0]).includes('/runs/'), answer = await ask(...request);
          if (slow) await new Promise(done => setTimeout(done, 500));
          return answer;
        }; }"""
    )
    page.locator("button.run").click()
    state(page, "waiting")
    page.locator("button.stop").click()
    state(page, "stopped")
    expect(page.locator(".said")).to_have_text("Stopped before it began.")
    run(other)  # there is one place: it is free again
    be_still(page)
    assert page.evaluate("window.states") == ["waiting", "stopped"]
    page.locator("button.run").click()
    page.wait_for_function("document.querySelectorAll('.answer .token').length >= 8")
    page.locator("button.stop").click()
    state(page, "stopped")
    run(other)


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


def test_absurd_numbers_get_a_sentence(visit):
    page = visit()
    for seed in ("-5", "1e40", ""):
        set_up(page, seed=seed)
        page.locator("button.run").click()
        state(page, "error")
        expect(page.get_by_role("alert").filter(has_text="Seed is")).to_be_visible()
        set_up(page, seed="1", tokens=4)
        run(page)
    set_up(page, tokens=10**12)
    page.locator("button.run").click()
    state(page, "error", "running")
    page.locator("button.stop").click()


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


def test_a_run_right_after_a_stop_is_not_lost(visit):
    first, second = visit_long(visit), visit()
    set_up(second, tokens=4)
    first.locator("button.run").click()
    state(first, "running")
    # in one go: so the second Run comes while gradio still ends the first, which has not even begun
    shown = second.evaluate(
        """async () => {
        const bench = document.querySelector('#generate'), seen = [];
        const press = name => bench.querySelector('button.' + name).click();
        const asked = () => new Promise(done => bench.addEventListener('run-state', done, {once: true}));
        for (const name of ['run', 'stop', 'run']) {
          const heard = asked();
          press(name);
          await heard;
          seen.push(bench.dataset.run);
        }
        return seen; }"""
    )
    assert shown == ["waiting", "stopped", "waiting"]
    first.locator("button.stop").click()
    state(first, "stopped")
    state(second, "done")
    expect(second.locator(".answer .token")).to_have_count(4)


def test_a_closed_tab_frees_the_model(visit):
    first, second = visit_long(visit), visit()
    first.locator("button.run").click()
    state(first, "running")
    first.close()
    set_up(second, tokens=4)
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


def test_a_link_of_another_model_says_so_and_does_not_run(visit):
    recipe = Recipe("generate", ("The moon",), SamplerSettings(max_new_tokens=8), model="another")
    page = visit(path="/" + link_of(recipe)["query"])
    expect(page.locator("#generate .said").first).to_contain_text("made with the model another")
    page.wait_for_timeout(1000)
    expect(page.locator("#generate")).to_have_attribute("data-run", "idle")


def test_a_server_that_stays_silent_is_told_of(visit):
    page = visit(again=False)
    page.route("**/runs/*", lambda route: None)  # as after a connection that was lost without a word
    page.clock.install()
    page.locator("button.run").click()
    page.clock.fast_forward(21_000)
    expect(page.locator("#generate .wrong").first).to_contain_text("does not answer")


def test_copy_link_copies_the_address(visit):
    page = visit(permissions=["clipboard-read", "clipboard-write"])
    expect(page.get_by_role("button", name="Copy link")).to_be_disabled()
    set_up(page, tokens=4)
    run(page)
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_text("Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == page.url


def test_a_broken_link_gets_a_sentence(visit):
    page = visit(path="/?r=broken")
    state(page, "error")
    expect(page.get_by_role("alert").filter(has_text="link")).to_be_visible()


def test_the_dice_roll_another_seed(visit):
    page = visit()
    set_up(page, seed="0")
    page.get_by_role("button", name="Roll a new seed").click()
    expect(page.get_by_label("Seed", exact=True)).not_to_have_value("0")


def test_an_example_fills_in_the_prompt(visit):
    page = visit()
    example = page.locator(".example").nth(1)
    example.click()
    expect(page.get_by_label("Prompt")).to_have_value(example.inner_text())


def test_on_a_phone_the_result_comes_first_and_settings_unfold(visit):
    page = visit(NARROW)
    tops = page.evaluate("['.results', '.controls'].map(x => document.querySelector(x).getBoundingClientRect().top)")
    assert tops[0] < tops[1]
    expect(page.locator(".setting-list")).to_be_hidden()
    expect(page.locator("button.run")).to_be_in_viewport()
    page.locator(".fold").click()
    expect(page.locator(".setting-list")).to_be_visible()
    assert overflow(page) <= 0


def test_on_a_phone_run_brings_the_result_into_view(visit):
    page = visit(NARROW)
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    expect(page.locator(".line")).not_to_be_in_viewport()
    run(page)
    expect(page.locator(".line")).to_be_in_viewport()


def test_nothing_jumps_when_a_run_begins(visit):
    page = visit()
    set_up(page, tokens=8)
    before = page.locator(".strip").bounding_box()
    run(page)
    assert page.locator(".strip").bounding_box() == before


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_can_be_read_on_every_confidence(visit, scheme):
    """Contrast (WCAG 2) of settled words at least 7, of words still being decided at least 4.5."""
    page = visit(color_scheme=scheme)
    ratios = page.evaluate(
        """() => {
        const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
        const paint = color => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
          return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map(c => c / 255)
            .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4); };
        const light = color => { const [r, g, b] = paint(color); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
        const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        const out = [];
        for (const part of ['answer', 'live']) for (let i = 0; i <= 20; i++) {
          const token = document.createElement('span');
          token.className = 'token';
          token.style.transition = 'none';
          token.style.setProperty('--confidence', i / 20);
          document.querySelector('.' + part).append(token);
          const style = getComputedStyle(token);
          out.push([part, i / 20, ratio(light(style.color), light(style.backgroundColor))]);
        }
        return out; }"""
    )
    assert len(ratios) == 42
    poor = [found for found in ratios if found[2] < {"answer": 7, "live": 4.5}[found[0]]]
    assert poor == []

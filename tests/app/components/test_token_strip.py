"""A text as it crystallises: words, confidences, looking back, and a way to each word by mouse and by keyboard."""

import json
import re

import pytest
from playwright.sync_api import expect

from .conftest import NARROW, WIDE
from .values import Generated

SIZES = pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1280", "390"])
SCRIPTS = (
    "👩‍🚀🎈 to the moon 🇫🇷",
    "שלום עולם, hello",
    "日本語のお話",
    "<b>bold</b><script>document.title='x'</script>",
    "${1} {{x}} `y`",
)


@pytest.fixture
def strip(parts, bare, generated):
    """strip(size, value) shows the text of a finished run, or another one."""

    def show(size=WIDE, value=None, **options):
        shown = bare({"text": parts.part("strip", value=value or generated.strips[-1])}, size, "generate", **options)
        shown.locator("#text .strip").wait_for()
        return shown

    return show


def scrub(page, share: float) -> None:
    page.locator("#text input[type=range]").evaluate(
        "(x, share) => { x.value = Math.floor(x.max * share); x.dispatchEvent(new Event('input')); }", share
    )


@SIZES
def test_a_finished_text_is_scrubbed_and_comes_back(strip, size):
    page = strip(size)
    done = page.locator(".answer").inner_text()
    scrub(page, 0.4)
    expect(page.locator(".where")).to_contain_text("noise")
    expect(page.locator(".live .token").first).to_be_visible()
    assert len(page.locator(".answer").inner_text()) < len(done)
    scrub(page, 1)
    expect(page.locator(".where")).to_have_text(re.compile(r"^the finished text, after \d+ changes of mind$"))
    assert page.locator(".answer").inner_text() == done
    assert page.overflow() <= 0


def test_every_step_shows_the_words_that_were_read_there(strip, generated):
    page = strip()
    blocks = json.loads(generated.strips[-1]["look"])
    block = blocks[1]
    page.locator("#text input[type=range]").evaluate(
        "(x, at) => { x.value = at; x.dispatchEvent(new Event('input')); }", len(blocks[0]["steps"]) + 1
    )
    ids = block["ids"][block["count"] : 2 * block["count"]]  # of its second step
    words = ["∎" if special else text for text, special in (block["words"][i] for i in ids)]
    assert page.locator(".live .token").all_text_contents() == words
    assert page.locator(".answer .token").count() == blocks[0]["count"]


def test_a_word_is_looked_into_by_mouse_and_by_keyboard(strip, generated):
    page = strip()
    tokens = page.locator(".answer .token")
    tokens.nth(2).dispatch_event("click")  # a random model's tokens may take no room
    page.locator(".text").focus()
    for key in ("ArrowRight", "ArrowRight", "Enter"):
        page.page.keyboard.press(key)
    told = page.triggered("text", "select")
    asked = [event.pop("requested") for event in told]
    assert told == [generated.tokens[i] for i in (2, 1)]
    assert asked == sorted(asked)


def test_a_text_is_shown_while_it_is_written_and_nothing_of_it_is_pending_at_its_end(strip, generated):
    page = strip(value={**generated.strips[0], "run": "another"})
    texts = []
    for value in generated.strips:
        page.update("text", value)
        page.page.evaluate("0")
        texts.append(page.locator(".text").text_content())
        expect(page.locator(".live .token")).to_have_count(len(value["live"]))
    assert len(set(texts)) > 5, "the text did not change while it was written"
    expect(page.locator(".answer .token")).to_have_count(24)
    expect(page.locator(".live .token")).to_have_count(0)
    expect(page.locator(".prompt")).to_have_text("Once upon a time")


def test_any_script_is_shown_as_it_was_typed(strip, model):
    page = strip(NARROW)
    for prompt in SCRIPTS:
        page.update("text", Generated(model, prompt, max_new_tokens=4).strips[-1])
        expect(page.locator(".text .prompt")).to_have_text(prompt)
        assert page.locator(".text b").count() == 0
        assert page.page.title() == "bare"
        assert page.overflow() <= 0, prompt


def test_the_empty_state_asks_for_a_run(parts, bare):
    page = bare({"text": parts.part("strip")}, bench="generate")
    page.page.get_by_role("button", name="Write something").click()
    assert page.triggered("text", "submit") == [{}]


def test_frames_of_a_run_are_drawn_as_they_come_and_a_stopped_one_is_kept(parts, bare, generated):
    forming = [strip for strip in generated.strips if strip["live"]]
    page = bare({"text": parts.part("strip")}, bench="generate")
    for value in forming[:2]:
        page.frame("text", value)
        shown = ["∎" if special else text for text, _, special, *_ in value["live"]]
        assert page.locator(".live .token").all_text_contents() == shown
    kept = page.locator(".text").text_content()
    page.run_state("stopping")
    expect(page.locator(".strip")).to_have_attribute("data-state", "stopped")
    page.run_state("ended", "stopped")
    assert page.locator(".text").text_content() == kept
    assert page.value("text") == {**forming[1], "state": "stopped"}


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_words_can_be_read_on_every_confidence(strip, dark):
    """Contrast (WCAG 2) of settled words at least 7, of words still being decided at least 4.5."""
    page = strip(dark=dark)
    page.locator(".colours").check()
    ratios = page.page.evaluate(
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


@pytest.fixture
def steered(strip, generated):
    """The page of a text that was steered and is over, in a place where a part of it has room alone."""
    value = generated.strips[-1]
    page = strip()
    page.locator("#text .page").evaluate("page => { page.style.cssText = 'height: 100px; overflow-y: auto'; }")
    page.update("text", {**value, "run": "steered", "prompt": "A cat. " * 300 + "hat", "pinned": 3, "before": 2})
    expect(page.locator("#text mark")).to_have_text("hat")
    return page


def test_the_changed_word_of_a_steered_text_is_in_sight_when_its_run_is_over(steered):
    word, sheet = (steered.locator(f"#text {name}").bounding_box() for name in ("mark", ".page"))
    assert sheet["y"] <= word["y"] and word["y"] + word["height"] <= sheet["y"] + sheet["height"]


def test_the_text_before_it_was_steered_is_asked_for_by_a_button_and_by_the_keys_of_undo(steered, generated):
    steered.page.get_by_role("button", name="Back to the text before").click()
    assert steered.triggered("text", "undo") == [{"row": 2}]
    expect(steered.locator("#text .text")).to_be_focused()
    steered.page.keyboard.press("Control+z")
    assert steered.triggered("text", "undo") == [{"row": 2}] * 2
    steered.page.evaluate("document.body.insertAdjacentHTML('beforeend', '<textarea>typed</textarea>')")
    steered.locator("textarea").focus()
    steered.page.keyboard.press("Control+z")  # the field's own
    assert len(steered.triggered("text", "undo")) == 2
    steered.update("text", generated.strips[-1])
    expect(steered.locator("#text .before")).to_be_hidden()
    steered.locator("#text .text").focus()
    steered.page.keyboard.press("Control+z")
    assert len(steered.triggered("text", "undo")) == 2

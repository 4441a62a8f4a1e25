"""What becomes of a span: candidates with what they change, and the strip of strengths that is their slider."""

import re

import pytest
from playwright.sync_api import expect

from app.components.candidate_stage import candidate_value, stage_value
from app.components.text_rows import CHANGED, row_value
from app.components.token_strip import Token

from .conftest import NARROW, WIDE
from .values import Edited

STRIP = {"method": "renoise", "strength_from": 0, "strength": 90, "values": 7}
WORDS = ("happy", "happy", "glad", "glad", "sad")
STRENGTHS = [(share / 100, f"{share} %") for share in (30, 45, 60, 75, 90)]


def row(place: int, word: str, label: str = "on the strip") -> dict:
    new = CHANGED * (word != "happy")
    made = row_value(label, final=[("Tom was", 0), (f" {word}", new), (" today.", 0)], text=f"Tom was {word} today.",
                     score="misfit 0.300")  # fmt: skip
    return candidate_value(made, place, word, float(word != "happy"))


def strip(state: str = "done", run: str = "a-run") -> dict:
    rows = [candidate for i, word in enumerate(WORDS) for candidate in (row(i, word), row(i, "busy", "other noise"))]
    return stage_value(run, state, rows, STRENGTHS, "happy", 0.25)


@pytest.fixture
def stage(parts, bare):
    def show(value=None, size=WIDE, **visitor):
        part = parts.part("candidates") if value is None else parts.part("candidates", value=value)
        return bare({"stage": part}, size, "edit", **visitor)

    return show


def press(page, share: float) -> None:
    """Presses the strip at a share of its width."""
    box = page.locator("#stage .cells").bounding_box()
    page.page.mouse.click(box["x"] + share * box["width"], box["y"] + box["height"] / 2)


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1280", "390"])
def test_the_strip_is_a_slider_by_mouse_and_by_keys(stage, size):
    page = stage(strip(), size)
    cells, text = page.locator("#stage .cells"), page.locator("#stage .text").first
    expect(text).to_have_text("Tom was glad today.")  # the least strength that changes something
    press(page, 0.99)
    expect(text).to_have_text("Tom was sad today.")
    assert page.locator("#stage .list mark.changed").all_text_contents() == ["sad", "busy"]
    cells.press("ArrowLeft")
    expect(text).to_have_text("Tom was glad today.")
    expect(cells).to_have_attribute("aria-valuetext", "strength 75 %, 4 of 5: glad in place of happy")
    cells.press("Home")
    expect(text).to_have_text("Tom was happy today.")
    cells.press("End")
    expect(cells).to_have_attribute("aria-valuenow", "5")
    assert page.overflow() <= 0


def test_a_hand_that_moves_along_the_strip_takes_the_thumb_with_it(stage):
    page = stage(strip())
    box = page.locator("#stage .cells").bounding_box()
    page.page.mouse.move(box["x"] + 5, box["y"] + 20)
    page.page.mouse.down()
    expect(page.locator("#stage .cells")).to_have_attribute("aria-valuenow", "1")
    page.page.mouse.move(box["x"] + box["width"] - 5, box["y"] + 20, steps=6)
    page.page.mouse.up()
    expect(page.locator("#stage .cells")).to_have_attribute("aria-valuenow", "5")


def test_equal_neighbours_are_one_on_the_strip(stage):
    page = stage(strip())
    assert page.locator("#stage .words").all_text_contents() == ["happy", "", "glad", "", "sad"]
    same = page.locator("#stage .cells i").evaluate_all("all => all.map(cell => cell.classList.contains('same'))")
    assert same == [False, True, False, True, False]


def test_the_candidate_under_the_thumb_can_be_used(stage):
    page = stage(strip())
    page.locator("#stage .cells").press("End")
    page.page.get_by_role("button", name="Use it: on the strip").click()
    page.page.get_by_role("button", name="Use it: other noise").click()
    used = page.triggered("stage", "select")
    assert used == [{"text": "Tom was sad today.", "row": 8}, {"text": "Tom was busy today.", "row": 9}]


def test_the_thumb_stays_where_the_visitor_has_put_it_until_another_run(stage):
    page = stage(strip("running"))
    page.locator("#stage .cells").press("Home")
    page.frame("stage", strip())
    expect(page.locator("#stage .cells")).to_have_attribute("aria-valuenow", "1")
    page.frame("stage", strip(run="another-run"))
    expect(page.locator("#stage .cells")).to_have_attribute("aria-valuenow", "3")


def test_what_was_made_in_another_way_than_is_chosen_now_says_so(stage):
    page = stage({**strip(), "way": "renoise"})
    choose = "way => { document.querySelector('.workbench').dataset.method = way; }"
    page.page.evaluate(choose, "mix")
    expect(page.locator("#stage .former")).to_have_text(re.compile("^Made in the way that was chosen before"))
    page.page.evaluate(choose, "renoise")
    expect(page.locator("#stage .former")).to_be_hidden()


def test_a_run_that_is_stopped_keeps_what_there_is_at_every_strength(stage):
    forming = [
        candidate_value(row_value("no. 1", "Tom was", "", [Token(f" {word}", 0.4)], " today.", text=word), place)
        for place, word in enumerate(WORDS)
    ]
    page = stage(stage_value("a-run", "running", forming, STRENGTHS, "happy"))
    expect(page.locator("#stage .edited")).to_have_attribute("aria-busy", "true")
    expect(page.locator("#stage .live")).to_have_text("glad")
    page.run_state("stopping")
    expect(page.locator("#stage .edited")).to_have_attribute("data-state", "stopped")
    press(page, 0.99)
    expect(page.locator("#stage .text")).to_have_text("Tom was sad today.")


def test_an_edit_without_strengths_has_its_candidates_and_says_why_there_is_no_strip(parts, bare, model):
    edited = Edited(model, "She said hello to the bird.", 4, 8)
    page = bare({"how": parts.part("choices", "edit"), "stage": parts.part("candidates", value=edited.rows[-1])},
                bench="edit")  # fmt: skip
    expect(page.locator("#stage .list li")).to_have_count(len(edited.rows[-1]["rows"]))
    expect(page.locator("#stage .cells")).to_be_hidden()
    expect(page.locator("#stage .no-strip")).to_be_visible()
    page.page.get_by_label("Re-noise").check()
    expect(page.locator("#stage .no-strip")).to_be_hidden()
    expect(page.locator("#stage .before-strip")).to_be_visible()


@pytest.mark.parametrize("text", ["שלום עולם 👩‍🚀", "<b>x</b> {{y}} ${z}"], ids=["right to left", "markup"])
def test_any_script_is_changed_as_it_was_typed(parts, bare, model, text):
    edited = Edited(model, text, 0, len(model.tokenize(text)), strip=STRIP)
    page = bare({"stage": parts.part("candidates", value=edited.rows[-1])}, NARROW, "edit")
    page.locator("#stage .cells").press("Home")
    assert page.locator("#stage .text").first.text_content() == text
    assert page.locator("#stage .text b").count() == 0
    expect(page.locator("#stage .notes")).to_contain_text("All tokens are selected")
    assert page.overflow() <= 0


def test_the_empty_state_asks_for_a_run(stage):
    page = stage()
    page.page.locator("#stage .start").click()
    assert page.triggered("stage", "submit") == [{}]
    expect(page.locator("#stage .edited")).to_have_class(re.compile("^edited$"))

"""The line that says how far a run is, and in a sentence what is wrong with one that cannot be."""

import pytest
from playwright.sync_api import expect

from .conftest import NARROW, WIDE
from .values import refused, refused_edit, refused_texts

SIZES = pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1280", "390"])
ONE_SENTENCE = ("He is glad.", "He is sad.\nShe is sad.")


@pytest.fixture
def line(parts, bare):
    """line(value) shows the progress line of a tab in its workbench."""

    def show(value=None, size=WIDE, tab="generate", **options):
        props = {} if value is None else {"value": value}
        return bare({"progress": parts.part("progress", tab, **props)}, size, tab, **options)

    return show


def state(page) -> str:
    return page.locator(".workbench").get_attribute("data-run")


def status(page):
    return page.page.get_by_role("status")


def alert(page):
    return page.page.get_by_role("alert")


# of a run by its id


def test_why_a_run_failed_is_brought_into_sight_above_run_and_stop(line):
    page = line(size=NARROW)
    page.page.evaluate("document.getElementById('progress').style.marginTop = '150vh'")
    page.run_state("starting")
    page.page.evaluate("scrollTo(0, 0)")
    expect(page.locator("#progress")).not_to_be_in_viewport()
    page.run_state("ended", "error", "Seed is -5, expected 0 or more.")
    expect(alert(page)).to_be_in_viewport(ratio=1)
    box = page.locator("#progress .line").bounding_box()
    assert box["y"] + box["height"] <= NARROW["height"] - 67  # the least height of the bar of Run and Stop


def test_a_line_tells_how_far_a_run_is(line, generated):
    page = line()
    page.run_state("starting")
    assert state(page) == "waiting"
    expect(status(page)).to_have_text("Starting")
    for value in generated.progress:
        page.frame("progress", value)
        assert page.locator(".numbers span").all_text_contents() == value["parts"]
        assert state(page) == value["state"]
    page.run_state("ended", "done")
    expect(status(page)).to_have_text("Done: 24 tokens written.")


@SIZES
@pytest.mark.parametrize(
    "make, note",
    [
        (lambda model: refused(model, "long " * 10_000), "tokens"),
        (lambda model: refused(model, "x", seed=-5), "Seed is"),
        (lambda model: refused_edit(model, "The dog ran home", 0, 0), "No token is selected"),
        (lambda model: refused_edit(model, "The dog ran home", 1, 2, ONE_SENTENCE), "list is 1 sentence"),
        (lambda model: refused_texts(model, "", "b"), "Text 1 is empty"),
        (lambda model: refused_texts(model, "a", "word " * 2000), "tokens"),
    ],
    ids=["50 000 characters", "seed", "no span", "one sentence", "empty", "2000 words"],
)
def test_what_is_refused_is_an_alert_in_its_place(line, model, make, note, size):
    page = line(size=size)
    page.run_state("starting")
    page.run_state("ended", "error", make(model))
    expect(alert(page).filter(has_text=note)).to_be_visible()
    assert state(page) == "error"
    assert page.overflow() <= 0


def test_a_stopped_run_says_what_there_is_at_once(line, generated):
    running = [value for value in generated.progress if value["tokens"] > 3]
    page = line()
    page.run_state("starting")
    page.frame("progress", running[0])
    page.run_state("stopping")
    assert state(page) == "stopped"
    expect(status(page)).to_contain_text(f"Stopped after {running[0]['tokens'] + running[0]['forming']} tokens")


def test_a_run_that_is_stopped_before_its_first_frame_never_began(line):
    page = line()
    page.run_state("starting")
    page.run_state("stopping")
    expect(status(page)).to_have_text("Stopped before it began.")


def test_a_lost_server_is_told_of_until_it_is_found_again(line, generated):
    running = generated.progress[3]
    page = line()
    page.run_state("starting")
    page.frame("progress", running)
    page.run_state("lost", message="The connection to the server was lost.")
    expect(alert(page)).to_have_text("The connection to the server was lost.")
    page.run_state("running")
    expect(alert(page)).to_have_count(0)
    assert page.locator(".numbers span").all_text_contents() == running["parts"]


def test_what_is_said_of_a_recipe_that_was_opened_stands_there_after_a_run(line, generated):
    page = line()
    page.run_state("starting")
    for value in generated.progress[-2:]:
        page.frame("progress", value)
    page.run_state("ended", "done")
    page.update("progress", {**page.value("progress"), "state": "idle", "parts": [], "message": "Restored."})
    expect(status(page)).to_have_text("Restored.")
    assert state(page) == "idle"


def test_a_file_that_is_no_trace_is_a_sentence(line, flows, tmp_path):
    file = tmp_path / "broken.npz"
    file.write_bytes(b"PK\x03\x04 not really")
    page = line(flows.opened(file), tab="trajectories")
    expect(alert(page)).to_contain_text("expected a trace")

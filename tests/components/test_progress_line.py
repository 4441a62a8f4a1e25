"""The line that says how far a run is, and in a sentence what is wrong with one that cannot be."""

import pytest
from playwright.sync_api import expect

from .conftest import NARROW, WIDE
from .values import Edited, Flows, Generated, Road, refused

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


def test_a_line_tells_how_far_a_run_is(line, model):
    page = line()
    page.run_state("starting")
    assert state(page) == "waiting"
    expect(status(page)).to_have_text("Starting")
    for value in Generated(model, "Once upon a time").progress:
        page.frame("progress", value)
        assert page.locator(".numbers span").all_text_contents() == value["parts"]
        assert state(page) == value["state"]
    page.run_state("ended", "done")
    expect(status(page)).to_have_text("Done: 24 tokens written.")


@SIZES
@pytest.mark.parametrize(
    "make, said",
    [
        (lambda model: refused(model, "long " * 10_000), "tokens"),
        (lambda model: refused(model, "x", seed=-5), "Seed is"),
    ],
    ids=["50 000 characters", "seed"],
)
def test_what_is_refused_is_an_alert_in_its_place(line, model, make, said, size):
    page = line(size=size)
    page.run_state("starting")
    page.run_state("ended", "error", make(model))
    expect(alert(page).filter(has_text=said)).to_be_visible()
    assert state(page) == "error"
    assert page.overflow() <= 0


def test_a_stopped_run_says_what_there_is_at_once(line, model):
    running = [value for value in Generated(model, "Once upon a time").progress if value["tokens"] > 3]
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


def test_a_lost_server_is_told_of_until_it_is_found_again(line, model):
    running = Generated(model, "Once upon a time").progress[3]
    page = line()
    page.run_state("starting")
    page.frame("progress", running)
    page.run_state("lost", message="The connection to the server was lost.")
    expect(alert(page)).to_have_text("The connection to the server was lost.")
    page.run_state("running")
    expect(alert(page)).to_have_count(0)
    assert page.locator(".numbers span").all_text_contents() == running["parts"]


def test_what_is_said_of_a_recipe_that_was_opened_stands_there_after_a_run(line, model):
    page = line()
    page.run_state("starting")
    for value in Generated(model, "Once upon a time").progress[-2:]:
        page.frame("progress", value)
    page.run_state("ended", "done")
    page.update("progress", {**page.value("progress"), "state": "idle", "parts": [], "message": "Restored."})
    expect(status(page)).to_have_text("Restored.")
    assert state(page) == "idle"


# of a run in gradio's queue


@SIZES
@pytest.mark.parametrize(
    "tab, make, said",
    [
        ("edit", lambda model: Edited(model, "The dog ran home", 0, 0).progress, "No token is selected"),
        ("edit", lambda model: Edited(model, "The dog ran home", 1, 2, ONE_SENTENCE).progress, "list is 1 sentence"),
        ("interpolate", lambda model: Road(model, ("", "b")).progress, "Text 1 is empty"),
        ("interpolate", lambda model: Road(model, ("a", "word " * 2000)).progress, "tokens"),
    ],
    ids=["no span", "one sentence", "empty", "2000 words"],
)
def test_what_is_wrong_is_an_alert_in_its_place(line, model, tab, make, said, size):
    page = line(make(model), size, tab)
    expect(alert(page).filter(has_text=said)).to_be_visible()
    assert state(page) == "error"
    assert page.overflow() <= 0


def test_a_file_that_is_no_trace_is_a_sentence(line, bundled, tmp_path):
    file = tmp_path / "broken.npz"
    file.write_bytes(b"PK\x03\x04 not really")
    page = line(Flows(bundled, tmp_path).opened(file), tab="trajectories")
    expect(alert(page)).to_contain_text("expected a trace")


def asked(page) -> None:
    """What the page tells the line when a run was pressed."""
    page.locator(".workbench").dispatch_event("asked")


def test_a_server_that_stays_silent_is_told_of(line):
    page = line(tab="edit", alone=True)
    page.page.clock.install(time=0)
    page.page.clock.pause_at(1_000_000)
    asked(page)
    expect(page.locator(".workbench")).to_have_attribute("data-run", "waiting")
    page.page.clock.fast_forward(1_600)
    expect(status(page)).to_contain_text("Waiting for a turn")
    expect(alert(page)).to_have_count(0)
    page.page.clock.fast_forward(19_000)
    expect(alert(page)).to_contain_text("not answered")


def test_a_run_that_gets_no_turn_says_so(line):
    page = line(tab="edit")
    asked(page)
    page.locator(".workbench").dispatch_event("refused")
    expect(alert(page)).to_contain_text("the queue is full")


def test_stop_answers_at_once_whatever_the_network_does(line, model):
    running = [value for value in Generated(model, "Once upon a time").progress if value["tokens"] > 3]
    page = line(running[0], tab="edit")
    page.page.get_by_role("button", name="Stop").click()
    assert state(page) == "stopped"
    expect(status(page)).to_contain_text(f"Stopped after {running[0]['tokens'] + running[0]['forming']} tokens")
    page.update("progress", running[-1] | {"state": "running"})
    page.page.evaluate("0")
    assert state(page) == "stopped", "a late frame of the run that was stopped was drawn"


def test_a_wait_that_is_stopped_never_began(line):
    page = line(tab="edit")
    asked(page)
    page.page.get_by_role("button", name="Stop").click()
    expect(status(page)).to_have_text("Stopped before it began.")


def test_a_restored_recipe_presses_run_by_itself_and_once(line):
    page = line(tab="edit")
    page.page.evaluate(
        "() => { window.pressed = 0; document.querySelector('button.run').onclick = () => { window.pressed += 1; }; }"
    )
    page.update("progress", {**page.value("progress"), "press": True})
    page.page.wait_for_function("window.pressed === 1")
    assert page.value("progress")["press"] is False

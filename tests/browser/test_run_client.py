"""Runs by id in a browser: slow answers, cut connections, reloads, several tabs, and a server that goes away.

On a bare page, see bare_runs.py. What gradio has to do with it is in test_runs.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from app.runs import registry
from app.runs.access import COOKIE
from coladlm import SamplerSettings
from coladlm.serve import Limits

from .bare_runs import BareRuns, bare_runs
from .driving_runs import (
    LONG,
    SHORT,
    answer,
    came_to,
    faults,
    leave,
    link,
    note,
    press,
    press_in_one_go,
    shows,
    state,
    words,
    written,
)
from .heard import Heard
from .net import Net, until

DELAYS = [0, 0.1, 0.3]  # seconds before each answer of the server: none, less and more than a run takes to show words
HEARTBEAT = 0.6  # seconds, in place of those of the registry, so that an answer can be later than that


@pytest.fixture(scope="module")
def served(model) -> Iterator[tuple[str, BareRuns]]:
    with bare_runs(model, Limits(running=4, waiting=4)) as address_and_served:
        yield address_and_served


@pytest.fixture
def runs(served, slow_model) -> Iterator[BareRuns]:
    """What is served. After the test nothing of it may go on."""
    served[1].net.calm()
    yield served[1]
    served[1].net.calm()
    until(lambda: served[1].registry.numbers()["active"] == 0)


@pytest.fixture
def net(runs) -> Net:
    return runs.net


@pytest.fixture(scope="module")
def kept(browser) -> Iterator[list[Heard]]:
    """Tabs of one browser that tests have left: to open a new one costs more than most of what they do in it."""
    with browser.new_context(reduced_motion="reduce") as context:
        yield [Heard(context.new_page())]


@pytest.fixture
def tab(served, runs, kept) -> Iterator[Callable[..., Page]]:
    """tab(settings) opens the page in one more tab of one browser; whatever goes wrong there fails the test."""
    context = kept[0].page.context
    opened: list[Heard] = []

    def open_tab(settings: SamplerSettings = SHORT) -> Page:
        heard = kept.pop() if kept else Heard(context.new_page())
        opened.append(heard)
        heard.begin()
        heard.page.goto(f"{served[0]}/{link(settings)}")
        return heard.page

    yield open_tab
    wrong = [what for heard in opened for what in faults(heard)]
    for heard in opened:
        if not heard.page.is_closed():
            leave(heard.page)
            kept.append(heard)
    kept or kept.append(Heard(context.new_page()))
    assert wrong == []


@pytest.fixture
def clocked(browser, served, runs) -> Iterator[Page]:
    """The page with a long run, in a browser of its own, whose clock the test sets."""
    with browser.new_context(reduced_motion="reduce") as context:
        heard = Heard(context.new_page())
        heard.page.goto(f"{served[0]}/{link(LONG)}")
        heard.page.clock.install()
        yield heard.page
        wrong = faults(heard)
    assert wrong == []


def set_tokens(page: Page, tokens: int) -> None:
    page.get_by_label("New tokens").fill(str(tokens))


@pytest.mark.parametrize("delay", DELAYS)
def test_run_stop_run_stop_however_slow_the_server_answers(tab, runs, delay):
    page, net = tab(LONG), runs.net
    net.delay = delay
    press(page, "run")
    press(page, "stop")
    state(page, "stopping", "ended")
    press(page, "run")
    words(page, 8)
    assert net.starts() == 2
    press(page, "stop")
    came_to(page, "stopped")
    state(page, "ended")
    kept = answer(page)
    until(lambda: runs.registry.numbers()["active"] == 0 and net.streams == 0)
    assert answer(page) == kept, "words came after the end"
    assert re.match(r"Stopped after \d+ tokens", note(page))


@pytest.mark.parametrize("delay", [*DELAYS, HEARTBEAT + 0.1])
def test_a_run_that_is_stopped_at_once_frees_its_place_and_ends(tab, runs, monkeypatch, delay):
    monkeypatch.setattr(registry, "HEARTBEAT_SECONDS", HEARTBEAT)
    page, net = tab(LONG), runs.net
    net.delay = delay
    press_in_one_go(page, "run", "stop")
    came_to(page, "stopped")
    until(lambda: net.asked and runs.registry.numbers()["active"] == 0)
    state(page, "ended")
    came_to(page, "stopped")
    assert note(page).startswith("Stopped ")


@pytest.mark.parametrize("delay", DELAYS)
def test_a_run_pressed_right_after_stop_is_drawn_alone(tab, net, delay):
    page = tab(LONG)
    press(page, "run")
    words(page, 8)
    net.delay = delay
    set_tokens(page, 24)
    press_in_one_go(page, "stop", "run")
    came_to(page, "done")
    expect(page.locator("#text .answer .token")).to_have_count(24)


def test_a_connection_that_is_cut_again_and_again_loses_nothing(tab, net, model):
    page = tab(SHORT)
    page.evaluate("window.same = true")
    net.cuts = [1, 0, 1]  # goes on from what it has, from what it had, and once more
    press(page, "run")
    came_to(page, "done")
    assert answer(page) == written(model)
    assert net.starts() == 1 and net.reads() > 2
    assert page.evaluate("window.same"), "the page was loaded anew"


def test_a_lost_server_is_told_of_the_text_stays_and_the_run_is_found_again(clocked, net):
    page = clocked
    press(page, "run")
    words(page, 8)
    net.stall = True
    until(lambda: net.held)
    page.clock.fast_forward(21_000)
    state(page, "lost")
    expect(page.locator("#generate .wrong")).to_contain_text("connection to the server was lost")
    assert page.locator("#text .answer .token").count() >= 8
    net.stall = False
    page.clock.run_for(10_000)
    state(page, "running")
    expect(page.locator("#generate .wrong")).to_have_text("")
    press(page, "stop")
    state(page, "ended")


def test_the_page_sleeps_for_a_minute_and_goes_on(clocked, net):
    page = clocked
    press(page, "run")
    words(page, 8)
    net.stall = True
    until(lambda: net.held)
    net.stall = False
    page.clock.fast_forward(61_000)  # all timers of the minute at once, as after a lid was opened
    page.clock.run_for(2_000)
    state(page, "running")
    words(page, page.locator("#text .answer .token").count() + 8)
    press(page, "stop")
    state(page, "ended")


def test_a_server_that_was_started_anew_does_not_know_the_run_and_run_is_offered(tab, runs):
    page = tab(LONG)
    press(page, "run")
    words(page, 8)
    kept = answer(page)
    runs.start_anew()
    state(page, "lost")
    expect(page.locator("#generate .wrong")).to_contain_text("does not know this run")
    assert answer(page).startswith(kept)
    set_tokens(page, 8)
    press(page, "run")
    came_to(page, "done")
    expect(page.locator("#text .answer .token")).to_have_count(8)


def test_a_reload_in_the_middle_finds_the_run_and_starts_no_other(tab, net, model):
    settings = SamplerSettings(steps=8, max_new_tokens=48, stop_at_end=False)
    page = tab(settings)
    press(page, "run")
    words(page, 8)
    page.reload()
    words(page, 8)
    came_to(page, "done")
    shows(page, written(model, settings))
    assert net.starts() == 1


def test_a_reload_after_stop_shows_what_there_was(tab, net):
    page = tab(LONG)
    press(page, "run")
    words(page, 8)
    press(page, "stop")
    state(page, "ended")
    kept, told = answer(page), note(page)
    page.reload()
    state(page, "ended")
    shows(page, kept)
    expect(page.locator("#generate .own-progress_line .note").first).to_have_text(told)
    assert net.starts() == 1


def test_two_tabs_run_side_by_side_and_stop_alone(tab, model):
    first, second = tab(LONG), tab(SHORT)
    press(first, "run")
    words(first, 4)
    press(second, "run")
    came_to(second, "done")
    assert answer(second) == written(model)
    state(first, "running")
    press(first, "stop")
    state(first, "ended")


def test_a_closed_tab_frees_its_place_long_before_its_run_would_end(tab, runs):
    page = tab(LONG)
    press(page, "run")
    words(page, 8)
    (cookie,) = (cookie for cookie in page.context.cookies() if cookie["name"] == COOKIE)
    left = runs.registry.get(cookie["value"], page.evaluate("runs.client('generate').state.id"))
    with page.expect_event("close"):
        page.close(run_before_unload=True)
    until(lambda: runs.registry.numbers()["active"] == 0)
    assert left.outcome == "lost", "the run came to its end"

"""Runs by id in the real page: what gradio has to do with them. The rest of the run client: test_run_client.py.

The page lies at a sub-path here, as behind a proxy; the other files visit it at the root.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from app.api.openai_api import ApiOptions
from app.runs.registry import RunLimits
from app.server import Options, make_app
from coladlm.serve import Limits, Scheduler

from ..conftest import PATIENCE
from .driving import number
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
from .net import Net, listening, until

SUB_PATH = "/cola"
# Presses Run. On a busy machine the run before has been drawn until it is stopped: its words are told from new ones.
RUN_AGAIN = """() => {
  for (const word of document.querySelectorAll('#text .answer .token')) word.dataset.before = '';
  document.querySelector('#generate .run-controls .run').click(); }"""


@pytest.fixture(scope="module")
def served(model) -> Iterator[tuple[str, Net, Callable[[], dict[str, int]]]]:
    """(the address of the page, what lies in between, the numbers of its runs)."""
    scheduler = Scheduler(Limits(running=4, waiting=4))
    options = Options(root_path=SUB_PATH, quiet=True)
    app, page, registry = make_app(model, scheduler, ApiOptions(), options, RunLimits())
    net = Net(app, SUB_PATH)
    with listening(net) as address:
        yield address, net, registry.numbers
        page.close(verbose=False)
    scheduler.close(grace=0)


@pytest.fixture
def net(served, slow_model) -> Iterator[Net]:
    """A calm network. After the test no run may go on, and nothing may have been asked for outside of the sub-path."""
    _, net, numbers = served
    net.calm()
    yield net
    # a browser looks for an icon at the root of the host once, before gradio's script has named the page's own
    outside = set(net.outside) - {"/favicon.ico"}
    net.calm()
    until(lambda: numbers()["active"] == 0)
    assert outside == set()


@pytest.fixture(scope="module")
def one_tab(browser) -> Iterator[Heard]:
    """A tab that the tests visit one after the other: its process has compiled gradio's scripts."""
    with browser.new_context(reduced_motion="reduce") as context:
        context.set_default_timeout(PATIENCE)
        yield Heard(context.new_page())


@pytest.fixture
def visit(served, net, one_tab) -> Iterator[Callable[[str], Page]]:
    """visit(query) opens the page in a browser without a past; whatever goes wrong there fails the test."""
    page = one_tab.page
    one_tab.begin()

    def open_page(query: str) -> Page:
        page.goto(served[0] + "/" + query)
        ready(page)
        return page

    yield open_page
    wrong = faults(one_tab)
    leave(page)
    assert wrong == []


def ready(page: Page) -> None:
    """Waits until gradio has filled in the recipe of the address, or the page has found its run."""
    page.wait_for_selector("button.run")
    expect(page.locator("#generate .own-progress_line").first).to_contain_text(re.compile("Restored|Done|Stopped|step"))


def test_run_stop_run_stop_and_what_was_stopped_is_played_scrubbed_and_opened(visit, net):
    page = visit(link(LONG))
    net.delay = 0.25
    press(page, "run")
    press(page, "stop")
    state(page, "stopping", "ended")
    page.evaluate(RUN_AGAIN)
    page.wait_for_function("document.querySelectorAll('#text .answer .token:not([data-before])').length >= 16")
    assert net.starts() == 2
    press(page, "stop")
    came_to(page, "stopped")
    state(page, "ended")
    assert re.match(r"Stopped after \d+ tokens", note(page))
    slider = page.locator("#text .look input")
    expect(slider).to_be_visible()
    whole = page.locator("#text .text").text_content()
    slider.fill("0")
    expect(page.locator("#text .text")).not_to_have_text(whole)
    slider.fill(slider.get_attribute("max"))
    shows(page, whole, ".text")
    expect(page.get_by_role("button", name="Play")).to_be_visible()
    page.locator("#text .answer .token").nth(3).dispatch_event("click")  # a random model's tokens may take no room
    expect(page.locator("#token")).to_contain_text("token")
    a_run_pressed_right_after_stop_is_drawn_alone_with_its_own_settings(page)


def a_run_pressed_right_after_stop_is_drawn_alone_with_its_own_settings(page: Page) -> None:
    press(page, "run")
    state(page, "running")
    words(page, 8)
    number(page, "New tokens", 24)
    press_in_one_go(page, "stop", "run")
    came_to(page, "done")
    expect(page.locator("#text .answer .token")).to_have_count(24)


def a_broken_connection_of_gradio_is_a_sentence_and_the_page_stays_and_works(page: Page, net: Net) -> None:
    page.clock.install()
    press(page, "run")
    came_to(page, "done")
    expect(page.locator("#text .strip")).to_contain_class("inspectable")  # its words can be clicked from then on
    text = answer(page)
    page.evaluate("window.same = true")
    tokens, told = page.locator("#text .answer .token"), page.get_by_test_id("toast-body")
    for path in ("/queue/join", "/queue/data"):
        for begun in (False, True):
            net.gradio = (path, begun)
            tokens.nth(3).dispatch_event("click")
            expect(told.first).to_contain_text("connection to the server was lost")
            page.clock.run_for(5_000)  # left to itself, gradio asks every two seconds whether the server is back
            net.gradio = None
            page.clock.run_for(60_000)  # what was said goes
            expect(told).to_have_count(0)
            tokens.nth(5).dispatch_event("click")
            expect(page.locator("#token .where")).to_contain_text("token")
            page.locator("#token .close").click()
            expect(page.locator("#token .card")).to_be_hidden()
    assert answer(page) == text
    press(page, "run")
    came_to(page, "done")
    assert page.evaluate("window.same"), "the page was loaded anew"


def test_a_link_runs_once_a_reload_runs_nothing_and_a_broken_connection_of_gradio_is_a_sentence(visit, net, model):
    failed: list[str] = []
    page = visit(link(SHORT, model.fingerprint))
    page.on("response", lambda answer: failed.append(answer.url) if answer.status >= 400 else None)
    came_to(page, "done")
    shows(page, written(model))
    page.reload()
    ready(page)
    came_to(page, "done")
    shows(page, written(model))
    assert net.starts() == 1
    icon = page.evaluate("fetch(document.querySelector('link[rel~=icon]').href).then(answer => answer.status)")
    assert icon == 200 and failed == []
    a_broken_connection_of_gradio_is_a_sentence_and_the_page_stays_and_works(page, net)

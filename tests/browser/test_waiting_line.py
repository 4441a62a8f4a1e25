"""Several visitors, and a model that writes for one at a time: who waits, who is refused, and whose turn it is.

On a bare page, see bare_runs.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from coladlm import SamplerSettings
from coladlm.serve import Limits

from .bare_runs import BareRuns, bare_runs
from .driving_runs import LONG, SHORT, answer, came_to, leave, link, note, press, state, written
from .heard import Heard
from .net import until


@pytest.fixture(scope="module")
def served(model) -> Iterator[tuple[str, BareRuns]]:
    with bare_runs(model, Limits(running=1, waiting=2)) as address_and_served:
        yield address_and_served


@pytest.fixture(scope="module")
def free(browser) -> Iterator[list[Heard]]:
    """The browsers of visitors that have left."""
    left: list[Heard] = []
    yield left
    for heard in left:
        heard.page.context.close()


@pytest.fixture
def visitor(browser, served, free, slow_model) -> Iterator[Callable[..., Page]]:
    """visitor(settings) opens the page in a browser of its own; whatever goes wrong there fails the test."""
    address, runs = served
    heard: list[Heard] = []

    def come(settings: SamplerSettings) -> Page:
        one = free.pop() if free else Heard(browser.new_context(reduced_motion="reduce").new_page())
        heard.append(one)
        one.begin()
        one.page.goto(f"{address}/{link(settings)}")
        return one.page

    yield come
    # a refusal for want of room is an answer, which Chromium reports as an error too
    wrong = [what for one in heard for what in one.wrong() if "status of 429" not in what]
    for one in heard:
        leave(one.page)
        free.append(one)
    until(lambda: runs.registry.numbers()["active"] == 0)
    assert wrong == []


def test_a_full_queue_says_so_in_the_page(visitor):
    first, *waiting, refused = (visitor(LONG) for _ in range(4))
    press(first, "run")
    came_to(first, "running")
    for number, page in enumerate(waiting, 1):
        press(page, "run")
        expect(page.locator(".own-progress_line")).to_contain_text(f"number {number} in the queue")
    press(refused, "run")
    expect(refused.locator(".own-progress_line")).to_contain_text("The queue is full")
    expect(refused.locator(".own-progress_line")).to_contain_text("Try again in about")
    for page in [*waiting[::-1], first]:
        press(page, "stop")
        came_to(page, "stopped")


def test_two_visitors_take_turns_and_get_the_same_text(visitor, model):
    pages = [visitor(SHORT) for _ in range(2)]
    for page in pages:
        press(page, "run")
    for page in pages:
        came_to(page, "done")
        assert answer(page) == written(model)


def test_a_visitor_who_stops_waiting_keeps_the_place_free(visitor):
    first, second = visitor(LONG), visitor(SHORT)
    press(first, "run")
    came_to(first, "running")
    press(second, "run")
    came_to(second, "waiting")
    press(second, "stop")
    came_to(second, "stopped")
    assert note(second) == "Stopped before it began."
    state(second, "ended")
    press(first, "stop")
    came_to(first, "stopped")
    press(second, "run")
    came_to(second, "done")

"""One browser, a bare page in it, and values that the app makes of a small random model and of recorded runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser

from coladlm import ColaDLM

from ...browser.heard import Heard
from ...conftest import PATIENCE
from .bare import Bare
from .page_parts import PageParts, Part

WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


@pytest.fixture(scope="session")
def parts(model: ColaDLM) -> PageParts:
    """The components of the page."""
    return PageParts(model)


class Pages:
    """Bare pages, one for each kind of visitor."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self.made: dict[str, Bare] = {}

    def get(self, size: dict, options: dict) -> Bare:
        key = repr((size, options))
        if key not in self.made:
            self.made[key] = self.new(size, options)
        return self.made[key]

    def new(self, size: dict, options: dict) -> Bare:
        context = self.browser.new_context(viewport=size, **{"reduced_motion": "reduce", **options})
        bare = Bare(Heard(context.new_page()))
        bare.page.set_default_timeout(PATIENCE)
        bare.page.route("**/*", bare.answer)
        return bare


@pytest.fixture(scope="session")
def pages(browser: Browser) -> Pages:
    return Pages(browser)


@pytest.fixture
def bare(pages: Pages) -> Iterator[Callable[..., Bare]]:
    """bare({name: part}) shows components on a page without anything else. An error of the page, or a request to
    another host, fails the test. bench: see `Bare.show`. alone: no other test gets the page, whose clock this one sets.
    options: of the browser's context.
    """
    shown: list[Bare] = []
    ending = contextlib.ExitStack()

    def show(
        parts: dict[str, Part], size: dict = WIDE, bench: str | None = None, dark: bool = False, alone: bool = False,
        **options,
    ) -> Bare:  # fmt: skip
        page = pages.new(size, options) if alone else pages.get(size, options)
        if alone:
            ending.callback(page.page.context.close)
        page.heard.begin()
        shown.append(page)
        page.show(parts, bench, dark)
        return page

    with ending:
        yield show
        wrong = [what for page in shown for what in page.heard.wrong()]
        for page in shown:
            page.leave()
    assert wrong == []

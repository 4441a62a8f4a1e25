"""One browser, a bare page in it, and values that the app makes of a small random model and of recorded runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser

from coladlm import ColaDLM

from ...browser.heard import Heard
from ...conftest import PATIENCE
from .bare import Bare
from .file_server import FileServer
from .page_parts import PageParts, Part
from .values import PAIR, Flows, Generated, Interpolation

WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
LOW = {"width": 740, "height": 390}  # a phone held sideways


@pytest.fixture(scope="session")
def parts(model: ColaDLM) -> PageParts:
    """The components of the page."""
    return PageParts(model)


@pytest.fixture(scope="session")
def generated(model: ColaDLM) -> Generated:
    """A run of the tab Generate."""
    return Generated(model, "Once upon a time")


@pytest.fixture(scope="session")
def walked(model: ColaDLM) -> Interpolation:
    """A run of the tab Interpolate, between PAIR."""
    return Interpolation(model, PAIR)


@pytest.fixture(scope="session")
def flows(bundled: ColaDLM, tmp_path_factory: pytest.TempPathFactory) -> Flows:
    """Recorded runs on the map of the tab Trajectories."""
    return Flows(bundled, tmp_path_factory.mktemp("cache"))


class Pages:
    """One bare page for all visitors, and one with a touch screen: opening a window costs more than most tests."""

    def __init__(self, browser: Browser, server: FileServer) -> None:
        self.browser, self.server = browser, server
        self.made: dict[str, Bare] = {}

    def get(
        self, size: dict, touch: bool = False, movement: bool = False, clipboard: bool = False, beside: bool = False
    ) -> Bare:
        """The page, as wide as `size`. movement: its visitor wants to see things move. beside: the page next to it."""
        name = "touch" if touch else "beside" if beside else ""
        if name not in self.made:
            window = self.made[""].page.context if beside else self.browser.new_context(has_touch=touch)
            self.made[name] = Bare(Heard(window.new_page()), self.server)
            self.made[name].page.set_default_timeout(PATIENCE)
        bare = self.made[name]
        bare.page.set_viewport_size(size)
        if bare.moves != movement:
            bare.page.emulate_media(reduced_motion="no-preference" if movement else "reduce")
            bare.moves = movement
        bare.page.context.clear_permissions()
        if clipboard:
            bare.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        return bare


@pytest.fixture(scope="session")
def pages(browser: Browser) -> Iterator[Pages]:
    server = FileServer()
    yield Pages(browser, server)
    server.close()


@pytest.fixture(autouse=True, scope="module")
def leave(pages: Pages) -> Iterator[None]:
    """What is left on a page would go on moving while the tests of other files run, and a page that lies over another
    in its window holds that one up: hidden, it draws once a second.
    """
    yield
    if beside := pages.made.pop("beside", None):
        beside.page.close()
    for page in pages.made.values():
        page.show({})


@pytest.fixture
def bare(request: pytest.FixtureRequest, pages: Pages) -> Iterator[Callable[..., Bare]]:
    """bare({name: part}) shows components on a page without anything else. An error of the page, or a request to
    another host, fails the test. bench: see `Bare.show`. kept: a name for parts that stay for the next test which asks
    for that name, and which puts them back to where they began. visitor: see `Pages.get`.

    A test that fails, or that sets `spoiled` of its page, leaves no page for the next one.
    """
    shown: dict[int, Bare] = {}
    failed = request.session.testsfailed

    def show(
        parts: dict[str, Part], size: dict = WIDE, bench: str | None = None, dark: bool = False, kept: str = "",
        **visitor: bool,
    ) -> Bare:  # fmt: skip
        page = pages.get(size, **visitor)
        if id(page) not in shown:
            page.heard.begin()
        shown[id(page)] = page
        if kept and page.kept == kept:
            return page
        page.show(parts, bench, dark)
        page.kept = kept
        return page

    yield show
    wrong = [what for page in shown.values() for what in page.heard.wrong()]
    for page in shown.values():
        if wrong or page.spoiled or request.session.testsfailed > failed:
            page.leave()
        page.page.mouse.move(0, 0)
    assert wrong == []

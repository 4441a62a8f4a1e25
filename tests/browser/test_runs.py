"""Runs by id in a real browser: slow answers, cut connections, reloads, several tabs, and a server that goes away."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from playwright.sync_api import Page, expect
from starlette.responses import Response

from app.api.openai_api import ApiOptions
from app.runs.access import COOKIE
from app.runs.registry import RunLimits
from app.server import Options, make_app
from app.shared.links import link_of
from app.shared.token_pieces import pieces
from coladlm import ColaDLM, SamplerSettings
from coladlm.recipe import Recipe
from coladlm.run import run
from coladlm.serve import Limits, Scheduler

from .driving import be_still
from .heard import Heard

PATIENCE = 60  # seconds, for a busy machine
DELAYS = [0, 0.06, 0.25, 0.8, 3.0]  # seconds before each answer of the server
PROMPT = "Once upon a time"
SHORT = SamplerSettings(steps=8, max_new_tokens=48, stop_at_end=False)
LONG = SamplerSettings(steps=48, max_new_tokens=1024, stop_at_end=False)


class Net:
    """What lies between the browser and the server: an application around the application.

    delay: seconds before each answer about runs. cuts: bytes after which the next streams of events break off, one
    after the other. stall: nothing more goes out on streams. gradio: the end of the path of gradio's own requests that
    break off, before or after their answer has begun. prefix: a sub-path that a proxy would cut off. outside: the paths
    of requests that are not below it.
    """

    def __init__(self, app, prefix: str = "") -> None:
        self.app, self.prefix = app, prefix
        self.calm()

    def calm(self) -> None:
        self.delay, self.stall = 0.0, False
        self.gradio: tuple[str, bool] | None = None
        self.cuts: list[int] = []
        self.asked: list[tuple[str, str]] = []
        self.outside: list[str] = []

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        if self.prefix:
            if not scope["path"].startswith(self.prefix):
                self.outside.append(scope["path"])
                return await Response(status_code=204)(scope, receive, send)
            scope = {**scope, "path": scope["path"].removeprefix(self.prefix)}
        if self.gradio is not None and scope["path"].endswith(self.gradio[0]):
            return await self._break(scope, receive, send, begun=self.gradio[1])
        if "/runs/" not in scope["path"] or scope["path"].endswith(".js"):
            return await self.app(scope, receive, send)
        self.asked.append((scope["method"], scope["path"]))
        stream, sent = scope["path"].endswith("/events"), 0
        cut = self.cuts.pop(0) if stream and self.cuts else None

        async def slowly(message) -> None:
            nonlocal sent
            if message["type"] == "http.response.start":
                await asyncio.sleep(self.delay)
            while self.stall and stream:
                await asyncio.sleep(0.02)
            sent += len(message.get("body", b""))
            if cut is not None and sent > cut:
                raise ConnectionError("cut")
            await send(message)

        await self.app(scope, receive, slowly)

    async def _break(self, scope, receive, send, begun: bool) -> None:
        async def breaking(message) -> None:
            if begun and message["type"] == "http.response.start":
                return await send(message)
            raise ConnectionError("cut")

        await self.app(scope, receive, breaking)

    def starts(self) -> int:
        """How many runs were asked for."""
        return len({path for method, path in self.asked if method == "PUT"})


@contextlib.contextmanager
def served(model: ColaDLM, prefix: str = ""):
    """(the address, what lies in between, the registry)."""
    scheduler = Scheduler(Limits(running=4, waiting=4))
    options = Options(root_path=prefix, quiet=True)
    app, page, registry = make_app(model, scheduler, ApiOptions(), options, RunLimits())
    net = Net(app, prefix)
    server = uvicorn.Server(uvicorn.Config(net, port=0, log_level="critical", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}{prefix}", net, registry
    page.close(verbose=False)
    server.should_exit = True
    thread.join(PATIENCE)
    scheduler.close(grace=0)


@pytest.fixture(scope="module")
def near(model):
    with served(model) as all_of_it:
        yield all_of_it


@pytest.fixture
def net(near) -> Net:
    near[1].calm()
    yield near[1]
    near[1].calm()
    until(lambda: near[2].numbers()["active"] == 0)


@pytest.fixture
def registry(near):
    return near[2]


@pytest.fixture
def tab(browser, near, net) -> Iterator:
    """tab(settings, path) opens the page in a tab of one browser; whatever goes wrong there fails the test."""
    context = browser.new_context(reduced_motion="reduce")
    opened: list[Heard] = []

    def open_tab(settings: SamplerSettings = SHORT, path: str | None = None) -> Page:
        page = context.new_page()
        opened.append(Heard(page))
        query = link_of(Recipe("generate", (PROMPT,), settings))["query"]
        page.goto(near[0] + "/" + (query if path is None else path))
        ready(page)
        return page

    yield open_tab
    # what a browser says on its console of a connection that breaks is the browser's own
    wrong = [what for one in opened if not one.page.is_closed() for what in one.wrong() if "net::" not in what
             and "Failed to load resource" not in what]  # fmt: skip
    context.close()
    assert wrong == []


def ready(page: Page) -> None:
    page.wait_for_selector("button.run")
    expect(page.locator("#generate .own-progress_line").first).to_contain_text(re.compile("Restored|Done|Stopped|step"))


def until(condition, seconds: float = PATIENCE):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def press(page: Page, button: str) -> None:
    page.locator(f"#generate .run-controls button.{button}").click()


def press_in_one_go(page: Page, *buttons: str) -> None:
    page.evaluate(
        "names => names.forEach(name => document.querySelector('#generate .run-controls .' + name).click())", buttons
    )


def state(page: Page, name: str) -> None:
    expect(page.locator("#generate")).to_have_attribute("data-run-state", name)


def said(page: Page) -> str:
    return page.locator("#generate .own-progress_line .said").first.inner_text()


def answer(page: Page) -> str:
    return page.locator("#text .answer").text_content()


def words(page: Page, count: int) -> None:
    page.wait_for_function("n => document.querySelectorAll('#text .answer .token').length >= n", arg=count)


def written(model: ColaDLM, settings: SamplerSettings = SHORT) -> str:
    """The answer as the page shows it."""
    *_, finished = run(model, Recipe("generate", (PROMPT,), settings))
    ids, special = finished.token_ids[0], frozenset((*model.end_ids, model.pad_id))
    texts = pieces(model.tokenizer, ids, model.tokenize(PROMPT)[-8:], special)
    return "".join("∎" if token in special else text for text, token in zip(texts, ids, strict=True))


@pytest.mark.parametrize("delay", DELAYS)
def test_run_stop_run_stop_however_slow_the_server_answers(tab, net, registry, delay):
    page = tab(LONG)
    net.delay = delay
    press(page, "run")
    press(page, "stop")
    state(page, re.compile("stopping|ended"))
    press(page, "run")
    words(page, 8)
    assert net.starts() == 2
    press(page, "stop")
    expect(page.locator("#generate")).to_have_attribute("data-run", "stopped")
    state(page, "ended")
    kept = answer(page)
    until(lambda: registry.numbers()["active"] == 0)
    be_still(page)
    assert answer(page) == kept, "words came after the end"
    assert re.match(r"Stopped after \d+ tokens", said(page))


@pytest.mark.parametrize("delay", DELAYS)
def test_a_run_that_is_stopped_at_once_frees_its_place_and_shows_nothing(tab, net, registry, delay):
    page = tab(LONG)
    net.delay = delay
    press_in_one_go(page, "run", "stop")
    expect(page.locator("#generate")).to_have_attribute("data-run", "stopped")
    until(lambda: net.asked and registry.numbers()["active"] == 0)
    state(page, "ended")
    assert page.locator("#generate").get_attribute("data-run") == "stopped"


@pytest.mark.parametrize("delay", DELAYS)
def test_a_run_pressed_right_after_stop_is_drawn_alone(tab, net, model, delay):
    page = tab(LONG)
    press(page, "run")
    words(page, 8)
    net.delay = delay
    page.get_by_label("Number input for New tokens").or_(page.get_by_label("number input for New tokens")).fill("24")
    page.get_by_label("number input for New tokens").blur()
    press_in_one_go(page, "stop", "run")
    expect(page.locator("#generate")).to_have_attribute("data-run", "done")
    expect(page.locator("#text .answer .token")).to_have_count(24)


def test_a_connection_that_is_cut_again_and_again_loses_nothing(tab, net, model):
    page = tab(SHORT)
    page.evaluate("window.same = true")
    net.cuts = [4000, 0, 1500, 300, 9000]  # bytes
    press(page, "run")
    expect(page.locator("#generate")).to_have_attribute("data-run", "done")
    assert answer(page) == written(model)
    assert net.starts() == 1 and sum(path.endswith("/events") for _, path in net.asked) > 2
    assert page.evaluate("window.same"), "the page was loaded anew"


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("path", ["/queue/join", "/queue/data"])
def test_a_broken_connection_of_gradio_is_a_sentence_and_the_page_stays_and_works(tab, net, path, begun):
    page = tab(SHORT)
    press(page, "run")
    expect(page.locator("#generate")).to_have_attribute("data-run", "done")
    text = answer(page)
    page.evaluate("window.same = true")
    net.gradio = (path, begun)
    page.locator("#text .answer .token").nth(3).click()
    expect(page.get_by_test_id("toast-body").first).to_contain_text("connection to the server was lost")
    page.wait_for_timeout(3000)  # gradio asks every two seconds whether the server is back
    net.gradio = None
    page.locator("#text .answer .token").nth(5).click()
    expect(page.locator("#token")).to_contain_text("token")
    assert page.evaluate("window.same"), "the page was loaded anew"
    assert answer(page) == text
    press(page, "run")
    expect(page.locator("#generate")).to_have_attribute("data-run", "done")


def test_a_lost_server_is_told_of_the_text_stays_and_the_run_is_found_again(tab, net):
    page = tab(LONG)
    page.clock.install()
    press(page, "run")
    words(page, 8)
    net.stall = True
    page.clock.fast_forward(21_000)
    state(page, "lost")
    expect(page.locator("#generate .wrong").first).to_contain_text("connection to the server was lost")
    assert page.locator("#text .answer .token").count() >= 8
    net.stall = False
    page.clock.run_for(10_000)
    state(page, "running")
    expect(page.locator("#generate .wrong").first).to_have_text("")
    press(page, "stop")
    state(page, "ended")


def test_a_server_that_was_started_anew_does_not_know_the_run_and_run_is_offered(tab, net, registry):
    page = tab(LONG)
    net.cuts = [20_000]
    press(page, "run")
    words(page, 8)
    forgotten = registry._runs.pop(page.evaluate("runs.client('generate').state.id"))
    kept = answer(page)
    state(page, "lost")
    expect(page.locator("#generate .wrong").first).to_contain_text("does not know this run")
    assert answer(page).startswith(kept)
    forgotten.stop = "stopped"
    set_short(page)
    press(page, "run")
    expect(page.locator("#generate")).to_have_attribute("data-run", "done")


def set_short(page: Page) -> None:
    page.get_by_label("number input for New tokens").fill("8")
    page.get_by_label("number input for New tokens").blur()


def test_a_reload_in_the_middle_finds_the_run_and_starts_no_other(tab, net, model):
    settings = SamplerSettings(steps=48, max_new_tokens=96, stop_at_end=False)
    page = tab(settings)
    press(page, "run")
    words(page, 8)
    page.reload()
    words(page, 8)
    expect(page.locator("#generate")).to_have_attribute("data-run", "done")
    assert answer(page) == written(model, settings)
    assert net.starts() == 1


def test_a_reload_after_the_end_or_after_stop_shows_what_there_was(tab, net):
    page = tab(LONG)
    press(page, "run")
    words(page, 8)
    press(page, "stop")
    state(page, "ended")
    kept, told = answer(page), said(page)
    page.reload()
    ready(page)
    state(page, "ended")
    assert (answer(page), said(page)) == (kept, told)
    assert net.starts() == 1


def test_a_link_runs_once_and_a_reload_runs_nothing(tab, net, model):
    recipe = Recipe("generate", (PROMPT,), SHORT, model=model.fingerprint)
    page = tab(path=link_of(recipe)["query"])
    expect(page.locator("#generate")).to_have_attribute("data-run", "done")
    assert answer(page) == written(model)
    for _ in range(2):
        page.reload()
        ready(page)
        expect(page.locator("#generate")).to_have_attribute("data-run", "done")
    assert net.starts() == 1


def test_two_tabs_run_side_by_side_and_stop_alone(tab, net, model):
    first, second = tab(LONG), tab(SHORT)
    press(first, "run")
    words(first, 4)
    press(second, "run")
    expect(second.locator("#generate")).to_have_attribute("data-run", "done")
    assert answer(second) == written(model)
    state(first, "running")
    press(first, "stop")
    state(first, "ended")


def test_a_closed_tab_frees_its_place_long_before_its_run_would_end(tab, net, registry):
    page = tab(LONG)
    press(page, "run")
    words(page, 8)
    (cookie,) = (cookie for cookie in page.context.cookies() if cookie["name"] == COOKIE)
    left = registry.get(cookie["value"], page.evaluate("runs.client('generate').state.id"))
    with page.expect_event("close"):
        page.close(run_before_unload=True)
    until(lambda: registry.numbers()["active"] == 0)
    assert left.outcome == "lost", "the run came to its end"


def test_a_run_that_was_stopped_can_be_played_scrubbed_and_opened(tab):
    page = tab(LONG)
    press(page, "run")
    words(page, 16)
    press(page, "stop")
    state(page, "ended")
    whole = page.locator("#text .text").text_content()
    slider = page.locator("#text .look input")
    expect(slider).to_be_visible()
    slider.fill("0")
    assert page.locator("#text .text").text_content() != whole
    slider.fill(slider.get_attribute("max"))
    assert page.locator("#text .text").text_content() == whole
    expect(page.get_by_role("button", name="Play")).to_be_visible()
    page.locator("#text .answer .token").nth(3).dispatch_event("click")  # a random model's tokens may take no room
    expect(page.locator("#token")).to_contain_text("token")


def test_the_page_sleeps_for_a_minute_and_goes_on(tab, net):
    page = tab(LONG)
    page.clock.install()
    press(page, "run")
    words(page, 8)
    net.stall = True
    time.sleep(1)
    net.stall = False
    page.clock.fast_forward(61_000)  # all timers of the minute at once, as after a lid was opened
    page.clock.run_for(2_000)
    state(page, "running")
    count = page.locator("#text .answer .token").count()
    words(page, count + 8)
    press(page, "stop")
    state(page, "ended")


def test_the_page_works_in_a_browser_that_keeps_nothing(browser, chromium, near, net, model, tmp_path):
    (tmp_path / "Default").mkdir()
    blocked = {"profile": {"default_content_setting_values": {"cookies": 2}}}
    (tmp_path / "Default" / "Preferences").write_text(json.dumps(blocked))
    with browser.browser_type.launch_persistent_context(
        tmp_path, executable_path=chromium, args=["--no-sandbox"], reduced_motion="reduce"
    ) as context:
        page = context.new_page()
        heard = Heard(page)
        page.goto(near[0] + "/" + link_of(Recipe("generate", (PROMPT,), SHORT))["query"])
        ready(page)
        assert page.evaluate("(() => { try { return String(localStorage); } catch (e) { return e.name; } })()") == (
            "SecurityError"
        )
        assert context.cookies() == []
        press(page, "run")
        expect(page.locator("#generate")).to_have_attribute("data-run", "done")
        assert answer(page) == written(model)
        expect(page.locator(".own-history .note")).to_contain_text("stores nothing")
        page.locator("#text .answer .token").nth(3).click()
        expect(page.locator("#token")).to_contain_text("Chosen with")
        assert heard.wrong() == []


def test_the_page_works_at_a_sub_path(browser, model):
    with served(model, "/cola") as (address, net, _), browser.new_context() as context:
        page = context.new_page()
        heard = Heard(page)
        failed = []
        page.on("response", lambda answer: failed.append(answer.url) if answer.status >= 400 else None)
        page.goto(address + "/" + link_of(Recipe("generate", (PROMPT,), SHORT))["query"])
        ready(page)
        press(page, "run")
        expect(page.locator("#generate")).to_have_attribute("data-run", "done")
        assert answer(page) == written(model)
        icon = page.evaluate("fetch(document.querySelector('link[rel~=icon]').href).then(answer => answer.status)")
        assert icon == 200 and failed == []
        assert net.starts() == 1 and heard.wrong() == []
        # a browser looks for an icon at the root of the host once, before gradio's script has named the page's own
        assert set(net.outside) <= {"/favicon.ico"}

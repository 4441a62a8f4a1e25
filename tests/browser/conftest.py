"""Journeys in the real page: one server, one browser, and visitors that report whatever goes wrong.

What a component does by itself is tested in tests/app/components, on a bare page without a server.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page

from app.shared.cloud_holder import CloudHolder
from coladlm.networks.dit import BlockCausalDiT

from ..conftest import PATIENCE, STAND_IN
from .heard import Heard

ROOT = Path(__file__).parents[2]
START_SECONDS, END_SECONDS = 300, 60  # what is waited for on a busy machine; an idle one needs a twentieth of it
STEPS = 6  # of a block, where no settings say it
STEP_SECONDS = 0.005  # what a step takes at least where a test wants a model of this process to be slow
PACE = "pace"  # the file that slows a server down, see watched_app.py
WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


@pytest.fixture(scope="session")
def server_folder(tmp_path_factory) -> Path:
    """Where the server has its log, its cache and its pace."""
    return tmp_path_factory.mktemp("server")


@pytest.fixture
def slowly(server_folder) -> Iterator[None]:
    """Runs are slow enough to be followed and stopped, on any machine."""
    file = server_folder / PACE
    file.touch()
    yield
    file.unlink()


@pytest.fixture
def slow_model(monkeypatch) -> None:
    """The same for the models of this process: the other parts of a run cost little of its time."""
    hidden = BlockCausalDiT.hidden

    def slow(*args, **kwargs):
        time.sleep(STEP_SECONDS)
        return hidden(*args, **kwargs)

    monkeypatch.setattr(BlockCausalDiT, "hidden", slow)


@pytest.fixture(scope="session")
def server(golden_folder, model, golden_cloud, server_folder) -> Iterator[str]:
    """The address of `python app.py` with the small random checkpoint, whose map is there already.

    It takes few steps for a block: a browser draws each of them. A UMAP that the page fits in the background has a
    layout without umap-learn, see `STAND_IN`.
    """
    golden_cloud.save(CloudHolder(model, cache=server_folder / "cache").kept)
    checkpoint = shutil.copytree(golden_folder, server_folder / golden_folder.name)
    (checkpoint / "sampler.json").write_text(json.dumps({"steps": STEPS}))
    with serving(server_folder, "--checkpoint", str(checkpoint), "--allow-loading") as address:
        yield address


@contextlib.contextmanager
def serving(folder: Path, *arguments: str) -> Iterator[str]:
    """The address of `python app.py` with these arguments; its log and its cache are in `folder`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder / "log.txt"
    command = [sys.executable, str(ROOT / "tests" / "browser" / "watched_app.py"), *arguments, "--port", str(port)]
    with log.open("w") as out:
        process = subprocess.Popen(
            [*command, "--device", "cpu", "--running", "1", "--queue-size", "2", "--grace", "0"],
            stdout=out,
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "COLADLM_CACHE": str(folder / "cache"),
                "PYTHONPATH": str(STAND_IN),
                "TEST_PACE": str(folder / PACE),
            },
        )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                httpx.get(address, timeout=START_SECONDS)
                break
            except httpx.HTTPError:
                if process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"the page did not start:\n{log.read_text()}")
                time.sleep(0.2)
        yield address
    finally:
        process.terminate()
        process.wait(END_SECONDS)
    assert "Traceback" not in log.read_text(), log.read_text()


class Pages:
    """Pages of the two sizes to lend, each in a context of its own.

    A page that was lent before is blank again and has an empty storage, but its process still holds gradio's scripts as
    it compiled them: it opens in half the time of a new one.
    """

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self.free: dict[str, list[Heard]] = {}

    def lend(self, size: dict, origin: str, options: dict) -> Heard:
        free = self.free.get(_key(size, options))
        heard = free.pop() if free else self._new(size, options)
        heard.page.set_default_timeout(PATIENCE)
        session = heard.page.context.new_cdp_session(heard.page)
        session.send("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "all"})
        session.detach()
        heard.begin()
        return heard

    def take_back(self, heard: Heard, size: dict, options: dict, again: bool) -> None:
        if heard.page.is_closed() or options or not again:  # what few tests ask for is not kept
            heard.page.context.close()
            return
        heard.page.goto("about:blank")
        heard.page.mouse.move(0, 0)
        heard.page.set_viewport_size(size)
        self.free.setdefault(_key(size, options), []).append(heard)

    def _new(self, size: dict, options: dict) -> Heard:
        return Heard(self.browser.new_context(viewport=size, reduced_motion="reduce", **options).new_page())


def _key(size: dict, options: dict) -> str:
    return repr((size, options))


@pytest.fixture(scope="session")
def pages(browser) -> Pages:
    return Pages(browser)


@pytest.fixture
def visit(server, pages) -> Iterator[Callable[..., Page]]:
    """visit(size, path) opens the page for one more visitor. Whatever any of them saw go wrong fails the test.

    before: is given the blank page. again: may the page be lent to other tests later? Not where this one changes its
    clock or its network.
    """
    visitors: list[Heard] = []

    def open_page(
        size: dict = WIDE, path: str = "/", before: Callable[[Page], None] | None = None, again: bool = True, **options
    ) -> Page:
        heard = pages.lend(size, server, options)
        visitors.append(heard)
        at_the_end.callback(pages.take_back, heard, size, options, again)
        if before is not None:
            before(heard.page)
        heard.page.goto(server + path, wait_until="commit")  # a test may hold back what the page loads
        heard.page.wait_for_selector("button.run:visible, .model-tab:visible, #bench:visible, #map:visible")
        return heard.page

    with contextlib.ExitStack() as at_the_end:
        yield open_page
        wrong = [what for visitor in visitors for what in visitor.wrong()]  # before the pages are left by this fixture
    assert wrong == []

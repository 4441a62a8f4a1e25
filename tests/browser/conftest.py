"""The real page in a real browser: a server for the session, and visitors that report whatever goes wrong."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from .heard import Heard

ROOT = Path(__file__).parents[2]
START_SECONDS, END_SECONDS = 150, 60  # what is waited for on a busy machine; an idle one needs a tenth of it
PATIENCE = 60_000  # ms, the same: whatever is awaited on a page is there sooner, or never
WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 390, "height": 844}

expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="session")
def server(golden_folder, tmp_path_factory) -> Iterator[str]:
    """The address of `python app.py` with the small random checkpoint."""
    with serving(tmp_path_factory.mktemp("server"), "--checkpoint", str(golden_folder)) as address:
        yield address


@pytest.fixture(scope="session")
def bundled_server(tmp_path_factory) -> Iterator[str]:
    """The address of `python app.py` with the bundled model, for tests that need words and a map."""
    with serving(tmp_path_factory.mktemp("bundled")) as address:
        yield address


@contextlib.contextmanager
def serving(folder: Path, *arguments: str) -> Iterator[str]:
    """The address of `python app.py` with these arguments; its log and its cache are in `folder`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder / "log.txt"
    command = [sys.executable, str(ROOT / "app.py"), *arguments, "--port", str(port)]
    with log.open("w") as out:
        process = subprocess.Popen(
            [*command, "--device", "cpu", "--running", "1", "--queue-size", "2"],
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "COLADLM_CACHE": str(folder / "cache")},
        )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                httpx.get(address, timeout=5)
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


@pytest.fixture(scope="session")
def browser(chromium) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(server, browser) -> Iterator[Callable[..., Page]]:
    """visit(size, path) opens the page for one more visitor. Whatever any of them saw go wrong fails the test."""
    visitors: list[Heard] = []

    def open_page(size: dict = WIDE, path: str = "/", **options) -> Page:
        page = contexts.enter_context(browser.new_context(viewport=size, reduced_motion="reduce", **options)).new_page()
        page.set_default_timeout(PATIENCE)
        visitors.append(Heard(page))
        page.goto(server + path)
        page.wait_for_selector(".strip")
        page.wait_for_selector("button.run")
        return page

    with contextlib.ExitStack() as contexts:
        yield open_page
        wrong = [what for visitor in visitors for what in visitor.wrong()]  # before the pages are closed under them
    assert wrong == []

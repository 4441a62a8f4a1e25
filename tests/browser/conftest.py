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
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

ROOT = Path(__file__).parents[2]
START_SECONDS = 90
WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


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
        process.wait(20)
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
    wrong: list[str] = []
    contexts = []

    def open_page(size: dict = WIDE, path: str = "/", **options) -> Page:
        context = browser.new_context(viewport=size, reduced_motion="reduce", **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("console", lambda message: wrong.append(message.text) if _is_wrong(message) else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: wrong.append(f"asked {request.url}") if _foreign(request.url) else None)
        page.goto(server + path)
        page.wait_for_selector(".strip")
        page.wait_for_selector("button.run")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


def _is_wrong(message: ConsoleMessage) -> bool:
    """Chromium reports a refusal by the full queue (503), which is an answer like any other, as an error too."""
    refused = "503" in message.text and "/queue/join" in message.location["url"]
    return message.type == "error" and not refused


def _foreign(url: str) -> bool:
    return urlsplit(url).scheme not in ("data", "blob") and urlsplit(url).hostname != "127.0.0.1"

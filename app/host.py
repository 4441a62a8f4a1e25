"""Serves the page and the doors for programs at one address, and ends cleanly when it is asked to."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import threading
import time
from collections.abc import Iterator

import gradio as gr
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from coladlm import ColaDLM
from coladlm.serve import Limits, Scheduler

from . import operations_api
from .page import build_page, launch_options
from .resident import Resident
from .serving.asked import RequestLimits
from .serving.doors import Doors

SPARE_THREADS = 40  # for what is no run: reading files, quick handlers
TELL_SECONDS = 2.0  # at the end: for visitors of the page to hear the last of their runs
HANG_UP_SECONDS = 1  # then: for connections to close by themselves; an open page holds one that never would
FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


def launched(
    model: ColaDLM, scheduler: Scheduler, one: RequestLimits, host: str, port: int, share: bool = False,
    mcp: bool = False, allow_loading: bool = False, quiet: bool = False,
) -> gr.Blocks:  # fmt: skip
    """The page, served in the background together with the doors. `close()` ends it.

    mcp: offer the endpoints as tools of an MCP server, too. allow_loading: may visitors load another model.
    """
    many = scheduler.queue.limits
    resident = Resident(model, allow_loading, scheduler)
    page = build_page(resident)
    with page:
        operations_api.add_api(resident)
    page.queue(max_size=many.running + many.waiting)
    doors = Doors(lambda: resident.model, scheduler, one)
    page.launch(
        server_name=host,
        server_port=port or None,
        share=share,
        mcp_server=mcp,
        quiet=quiet,
        prevent_thread_lock=True,
        max_threads=SPARE_THREADS + many.running + many.waiting,  # a handler keeps one while it waits for its turn
        app_kwargs={
            "routes": doors.routes(),
            # gradio sends the page itself, most of the weight of a first visit, as it is; streams stay as they are
            "middleware": [Middleware(GZipMiddleware, minimum_size=2000, compresslevel=5)],
            "exception_handlers": {OSError: _on_system_error},
        },
        **launch_options(),
    )
    page.server.config.timeout_graceful_shutdown = HANG_UP_SECONDS
    return page


async def _on_system_error(_: Request, error: Exception) -> Response:
    """What a visitor reads whose file found no room; every other fault stays one of the program."""
    if getattr(error, "errno", None) not in FULL_DISK:
        raise error
    return PlainTextResponse("The disk of the server is full: the file was not taken.", 507)


def serve(
    model: ColaDLM, many: Limits, one: RequestLimits, host: str, port: int, share: bool, mcp: bool, allow_loading: bool,
    grace: float,
) -> None:  # fmt: skip
    """Serves until SIGTERM or SIGINT; then lets runs end for `grace` seconds, refuses new ones, and returns."""
    with _asked_to_end() as asked:
        scheduler = Scheduler(many)
        page = launched(model, scheduler, one, host, port, share, mcp, allow_loading)
        while not asked.wait(1.0):  # in pieces: a signal is handled between them
            pass
        print("Ending: runs under way may go on for a moment.", flush=True)
        scheduler.close(grace)
        _tell(page)
        page.close(verbose=False)


def _tell(page: gr.Blocks) -> None:
    """Waits until the page's visitors have heard how their runs ended: gradio drops at once what it has not sent."""
    queue, deadline = page._queue, time.monotonic() + TELL_SECONDS
    while queue.get_active_worker_count() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)  # the streams are read a few times a second


@contextlib.contextmanager
def _asked_to_end() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set; a second signal ends the process at once."""
    asked = threading.Event()

    def handler(number: int, _: object) -> None:
        if asked.is_set():
            os._exit(128 + number)
        asked.set()

    before = {number: signal.signal(number, handler) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield asked
    finally:
        for number, old in before.items():
            signal.signal(number, old)

"""Serves the page and OpenAI's API at one address, and ends cleanly when it is asked to."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

import gradio as gr
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount
from starlette.types import Receive, Scope, Send

from coladlm import ColaDLM
from coladlm.serve import Limits, Scheduler

from . import operations_api
from .page import build_page, launch_options
from .resident import Resident
from .serving.hosts import AllowedHosts, allowed_hosts
from .serving.openai_api import ApiOptions, OpenAIApi

SPARE_THREADS = 40  # for what is no run: reading files, quick handlers
TELL_SECONDS = 2.0  # at the end: for visitors of the page to hear the last of their runs
HANG_UP_SECONDS = 1  # then: for connections to close by themselves; an open page holds one that never would
FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


def launched(
    model: ColaDLM, scheduler: Scheduler, api: ApiOptions, host: str, port: int, share: bool = False,
    mcp: bool = False, allow_loading: bool = False, quiet: bool = False, more_hosts: Sequence[str] = (),
) -> gr.Blocks:  # fmt: skip
    """The page, served in the background together with OpenAI's API. `close()` ends it.

    mcp: offer the endpoints as tools of an MCP server, too. allow_loading: may visitors load another model.
    more_hosts: names that a server of this machine alone answers to beside its own, see `allowed_hosts`.
    """
    many = scheduler.queue.limits
    resident = Resident(model, allow_loading, scheduler)
    page = build_page(resident)
    with page:
        operations_api.add_api(resident)
    page.queue(max_size=many.running + many.waiting)
    routes = OpenAIApi(lambda: resident.model, scheduler, api).routes()
    page.launch(
        server_name=host,
        server_port=port or None,
        share=share,
        mcp_server=mcp,
        quiet=quiet,
        prevent_thread_lock=True,
        max_threads=SPARE_THREADS + many.running + many.waiting,  # a handler keeps one while it waits for its turn
        app_kwargs={
            "lifespan": _in_front(routes, allowed_hosts(host, more_hosts, share)),
            # gradio sends the page itself, most of the weight of a first visit, as it is; streams stay as they are
            "middleware": [Middleware(GZipMiddleware, minimum_size=2000, compresslevel=5)],
            "exception_handlers": {OSError: _on_system_error},
        },
        **launch_options(),
    )
    page.server.config.timeout_graceful_shutdown = HANG_UP_SECONDS
    return page


def _in_front(
    routes: Sequence[BaseRoute], names: Sequence[str]
) -> Callable[[gr.routes.App], contextlib.AbstractAsyncContextManager]:
    """A lifespan that puts the check of host names, and then routes, in front of all that Gradio answers.

    A middleware that is given to Gradio stands behind its own, which answers the preflights of browsers.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: gr.routes.App) -> AsyncIterator[None]:
        inner = app.middleware_stack

        async def page(scope: Scope, receive: Receive, send: Send) -> None:
            scope["app"] = app
            await inner(scope, receive, send)

        app.middleware_stack = AllowedHosts(Starlette(routes=[*routes, Mount("/", page)]), names)
        yield

    return lifespan


async def _on_system_error(_: Request, error: Exception) -> Response:
    """What a visitor reads whose file found no room; every other fault stays one of the program."""
    if getattr(error, "errno", None) not in FULL_DISK:
        raise error
    return PlainTextResponse("The disk of the server is full: the file was not taken.", 507)


def serve(
    model: ColaDLM, many: Limits, api: ApiOptions, host: str, port: int, share: bool, mcp: bool, allow_loading: bool,
    grace: float, more_hosts: Sequence[str] = (),
) -> None:  # fmt: skip
    """Serves until SIGTERM or SIGINT; then lets runs end for `grace` seconds, refuses new ones, and returns."""
    with _asked_to_end() as asked:
        scheduler = Scheduler(many)
        page = launched(model, scheduler, api, host, port, share, mcp, allow_loading, more_hosts=more_hosts)
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

"""One application serves all: the page, its runs, OpenAI's API, /health and /metrics. It ends cleanly when asked to."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import gradio as gr
import uvicorn
from fastapi import FastAPI
from gradio import networking
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from coladlm import ColaDLM
from coladlm.garbage_collection import keep_what_is_there
from coladlm.serve import Limits, Scheduler
from coladlm.serve.far_runs import FarRuns

from .api import operations as operations_api
from .api.hosts import AllowedHosts, allowed_hosts
from .api.openai_api import ApiOptions, OpenAIApi
from .component_scripts import component_scripts
from .early_script import EarlyScript
from .kept_files import KeptFiles
from .page import API_PAGE, build_page, page_options
from .runs.access import VisitorCookie
from .runs.registry import Registry, RunLimits
from .runs.routes import run_routes
from .shared.errors import sentence
from .shared.resident import Resident
from .theme import EARLY_SCRIPTS

FIRST_PORT, PORTS = 7860, 100  # where a free one is looked for
SPARE_THREADS = 40  # for what is no run: reading files, quick handlers
START_SECONDS = 60.0
TELL_SECONDS = 2.0  # at the end: for visitors of the page to hear the last of their runs
HANG_UP_SECONDS = 1  # then: for connections to close by themselves; an open page holds one that never would
FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


@dataclasses.dataclass(frozen=True)
class Options:
    """How the page is served. port: 0 takes a free one. root_path: where a proxy shows the page, such as "/cola", or
    its whole address. names: more host names that a server of this machine alone answers to, such as that of a proxy.
    """

    host: str = "127.0.0.1"
    port: int = 0
    share: bool = False
    mcp: bool = False
    allow_loading: bool = False
    root_path: str = ""
    names: tuple[str, ...] = ()
    quiet: bool = False

    @property
    def sub_path(self) -> str:
        """The path of `root_path`, such as "/cola"; "" where the page has a host of its own."""
        return urlsplit(self.root_path).path.rstrip("/")


def make_app(
    model: ColaDLM, scheduler: Scheduler, api: ApiOptions, options: Options, run_limits: RunLimits | None = None
) -> tuple[FastAPI, gr.Blocks, Registry]:
    """The application, the page in it, and the registry of its runs."""
    many = scheduler.queue.limits
    resident = Resident(model, options.allow_loading, scheduler)
    most = many.running + many.waiting + SPARE_THREADS
    registry = Registry(run_limits or RunLimits(active=most), explain=sentence)
    page = build_page(resident, registry=registry, more_api=operations_api.add_api)
    page._queue.max_size = many.running + many.waiting  # `page.queue` would make all routes of gradio's once more
    # or gradio (6.31) goes through the last 10,000 events after each of them, for a table that only /monitoring shows
    page._queue.ANAYLTICS_CACHE_FREQUENCY = sys.maxsize
    page.max_threads = page._queue.max_thread_count = most  # a handler keeps one while it waits for its turn

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        registry.open()
        yield
        registry.close(seconds=0)

    app = FastAPI(title="Cola-DLM Explorer", openapi_url=None, docs_url=None, redoc_url=None, lifespan=lifespan)
    app.router.routes += OpenAIApi(lambda: resident.model, scheduler, api).routes()
    app.include_router(run_routes(registry))
    asks, scripts = component_scripts()
    app.router.routes.append(scripts)
    app.add_middleware(EarlyScript, script=EARLY_SCRIPTS, more=asks, others=[f"/{API_PAGE}"])
    app.add_middleware(VisitorCookie, opened=registry.come_back, root_path=options.sub_path)
    # gradio sends the page itself, most of the weight of a first visit, as it is; streams stay as they are
    app.add_middleware(GZipMiddleware, minimum_size=2000, compresslevel=5)
    app.add_middleware(KeptFiles)
    # outermost: a page of another site that points a name of its own here reads nothing at all
    app.add_middleware(AllowedHosts, names=allowed_hosts(options.host, options.names, options.share))
    with warnings.catch_warnings():
        # of several pages gradio says that it will not draw them on the server, which it is not asked to do
        warnings.filterwarnings("ignore", "SSR mode is not supported")
        gr.mount_gradio_app(
            app, page, "/", server_name=options.host, server_port=options.port, root_path=options.root_path or None,
            mcp_server=options.mcp, app_kwargs={"exception_handlers": {OSError: _on_system_error}},
            **page_options(api.for_page()),
        )  # fmt: skip
    return app, page, registry


class Served:
    """The application, served by a thread. `close` ends it at once, `end` gives what is under way a moment."""

    def __init__(self, model: ColaDLM, many: Limits, api: ApiOptions, options: Options,
                 run_limits: RunLimits | None = None, far: FarRuns | None = None) -> None:  # fmt: skip
        """far: what runs recipes in place of this process."""
        listening = _listen(options.host, options.port)
        self.port = listening.getsockname()[1]
        self.address = f"http://{_in_address(options.host)}:{self.port}"
        options = dataclasses.replace(options, port=self.port)
        self.scheduler = Scheduler(many, far)
        self.app, self.page, self.registry = make_app(model, self.scheduler, api, options, run_limits)
        # the loop and the parser that everybody has, whatever else is installed
        config = uvicorn.Config(self.app, loop="asyncio", http="h11", log_level="warning", root_path=options.sub_path,
                                timeout_graceful_shutdown=HANG_UP_SECONDS)  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listening]}, name="server")
        self._thread.start()
        deadline = time.monotonic() + START_SECONDS
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError("The server did not start; the lines above say why.")
            time.sleep(0.005)
        if not options.quiet:
            print(f"Open {self.address}", flush=True)
        if options.share:
            print(f"Public link: {_tunnel(options.host, self.port, self.page.share_token)}", flush=True)

    def end(self, grace: float) -> None:
        """Refuses new runs, lets those under way go on for `grace` seconds, tells their visitors, and closes."""
        self.scheduler.close(grace)
        self.registry.close(TELL_SECONDS)
        self._tell()
        self.close()

    def close(self) -> None:
        self.page.close(verbose=False)
        for route in self.app.routes:
            mounted = getattr(route, "app", None)
            if isinstance(mounted, gr.routes.App):
                mounted.stop_event.set()  # ends the heartbeat of open pages
        self._server.should_exit = True
        self._thread.join()

    def _tell(self) -> None:
        """Waits until callers of gradio's API have heard how their runs ended: gradio drops what it has not sent."""
        queue, deadline = self.page._queue, time.monotonic() + TELL_SECONDS
        while queue.get_active_worker_count() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.3)  # the streams are read a few times a second


def serve(model: ColaDLM, many: Limits, api: ApiOptions, options: Options, grace: float,
          far: FarRuns | None = None) -> None:  # fmt: skip
    """Serves until SIGTERM or SIGINT; then lets runs end for `grace` seconds, refuses new ones, and returns."""
    with _end_requested() as requested:
        served = Served(model, many, api, options, far=far)
        keep_what_is_there()  # a search through the page's parts would hold up every run for half a second
        while not requested.wait(1.0):  # in pieces: a signal is handled between them
            pass
        print("Ending: runs under way may go on for a moment.", flush=True)
        served.end(grace)


async def _on_system_error(_: Request, error: Exception) -> Response:
    """What a visitor reads whose file found no room; every other fault stays one of the program."""
    if getattr(error, "errno", None) not in FULL_DISK:
        raise error
    return PlainTextResponse("The disk of the server is full: the file was not taken.", 507)


def _listen(host: str, port: int) -> socket.socket:
    """A socket at a port, or at the first free one. Raises OSError with a sentence."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    ports = [port] if port else range(FIRST_PORT, FIRST_PORT + PORTS)
    for one in ports:
        found = socket.socket(family)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((host, one))
            found.listen(2048)  # at once: until it listens, another process could take the port, too
            return found
        except OSError as error:
            found.close()
            if error.errno != errno.EADDRINUSE:
                nowhere = isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
                wanted = "expected an address of this machine with --host" if nowhere else "choose another with --port"
                raise OSError(error.errno, f"At {host}, port {one}: {error.strerror}; {wanted}") from error
    where = f"port {port} is" if port else f"the ports {FIRST_PORT} to {FIRST_PORT + PORTS - 1} are"
    raise OSError(errno.EADDRINUSE, f"At {host}, {where} in use: choose another with --port")


def _in_address(host: str) -> str:
    """How a browser of this machine reaches what listens at a host."""
    if host in ("0.0.0.0", "::", ""):
        return "localhost"
    return f"[{host}]" if ":" in host else host


def _tunnel(host: str, port: int, token: str) -> str:
    """The address of a public link through gradio's tunnel."""
    return networking.setup_tunnel(_in_address(host), port, token, None, None)


@contextlib.contextmanager
def _end_requested() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set; a second signal ends the process at once."""
    requested = threading.Event()

    def handler(number: int, _: object) -> None:
        if requested.is_set():
            os._exit(128 + number)
        requested.set()

    before = {number: signal.signal(number, handler) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield requested
    finally:
        for number, old in before.items():
            signal.signal(number, old)

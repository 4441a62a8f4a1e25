"""What the tests of the APIs share, a server of OpenAI's alone among it."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette

from app.api.openai_api import ApiOptions, OpenAIApi
from coladlm.serve import Scheduler


@pytest.fixture
def complete() -> Callable[[Coroutine], Any]:
    """complete(coroutine) runs it in an event loop of a thread of its own: the main one may have Playwright's."""

    def run(coroutine: Coroutine) -> Any:
        with ThreadPoolExecutor(1) as threads:
            return threads.submit(asyncio.run, coroutine).result()

    return run


@pytest.fixture(scope="module")
def serve_api(model) -> Iterator[Callable[[ApiOptions], str]]:
    """serve_api(options) serves OpenAI's API over HTTP in a thread and returns its address."""
    scheduler, servers = Scheduler(), []

    def serve(options: ApiOptions) -> str:
        listening = socket.create_server(("127.0.0.1", 0))
        app = Starlette(routes=OpenAIApi(lambda: model, scheduler, options).routes())
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        servers.append((server, thread))
        deadline = time.monotonic() + 30
        while not server.started:
            assert thread.is_alive() and time.monotonic() < deadline, "the server did not start"
            time.sleep(0.01)
        return f"http://127.0.0.1:{listening.getsockname()[1]}"

    yield serve
    for server, _ in servers:
        server.should_exit = True
    for _, thread in servers:
        thread.join(30)
    scheduler.close(grace=0)

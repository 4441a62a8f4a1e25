"""A network between the browser and a server in this process: slow, cut off, silent, as a test wants it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import uvicorn
from starlette.responses import Response

PATIENCE = 60  # seconds, for a busy machine


class Net:
    """An application around the application.

    delay: seconds before each answer about runs. cuts: how many events the next streams bring before they break off,
    one after the other. stall: nothing more goes out on streams. gradio: the end of the path of gradio's own requests
    that break off, before or after their answer has begun. prefix: a sub-path that a proxy would cut off.

    asked: (method, path) of the requests about runs. held: messages of streams that a stall keeps back. streams: of
    events, that are open. outside: the paths of requests that are not below the prefix.
    """

    def __init__(self, app: Callable, prefix: str = "") -> None:
        self.app, self.prefix = app, prefix
        self.held = self.streams = self._broken = 0
        self.calm()

    def calm(self) -> None:
        """A network without faults, and nothing asked yet."""
        self.delay, self.stall = 0.0, False
        self.gradio: tuple[str, bool] | None = None
        self.cuts: list[int] = []
        self.asked: list[tuple[str, str]] = []
        self.outside: list[str] = []

    def cut(self) -> None:
        """Breaks off every stream of events that is open."""
        self._broken += 1

    def starts(self) -> int:
        """How many runs were asked for."""
        return len({path for method, path in self.asked if method == "PUT"})

    def reads(self) -> int:
        """How often a stream of events was asked for."""
        return sum(path.endswith("/events") for _, path in self.asked)

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
        if not scope["path"].endswith("/events"):
            return await self.app(scope, receive, self._slow(send))
        self.streams += 1
        try:
            await self.app(scope, receive, self._fragile(self._slow(send)))
        finally:
            self.streams -= 1

    def _slow(self, send: Callable) -> Callable:
        async def slowly(message) -> None:
            if message["type"] == "http.response.start":
                await asyncio.sleep(self.delay)
            await send(message)

        return slowly

    def _fragile(self, send: Callable) -> Callable:
        """Of a stream of events."""
        sent, broken = 0, self._broken
        cut = self.cuts.pop(0) if self.cuts else None

        async def fragile(message) -> None:
            nonlocal sent
            if self.stall:
                self.held += 1
                while self.stall:
                    await asyncio.sleep(0.02)
                self.held -= 1
            sent += bool(message.get("body"))
            if self._broken != broken or (cut is not None and sent > cut):
                raise ConnectionError("cut")
            await send(message)

        return fragile

    async def _break(self, scope, receive, send, begun: bool) -> None:
        async def breaking(message) -> None:
            if begun and message["type"] == "http.response.start":
                return await send(message)
            raise ConnectionError("cut")

        await self.app(scope, receive, breaking)


@contextlib.contextmanager
def listening(net: Net) -> Iterator[str]:
    """The address of a server of what lies behind a network, in a thread of this process."""
    server = uvicorn.Server(uvicorn.Config(net, port=0, log_level="critical", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}{net.prefix}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE)


def until(condition: Callable[[], object]) -> None:
    """Waits for what must happen."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)

"""A request for the model, from the queue to its last event; and what its visitor holds of it."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import threading
import time
from collections.abc import AsyncGenerator, Callable
from typing import Any

PULSE_SECONDS = 0.4  # the longest silence of an iterator of events: a visitor who left is noticed in between


class BusyError(ValueError):
    """The queue is full. seconds: until a place is expected, None where the visitor has too many requests."""

    def __init__(self, message: str, seconds: float | None = None) -> None:
        self.seconds = seconds
        super().__init__(message)


class SlowError(ValueError):
    """A visitor wanted every step but does not read them."""


class ClosingError(ValueError):
    """The server is shutting down."""

    def __init__(self) -> None:
        super().__init__("The server is shutting down; what was written up to here stays.")


@dataclasses.dataclass(frozen=True)
class Waiting:
    """Nothing new. ahead: its place in the queue, 0 where the request is being worked on. seconds: until it is."""

    ahead: int
    seconds: float


@dataclasses.dataclass(eq=False)
class Request:
    """One request. `lock` is the one lock of the scheduler; a turn touches `deliver`, `closed` and `over` alone."""

    name: str
    visitor: str
    lock: threading.RLock
    wake: Callable[[Request], None]  # its visitor wants the next event
    gone: Callable[[Request], None]  # its visitor has left
    entered: float = dataclasses.field(default_factory=time.monotonic)
    begun: float | None = None  # when it got a place
    closed: bool = False  # nobody waits for it any more
    read: int | None = None  # tokens that its visitor has read and wanted no more of, see `Events.enough`
    over: bool = False  # its last event is delivered
    task: Any = None  # what takes its turns
    shown: float = -1e9  # when the last Step was delivered

    def __post_init__(self) -> None:
        self.events: collections.deque[Any] = collections.deque()
        self.changed = threading.Condition(self.lock)
        self.listener: Callable[[], None] | None = None

    def deliver(self, *events: Any, last: bool = False) -> None:
        """Hands events, or an error to be raised, to the visitor."""
        with self.lock:
            self.events.extend(events)
            self.over = self.over or last
            self.changed.notify_all()
            if self.listener is not None:
                self.listener()


class Events:
    """The visitor's end of a request: an iterator of its events, also an asynchronous one. Dropping it ends the
    request.

    Every PULSE_SECONDS without news the iterator gives a `Waiting`. Errors of the run are raised from it.
    """

    def __init__(self, request: Request, where: Callable[[Request], Waiting]) -> None:
        self._request, self._where = request, where

    def __iter__(self) -> Events:
        return self

    def __next__(self) -> Any:
        request = self._request
        with request.lock:
            if not request.events:
                if request.over or request.closed:
                    raise StopIteration
                request.wake(request)
                request.changed.wait_for(lambda: request.events or request.over or request.closed, PULSE_SECONDS)
            if request.events:
                return self._taken()
            if request.over or request.closed:
                raise StopIteration
            return self._where(request)

    def _taken(self) -> Any:
        event = self._request.events.popleft()
        if isinstance(event, BaseException):
            self.close()
            raise event
        return event

    async def asynchronous(self) -> AsyncGenerator[Any]:
        """The same events in an event loop, without a thread that waits; closes the request when it is closed."""
        request, loop, news = self._request, asyncio.get_running_loop(), asyncio.Event()

        def listener() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(news.set)

        try:
            while True:
                with request.lock:
                    request.listener = listener
                    found = bool(request.events)
                    event = self._taken() if found else None
                    if not found:
                        if request.over or request.closed:
                            return
                        news.clear()
                        request.wake(request)
                if found:
                    yield event
                    continue
                try:
                    # not wait_for, which can lose a cancellation that comes together with news (Python 3.11)
                    async with asyncio.timeout(PULSE_SECONDS):
                        await news.wait()
                except TimeoutError:
                    yield self._where(request)
        finally:
            request.listener = None
            self.close()

    def enough(self, tokens: int) -> None:
        """As `close`, by a visitor who has all that was wanted: the request counts as done, with so many tokens."""
        with self._request.lock:
            if not self._request.over:
                self._request.read = tokens
        self.close()

    def close(self) -> None:
        """Ends the request and frees its place at once; its computation stops at the next step."""
        self._request.gone(self._request)

    def __enter__(self) -> Events:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

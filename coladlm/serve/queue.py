"""Queue: which requests are worked on, which wait for that, and which are refused."""

from __future__ import annotations

import collections
import dataclasses
import threading
import time
from collections.abc import Callable
from typing import Any

from .metrics import Metrics
from .requests import BusyError, ClosingError, Request, Waiting

FIRST_GUESS = 5.0  # seconds of a request, before any has ended


@dataclasses.dataclass(frozen=True)
class Limits:
    """running: requests that are worked on at once. waiting: in the queue behind them. per_visitor: of one visitor, in
    both together, 0 for no limit. batch: sequences that share a batch at most.
    """

    running: int = 32  # with fewer, short requests wait behind long ones for a place
    waiting: int = 32
    per_visitor: int = 8
    batch: int = 16


class Queue:
    """Admits requests, first come first served. begin: called with each that gets a place."""

    def __init__(
        self, limits: Limits, metrics: Metrics, lock: threading.RLock, begin: Callable[[Request], None]
    ) -> None:
        self.limits, self._metrics, self._lock, self._begin = limits, metrics, lock, begin
        self._waiting: collections.deque[Request] = collections.deque()
        self._running: dict[Request, None] = {}
        self._mean: float | None = None  # seconds that a request holds its place
        self.closing = False

    def enter(self, request: Request) -> None:
        """Adds a request. Raises BusyError, ClosingError."""
        limits = self.limits
        with self._lock:
            if self.closing:
                raise ClosingError
            visitor = request.visitor
            mine = sum(r.visitor == visitor for r in (*self._running, *self._waiting)) if visitor else 0
            if limits.per_visitor and mine >= limits.per_visitor:
                self._metrics.refused("visitor")
                raise BusyError(f"You have {_counted(mine, 'request')} under way, expected fewer than "
                                f"{limits.per_visitor}: wait for one to end, or stop it.")  # fmt: skip
            if len(self._running) >= limits.running and len(self._waiting) >= limits.waiting:
                self._metrics.refused("queue")
                seconds = self.expected(len(self._waiting))
                raise BusyError(f"The queue is full: {_counted(len(self._running), 'request')} under way, "
                                f"{len(self._waiting)} in the queue. Try again in about {_rounded(seconds)}.",
                                seconds)  # fmt: skip
            self._waiting.append(request)
            self._admit()

    def where(self, request: Request) -> Waiting:
        """How long a request has to wait."""
        with self._lock:
            if request not in self._waiting:
                return Waiting(0, 0.0)
            ahead = self._waiting.index(request)
            return Waiting(ahead + 1, self.expected(ahead))

    def expected(self, ahead: int) -> float:
        """Seconds until a place is free for a request with so many before it, from what requests took."""
        with self._lock:
            now = time.monotonic()
            oldest = max((now - r.begun for r in self._running if r.begun is not None), default=0.0)
            mean = self._mean if self._mean is not None else max(oldest, FIRST_GUESS)
            return (ahead + 1) * mean / self.limits.running

    def numbers(self) -> dict[str, int]:
        """How many requests are worked on, and how many wait."""
        with self._lock:
            return {"running": len(self._running), "waiting": len(self._waiting)}

    def is_running(self, request: Request) -> bool:
        with self._lock:
            return request in self._running

    def all_running(self) -> list[Request]:
        with self._lock:
            return list(self._running)

    def end(self, request: Request, *events: Any, outcome: str = "done") -> None:
        """Delivers the last events of a request and frees its place."""
        with self._lock:
            request.deliver(*events, last=True)
            if request in self._running:
                self._free(request, outcome)

    def leave(self, request: Request) -> bool:
        """Closes a request whose visitor has left, or has enough, and frees its place. Was it worked on?"""
        with self._lock:
            if request.closed:
                return False
            request.closed = True
            request.changed.notify_all()
            if request in self._waiting:
                self._waiting.remove(request)
                self._metrics.ended(request.name, "left", 0.0)
            elif request in self._running:
                if request.read is not None:
                    self._metrics.read(request.read)
                self._free(request, "left" if request.read is None else "done")
                return True
            return False

    def refuse_all(self) -> None:
        """Admits no more requests, and refuses those that wait."""
        with self._lock:
            self.closing = True
            while self._waiting:
                self._waiting.popleft().deliver(ClosingError(), last=True)

    def _admit(self) -> None:
        while self._waiting and len(self._running) < self.limits.running:
            request = self._waiting.popleft()
            request.begun = time.monotonic()
            self._metrics.waited(request.begun - request.entered)
            self._running[request] = None
            self._begin(request)

    def _free(self, request: Request, outcome: str) -> None:
        del self._running[request]
        assert request.begun is not None  # it had a place
        seconds = time.monotonic() - request.begun
        if outcome == "done":
            self._mean = seconds if self._mean is None else 0.8 * self._mean + 0.2 * seconds
        self._metrics.ended(request.name, outcome, seconds)
        self._admit()


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" + "s" * (count != 1)


def _rounded(seconds: float) -> str:
    """Seconds, rounded for a sentence."""
    if seconds < 1.5:
        return "a second"
    return f"{seconds:.0f} seconds" if seconds < 90 else f"{seconds / 60:.0f} minutes"

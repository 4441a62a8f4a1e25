"""How often a batch shows previews: a budget of its time, kept on the clock of the device that does the work."""

from __future__ import annotations

import collections
import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch

FRAME_SECONDS = 0.05  # at least between two previews
PREVIEW_SHARE = 4  # previews take at most one part in so many of the time that a batch works


class Clock(Protocol):
    """Measures what a device does."""

    def mark(self) -> Any:
        """A point in the work that has been given to the device."""

    def seconds(self, begun: Any, ended: Any) -> float | None:
        """The time from one mark to a later one; None while the device has not reached the later one."""


class HostClock:
    """The clock of a processor, which has finished when a call returns."""

    def mark(self) -> float:
        return time.monotonic()

    def seconds(self, begun: float, ended: float) -> float | None:
        return ended - begun


class CudaClock:
    """The clock of a CUDA device, which is given work ahead of time. It is read without waiting for the device."""

    def __init__(self, device: torch.device, event: Callable[[], Any] | None = None,
                 stream: Callable[[torch.device], Any] = torch.cuda.current_stream) -> None:  # fmt: skip
        """event: makes an event that keeps its time. stream: the one that the work of a device is given to."""
        self.device, self.stream = device, stream
        self.event = event or (lambda: torch.cuda.Event(enable_timing=True))

    def mark(self) -> Any:
        event = self.event()
        event.record(self.stream(self.device))
        return event

    def seconds(self, begun: Any, ended: Any) -> float | None:
        return begun.elapsed_time(ended) / 1000 if ended.query() else None  # which is in milliseconds


def clock_of(device: torch.device) -> Clock:
    """The clock of a device. For a device that is neither a CPU nor CUDA, it measures how long the host waits."""
    return CudaClock(device) if device.type == "cuda" else HostClock()


class PreviewBudget:
    """When previews of a batch are due.

    After each the batch has to work on its steps PREVIEW_SHARE - 1 times as long as it took before the next ones are
    due, for all visitors together. So they take at most one part in PREVIEW_SHARE of its time, however many visitors
    there are, and no more of all the time where several batches take turns. A visitor's first preview, which may not
    wait, comes on top; it puts off the next ones in the same way.
    """

    def __init__(self, clock: Clock, now: Callable[[], float] = time.monotonic) -> None:
        """clock: of the device. now: of the visitors, in seconds."""
        self._clock, self._now = clock, now
        self._owed = 0.0  # seconds of work before the next ones
        self._shown = float("-inf")
        # (mark, mark, is it previews?) of what the device may still be busy with, in its order
        self._unmeasured: collections.deque[tuple[Any, Any, bool]] = collections.deque()

    @contextlib.contextmanager
    def work(self) -> Iterator[None]:
        """Counts what happens inside as work of the batch."""
        begun = self._clock.mark()
        yield
        self._unmeasured.append((begun, self._clock.mark(), False))
        self._measure()

    @contextlib.contextmanager
    def previews(self, due: bool) -> Iterator[None]:
        """Counts what happens inside as previews. due: whether they were due; False if they were made early, since some
        could not wait.
        """
        begun = self._clock.mark()
        yield
        self._unmeasured.append((begun, self._clock.mark(), True))
        if due:
            self._shown = self._now()

    def due(self) -> bool:
        """May there be previews now? Not before it is known what the last ones have taken."""
        self._measure()
        known = not any(previews for *_, previews in self._unmeasured)
        return known and not self._owed and self._now() - self._shown >= FRAME_SECONDS

    def _measure(self) -> None:
        """Accounts for the work that the device has finished."""
        while self._unmeasured:
            begun, ended, previews = self._unmeasured[0]
            seconds = self._clock.seconds(begun, ended)
            if seconds is None:
                return
            self._unmeasured.popleft()
            if previews:
                self._owed = max(self._owed, (PREVIEW_SHARE - 1) * seconds)
            else:
                self._owed = max(0.0, self._owed - seconds)

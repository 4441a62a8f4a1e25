"""The runs of all visitors: started, followed, stopped and found again by the id that the browser gave them.

A *view* turns a request of the page into frames; a thread of its own pulls them for each run, and listeners get what
has changed since what they were sent last. Knows neither gradio nor the model nor HTTP.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import json
import logging
import math
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from .deltas import parts_patch

Frame = Mapping[str, Any]
"""Name of a part of the page -> its whole value, plain data that is never changed afterwards."""

View = Callable[["RunContext", Mapping[str, Any]], Iterator[Frame]]
"""(context, controls by name) -> frames. Raises ValueError with a sentence for what is wrong with the controls.

Closing the iterator stops the run; what is to be shown of it then goes through `RunContext.show`.
"""

Outcome = Literal["done", "stopped", "error", "lost"]
HEARTBEAT_SECONDS = 2.5  # between two signs of life of a stream that has nothing to say
TICK_SECONDS = 0.25  # how often it is looked for runs that nobody follows
MEASURE_SECONDS = 1.0  # between two looks at how large a run under way has become
KNOWN = 8  # states of a run that a broken connection can go on from
UNHEARD = "Nobody followed the run for a while, so it was stopped; what was written up to there stays."
FAILED = "The run failed on the server ({}); its log says more."


class UnknownRunError(LookupError):
    """There is no such run, or it is another visitor's."""


class RefusedRunError(ValueError):
    """There is no room for one more run. seconds: when to try again; None where the server is shutting down."""

    def __init__(self, message: str, seconds: float | None = 2.0) -> None:
        self.seconds = seconds
        super().__init__(message)


@dataclasses.dataclass(frozen=True)
class RunLimits:
    """active, of_visitor: runs under way at once, of all visitors and of one. kept, kept_of_visitor: runs that are
    remembered, those under way included. seconds: how long a finished one is. run_bytes, bytes: of what one run shows,
    and all together. orphan, unheard, left, returning: seconds without a listener after which a run is stopped: after
    the last one went, when none ever came, after its page has said good-bye, and while its page is loaded anew.
    """

    active: int = 64
    of_visitor: int = 16
    kept: int = 512
    kept_of_visitor: int = 64
    seconds: float = 600.0
    run_bytes: int = 8 << 20
    bytes: int = 64 << 20
    orphan: float = 3.0
    unheard: float = 10.0
    left: float = 0.5
    returning: float = 20.0


class Update(NamedTuple):
    """What a listener is sent. version: grows with every frame. data: of "snapshot" and "delta" {"parts": ...}, of
    "end" {"outcome": ..., "message": ...}; None of "beat".
    """

    kind: Literal["snapshot", "delta", "end", "beat"]
    version: int
    data: dict[str, Any] | None = None


class RunContext:
    """What a view knows of its run."""

    def __init__(self, run: Run) -> None:
        self.visitor, self.id = run.visitor, run.id
        self._run = run

    def show(self, frame: Frame) -> None:
        """Shows a frame outside of the iteration: the last one of a run whose iterator is being closed."""
        self._run.show(frame)


@dataclasses.dataclass(eq=False)
class Run:
    """A run: what it shows, and who follows it."""

    id: str
    visitor: str
    outcome: Outcome | None = None  # None while it is under way
    message: str = ""
    parts: dict[str, Any] = dataclasses.field(default_factory=dict)
    version: int = 0
    bytes: int = 0
    stop: Outcome | None = None  # that it is to be stopped, and what it will have come to
    why: str = ""
    begun: float = 0.0
    deadline: float | None = None  # when it is stopped if nobody follows it until then
    ended: float = 0.0

    def __post_init__(self) -> None:
        self.lock = threading.Lock()
        self.listeners: set[Callable[[], None]] = set()
        self.sent: collections.OrderedDict[int, dict[str, Any]] = collections.OrderedDict()

    @property
    def state(self) -> str:
        """ "running", or what it has come to."""
        return self.outcome or "running"

    def show(self, frame: Frame) -> None:
        with self.lock:
            self.parts = {**self.parts, **frame}
            self.version += 1
            self._tell()

    def end(self, outcome: Outcome, message: str, now: float) -> None:
        with self.lock:
            self.outcome, self.message, self.ended = outcome, message, now
            self._tell()

    def snapshot(self) -> tuple[int, dict[str, Any], Outcome | None]:
        """(version, parts, outcome) of one moment, remembered for a connection that breaks."""
        with self.lock:
            self.sent[self.version] = self.parts
            while len(self.sent) > KNOWN:
                self.sent.popitem(last=False)
            return self.version, self.parts, self.outcome

    def _tell(self) -> None:
        for listener in self.listeners:
            listener()


class Registry:
    """All runs of a server. `open` begins to look after them, `close` ends them.

    explain: the sentence for an error of a view that is not the visitor's doing.
    """

    def __init__(
        self, limits: RunLimits | None = None, clock: Callable[[], float] = time.monotonic,
        explain: Callable[[Exception], str] | None = None,
    ) -> None:  # fmt: skip
        self.limits, self.clock = limits or RunLimits(), clock
        self.explain = explain or _explain
        self.views: dict[str, View] = {}
        self._runs: collections.OrderedDict[str, Run] = collections.OrderedDict()
        self._opened: dict[str, float] = {}  # when a visitor last asked for the page
        self._lock = threading.RLock()
        self._closing = threading.Event()

    def add_view(self, name: str, view: View) -> None:
        """Lets runs be started of a view under a name."""
        if name in self.views:
            raise ValueError(f"the view {name!r} is there already, expected another name")
        self.views[name] = view

    # what a browser asks for

    def start(self, visitor: str, id_: str, view: str, controls: Mapping[str, Any]) -> tuple[Run, bool]:
        """(the run of this id, whether it was started now). One that is there already, or was stopped before it came,
        is left as it is. Raises UnknownRunError if the id is taken by another visitor, RefusedRunError, and ValueError
        for a view that is not there.
        """
        with self._lock:
            if (run := self._runs.get(id_)) is not None:
                return self.get(visitor, id_), False
            if view not in self.views:
                raise ValueError(f"There is no view {view[:40]!r}; this page has {', '.join(sorted(self.views))}.")
            self._make_room(visitor)
            now = self.clock()
            run = Run(id_, visitor, begun=now, deadline=now + self.limits.unheard)
            self._runs[id_] = run
        pulling = threading.Thread(
            target=self._pull, args=(run, self.views[view], controls), name=f"run-{id_[:8]}", daemon=True
        )
        pulling.start()
        return run, True

    def get(self, visitor: str, id_: str) -> Run:
        """A run of this visitor. Raises UnknownRunError."""
        run = self._runs.get(id_)
        if run is None or run.visitor != visitor:
            raise UnknownRunError(id_)
        return run

    def stop(self, visitor: str, id_: str) -> Run:
        """Stops a run; one that has not come yet will be stopped before it begins. Raises UnknownRunError for that of
        another visitor, RefusedRunError.
        """
        with self._lock:
            if id_ not in self._runs:
                self._forget_some(visitor)
                self._runs[id_] = Run(id_, visitor, "stopped", ended=self.clock())
            run = self.get(visitor, id_)
        self._ask_to_stop(run, "stopped", "")
        return run

    def leave(self, visitor: str, id_: str) -> Run:
        """The page of a run is being closed: it is stopped soon unless somebody follows it by then.

        A page that is loaded anew says good-bye as well, but only after the visitor has asked for it again, while the
        run was under way. On a slow machine it takes many seconds to be there.
        """
        run = self.get(visitor, id_)
        with run.lock:
            run.deadline = self.clock() + self._patience(run, self.limits.left)
        return run

    def _patience(self, run: Run, otherwise: float) -> float:
        """How long a run waits for a listener: longer where its visitor has asked for the page since it began."""
        opened = self._opened.get(run.visitor, -math.inf)
        comes_back = opened >= run.begun and self.clock() - opened <= self.limits.returning
        return self.limits.returning if comes_back else otherwise

    def come_back(self, visitor: str) -> None:
        """A visitor asks for the page: runs that were about to be stopped wait for its listener."""
        now = self.clock()
        with self._lock:
            self._opened[visitor] = now
            mine = [run for run in self._runs.values() if run.visitor == visitor and run.outcome is None]
        for run in mine:
            with run.lock:
                if run.deadline is not None:
                    run.deadline = max(run.deadline, now + self.limits.returning)

    async def follow(self, run: Run, after: int | None = None) -> AsyncGenerator[Update]:
        """What a run shows: a snapshot, then what changes, then its end. A slow listener misses states in between.

        after: the version that the listener has; if it is still known, what follows goes on from there.
        """
        loop, news = asyncio.get_running_loop(), asyncio.Event()

        def listener() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(news.set)

        with run.lock:
            run.listeners.add(listener)
            run.deadline = None
            known = None if after is None else run.sent.get(after)
        try:
            version = after if known is not None else -1
            while True:
                news.clear()
                now, parts, outcome = run.snapshot()
                if known is None:
                    yield Update("snapshot", now, {"parts": parts})
                elif now != version:
                    yield Update("delta", now, {"parts": parts_patch(known, parts)})
                known, version = parts, now
                if outcome is not None:
                    yield Update("end", version, {"outcome": outcome, "message": run.message})
                    return
                while not news.is_set():
                    try:
                        # not wait_for, which can lose a cancellation that comes together with news (Python 3.11)
                        async with asyncio.timeout(HEARTBEAT_SECONDS):
                            await news.wait()
                    except TimeoutError:
                        yield Update("beat", version)
        finally:
            with run.lock:
                run.listeners.discard(listener)
                if not run.listeners and run.outcome is None:
                    now = self.clock()
                    if run.deadline is None or run.deadline < now:  # else its page has said good-bye
                        run.deadline = now + self._patience(run, self.limits.orphan)

    # looking after them

    def open(self) -> None:
        """Begins to look for runs that nobody follows and for those that are old."""
        threading.Thread(target=self._look_after, name="runs", daemon=True).start()

    def tick(self) -> None:
        """Stops runs that nobody follows any more or that show too much, and forgets old ones."""
        now = self.clock()
        with self._lock:
            runs = list(self._runs.values())
            self._opened = {who: when for who, when in self._opened.items() if now - when <= self.limits.returning}
        for run in runs:
            if not run.listeners and run.deadline is not None and run.deadline <= now:
                self._ask_to_stop(run, "lost", UNHEARD)
        with self._lock:
            for run in [r for r in runs if r.outcome is not None and now - r.ended > self.limits.seconds]:
                self._forget(run)
            finished = [r for r in self._runs.values() if r.outcome is not None]
            surplus = sum(r.bytes for r in self._runs.values()) - self.limits.bytes
            for run in finished:  # the oldest first
                if surplus <= 0:
                    break
                surplus -= run.bytes
                self._forget(run)

    def close(self, seconds: float = 2.0) -> None:
        """Refuses new runs, stops those under way, and waits a moment for their listeners to hear of it."""
        self._closing.set()
        with self._lock:
            runs = list(self._runs.values())
        for run in runs:
            self._ask_to_stop(run, "stopped", "The server is shutting down; what was written up to here stays.")
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and any(run.listeners or run.outcome is None for run in runs):
            time.sleep(0.02)

    def numbers(self) -> dict[str, int]:
        """How many runs are under way, and how many are kept."""
        with self._lock:
            return {"active": self._active(), "kept": len(self._runs)}

    def _look_after(self) -> None:
        while not self._closing.wait(TICK_SECONDS):
            self.tick()

    def _active(self, visitor: str | None = None) -> int:
        return sum(r.outcome is None and (visitor is None or r.visitor == visitor) for r in self._runs.values())

    def _make_room(self, visitor: str) -> None:
        """Called with the lock. Raises RefusedRunError."""
        if self._closing.is_set():
            raise RefusedRunError("The server is shutting down.", None)
        if self._active(visitor) >= self.limits.of_visitor:
            raise RefusedRunError(f"You have {self.limits.of_visitor} runs under way: stop one, or wait for its end.")
        if self._active() >= self.limits.active:
            raise RefusedRunError(f"There are {self.limits.active} runs under way. Try again in a moment.")
        self._forget_some(visitor)

    def _forget_some(self, visitor: str) -> None:
        """Makes room for one more run of a visitor, whose own finished runs go first. Raises RefusedRunError."""
        finished = [run for run in self._runs.values() if run.outcome is not None]
        mine = [run for run in finished if run.visitor == visitor]
        if len(mine) >= self.limits.kept_of_visitor:
            self._forget(mine[0])
        elif len(self._runs) >= self.limits.kept:
            if not finished:
                raise RefusedRunError(f"There are {self.limits.kept} runs under way. Try again in a moment.")
            self._forget(finished[0])

    def _forget(self, run: Run) -> None:
        self._runs.pop(run.id, None)

    def _ask_to_stop(self, run: Run, outcome: Outcome, why: str) -> None:
        with run.lock:
            if run.outcome is None and run.stop is None:
                run.stop, run.why = outcome, why

    def _pull(self, run: Run, view: View, controls: Mapping[str, Any]) -> None:
        """Runs a view to its end, in the thread of its run."""
        outcome: Outcome = "error"
        message = ""
        try:
            if self._frames(run, view, controls):
                outcome = "done"
            else:
                outcome, message = run.stop or "stopped", run.why
        except ValueError as error:
            message = str(error)
        except Exception as error:
            message = self.explain(error)
        run.bytes = _size(run.parts)
        run.end(outcome, message, self.clock())

    def _frames(self, run: Run, view: View, controls: Mapping[str, Any]) -> bool:
        """Shows the frames of a view; whether it came to its end by itself."""
        frames, measured = iter(view(RunContext(run), controls)), self.clock()
        try:
            while run.stop is None:
                frame = next(frames, None)
                if frame is None:
                    return True
                run.show(frame)
                if self.clock() - measured > MEASURE_SECONDS:
                    measured, run.bytes = self.clock(), _size(run.parts)
                    if run.bytes > self.limits.run_bytes:
                        raise ValueError(f"The run shows more than {self.limits.run_bytes >> 20} MB: it was stopped.")
            return False
        finally:
            if hasattr(frames, "close"):
                frames.close()


def _size(parts: Mapping[str, Any]) -> int:
    """Bytes of parts, about, as they are sent."""
    return len(json.dumps(parts, ensure_ascii=False, separators=(",", ":")))


def _explain(error: Exception) -> str:
    logging.getLogger(__name__).error("a run failed", exc_info=error)
    return FAILED.format(type(error).__name__)

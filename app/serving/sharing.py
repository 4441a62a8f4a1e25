"""Sharing: several runs alive at once on one resident model, a step of each in turn, first come first served.

One thread does all work on the model. What waits for it stands in one line of turns: a turn is one step of a run, so
that a short request is done long before a long one that came first. Requests of "generate" whose flow is the same share
a batch (see coladlm/shared_run.py), and a batch takes one turn for all of them. The model is an argument of a request,
so that another one can take its place while old requests end.
"""

from __future__ import annotations

import collections
import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal

from coladlm import ColaDLM
from coladlm.events import BlockDone, Step
from coladlm.recipe import Recipe
from coladlm.run import plans, run
from coladlm.shared_run import Group, SharedRun

from .counts import Counts
from .requests import BusyError, ClosingError, Events, Request, Waiting

FRAME_SECONDS = 0.05  # between two previews for one visitor
AHEAD = 32  # events that a batch is ahead of a visitor who is told every step
PATIENCE = 5.0  # seconds that it waits for such a visitor to take one
LONG = 512  # tokens of prompt and answer from which on a request shares with long ones alone
FIRST_GUESS = 5.0  # seconds of a request, before any has come to its end

Steps = Literal["all", "some", "none"]


class SlowError(ValueError):
    """A visitor who wanted every step does not take them."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """running: requests that are worked on at once. waiting: in the line behind them. per_visitor: of one visitor, in
    both together, 0 for no limit. batch: sequences that share a batch at most.
    """

    running: int = 16
    waiting: int = 32
    per_visitor: int = 8
    batch: int = 16


class Sharing:
    """The room in which all requests for models meet. `run`, `alone` and `call` may be called from any thread."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits, self.counts = limits or Limits(), Counts()
        self._lock = threading.RLock()
        self._turn = threading.Condition(self._lock)
        self._line: collections.deque[Request] = collections.deque()
        self._running: dict[Request, None] = {}
        self._ready: collections.deque[Any] = collections.deque()  # whose turn it is, first in front
        self._batches: dict[Any, list[_Batch]] = {}
        self._thread: threading.Thread | None = None
        self._closing = self._stopped = False
        self._mean: float | None = None  # seconds that a request holds its place

    # asking

    def run(self, model: ColaDLM, recipe: Recipe, visitor: str = "", steps: Steps = "all") -> Events:
        """The events of a recipe. steps: of "generate", whether to tell every Step, some of them (one in FRAME_SECONDS
        where the visitor keeps up) or none; their `preview` is read already and may be asked for at any time.

        Raises BusyError at once where there is no room. What is wrong with the recipe is raised by the iterator.
        """
        if recipe.operation != "generate":
            return self.alone(lambda: run(model, recipe), visitor, recipe.operation)
        return self._enter(recipe.operation, visitor, lambda request: self._batched(request, model, recipe, steps))

    def alone(self, start: Callable[[], Iterator[Any]], visitor: str = "", name: str = "run") -> Events:
        """Every event of `start()`, which is called and iterated in turns of its own.

        The run stands still until its visitor asks for the next event, so that `Step.preview` can be asked for.
        Raises BusyError.
        """
        return self._enter(name, visitor, lambda request: _Alone(self, request, start))

    def call(self, function: Callable[[], Any], visitor: str = "", name: str = "call") -> Any:
        """What `function()` returns, called in one turn. Raises BusyError, and whatever it raises."""

        def once() -> Iterator[Any]:
            yield _Value(function())

        with self.alone(once, visitor, name) as events:
            for event in events:
                if isinstance(event, _Value):
                    return event.value
        raise ClosingError

    def _enter(self, name: str, visitor: str, place: Callable[[Request], Any]) -> Events:
        with self._lock:
            if self._closing:
                raise ClosingError
            mine = sum(r.visitor == visitor for r in (*self._running, *self._line)) if visitor else 0
            if self.limits.per_visitor and mine >= self.limits.per_visitor:
                self.counts.refused("visitor")
                raise BusyError(f"You have {_counted(mine, 'request')} under way, expected fewer than "
                                f"{self.limits.per_visitor}: wait for one to end, or stop it.")  # fmt: skip
            if len(self._running) >= self.limits.running and len(self._line) >= self.limits.waiting:
                self.counts.refused("line")
                seconds = self.expected(len(self._line))
                raise BusyError(f"The queue is full: {_counted(len(self._running), 'request')} under way, "
                                f"{len(self._line)} in the line. Try again in about {_rounded(seconds)}.",
                                seconds)  # fmt: skip
            request = Request(name, visitor, self._lock, self._wake, self._leave)
            request.place = place
            self._line.append(request)
            self._admit()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="model", daemon=True)
                self._thread.start()
        return Events(request, self.where)

    # the line

    def where(self, request: Request) -> Waiting:
        """How long a request has to wait."""
        with self._lock:
            if request not in self._line:
                return Waiting(0, 0.0)
            ahead = self._line.index(request)
            return Waiting(ahead + 1, self.expected(ahead))

    def expected(self, ahead: int) -> float:
        """Seconds until a place is free for a request with so many before it in the line, from what requests took."""
        with self._lock:
            now = time.monotonic()
            oldest = max((now - r.begun for r in self._running), default=0.0)
            mean = self._mean if self._mean is not None else max(oldest, FIRST_GUESS)
            return (ahead + 1) * mean / self.limits.running

    def numbers(self) -> dict[str, int]:
        """How many requests are worked on, and how many wait."""
        with self._lock:
            return {"running": len(self._running), "waiting": len(self._line)}

    @property
    def open(self) -> bool:
        """Are new requests let in?"""
        return not self._closing

    def _admit(self) -> None:
        while self._line and len(self._running) < self.limits.running:
            request = self._line.popleft()
            request.begun = time.monotonic()
            self.counts.waited(request.begun - request.asked)
            self._running[request] = None
            request.place = request.place(request)
            self._wake(request)

    def _wake(self, request: Request) -> None:
        with self._lock:
            if request in self._running:
                self._queue(request.place)

    def _queue(self, task: Any) -> None:
        """Gives a task its turn after all that wait for one already. Called with the lock."""
        if task not in self._ready:
            self._ready.append(task)
            self._turn.notify()

    def _leave(self, request: Request) -> None:
        """The visitor has left, or has seen the last event."""
        with self._lock:
            if request.closed:
                return
            request.closed = True
            request.changed.notify_all()
            if request in self._line:
                self._line.remove(request)
                self.counts.ended(request.name, "left", 0.0)
            elif request in self._running:
                self._free(request, "left")
                self._queue(request.place)  # which lets go of what it holds

    def end(self, request: Request, *events: Any, outcome: str = "done") -> None:
        """Delivers the last events of a request and frees its place."""
        with self._lock:
            request.deliver(*events, last=True)
            if request in self._running:
                self._free(request, outcome)

    def _free(self, request: Request, outcome: str) -> None:
        del self._running[request]
        seconds = time.monotonic() - request.begun
        if outcome == "done":
            self._mean = seconds if self._mean is None else 0.8 * self._mean + 0.2 * seconds
        self.counts.ended(request.name, outcome, seconds)
        self._admit()

    def _batched(self, request: Request, model: ColaDLM, recipe: Recipe, steps: Steps) -> _Batch:
        longest = max(map(len, recipe.texts)) / 4 + recipe.settings.max_new_tokens
        key = (id(model), recipe.settings.flow, longest > LONG)
        batches = self._batches.setdefault(key, [])
        count = len(recipe.texts) * recipe.variations
        batch = next((b for b in batches if b.size + count <= self.limits.batch), None)
        if batch is None:
            batch = _Batch(self, key, model, recipe.settings.flow)
            batches.append(batch)
        batch.take_in(request, recipe, steps, count)
        return batch

    def discard(self, batch: _Batch) -> None:
        """Forgets a batch in which nobody is left."""
        with self._lock:
            found = self._batches.get(batch.key, [])
            if batch in found:  # else it had one turn more than it needed
                found.remove(batch)
            if not found:
                self._batches.pop(batch.key, None)

    # working

    def _work(self) -> None:
        """The thread of the model: one turn after the other."""
        while True:
            with self._lock:
                self._turn.wait_for(lambda: self._ready or self._stopped)
                if self._stopped and not self._ready:
                    return
                task = self._ready.popleft()
            begun = time.perf_counter()
            try:
                task.turn()
            except Exception as error:  # a fault of this program: the thread must go on for the others
                outcome_of(error)
                with self._lock:
                    for request in [r for r in self._running if r.place is task]:
                        self.end(request, error, outcome="failed")
            del task  # nothing of a run that has ended stays while there is nothing to do
            self.counts.turn(time.perf_counter() - begun)

    def in_turn(self, function: Callable[[], Any]) -> Any:
        """What a function gives when it is called in the thread of the model, in its turn."""
        if threading.current_thread() is self._thread:
            return function()
        call = _Call(function)
        with self._lock:
            if self._stopped:
                raise ClosingError
            self._queue(call)
        call.done.wait()
        if call.error is not None:
            raise call.error
        return call.result

    def close(self, grace: float = 10.0) -> None:
        """Refuses new requests, lets those that are worked on go on for `grace` seconds, ends the rest and the thread.

        Their visitors get a ClosingError.
        """
        with self._lock:
            self._closing = True
            for request in list(self._line):
                self._line.remove(request)
                request.deliver(ClosingError(), last=True)
        deadline = time.monotonic() + grace
        while self.numbers()["running"] and time.monotonic() < deadline:
            time.sleep(0.02)
        with self._lock:
            for request in list(self._running):
                request.deliver(ClosingError(), last=True)
                self._leave(request)
            self._stopped = True
            self._turn.notify_all()
        if self._thread is not None:
            self._thread.join()


@dataclasses.dataclass(eq=False)
class _Value:
    value: Any


class _Call:
    """A function that waits for a turn."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function, self.done = function, threading.Event()
        self.result, self.error = None, None

    def turn(self) -> None:
        try:
            self.result = self.function()
        except Exception as error:  # raised again where it was asked for
            self.error = error
        self.done.set()


class _Alone:
    """A run of its own. It takes a turn when its visitor wants the next event."""

    def __init__(self, sharing: Sharing, request: Request, start: Callable[[], Iterator[Any]]) -> None:
        self.sharing, self.request, self.start = sharing, request, start
        self.events: Iterator[Any] | None = None

    def turn(self) -> None:
        request = self.request
        if request.closed or request.over:
            self._let_go()
            return
        if request.events:  # not asked for yet
            return
        try:
            if self.events is None:
                self.events = iter(self.start())
            event = next(self.events)
        except StopIteration:
            self.sharing.end(request)
            self._let_go()
        except Exception as error:  # the visitor's to see
            self.sharing.end(request, error, outcome=outcome_of(error))
            self._let_go()
        else:
            self.sharing.counts.wrote(event)
            request.deliver(self._in_turns(event))

    def _in_turns(self, event: Any) -> Any:
        """A step whose preview takes a turn like everything else."""
        if not isinstance(event, Step):
            return event
        decode, sharing = event.decode, self.sharing
        return dataclasses.replace(event, decode=lambda clean: sharing.in_turn(lambda: decode(clean)))

    def _let_go(self) -> None:
        events, self.events = self.events, None
        if hasattr(events, "close"):
            events.close()


class _Batch:
    """Requests that share a batch. It takes turns as long as there are any."""

    def __init__(self, sharing: Sharing, key: Any, model: ColaDLM, settings: Any) -> None:
        self.sharing, self.key, self.model = sharing, key, model
        self.shared = SharedRun(model.sampler, settings)
        self.new: list[tuple[Request, Recipe, Steps]] = []
        self.members: dict[Request, tuple[Group, Steps]] = {}
        self.counts: dict[Request, int] = {}  # sequences of those that it was asked to take

    @property
    def size(self) -> int:
        """Sequences that are in it or about to come. Called with the lock."""
        self.counts = {r: count for r, count in self.counts.items() if not (r.closed or r.over)}
        return sum(self.counts.values())

    def take_in(self, request: Request, recipe: Recipe, steps: Steps, count: int) -> None:
        """Lets a request in with the next block. Called with the lock."""
        self.new.append((request, recipe, steps))
        self.counts[request] = count

    def turn(self) -> None:
        with self.sharing._lock:
            new, self.new = self.new, []
        for request, recipe, steps in new:
            self._join(request, recipe, steps)
        for request in [r for r in self.members if r.closed]:
            self.shared.leave(self.members.pop(request)[0])
        if self._ahead():
            with self.sharing._lock:
                self.sharing._queue(self)
            return
        try:
            there = self.shared.advance() if self.members else []
            for request, (group, steps) in list(self.members.items()):
                if group in there:
                    self._tell(request, group, steps)
        except Exception as error:  # of the whole batch: everybody gets it
            for request in self.members:
                self.sharing.end(request, error, outcome=outcome_of(error))
            self.members.clear()
        with self.sharing._lock:
            if self.members or self.new:
                self.sharing._queue(self)
                return
            self.sharing.discard(self)
        self.shared.close()

    def _ahead(self) -> bool:
        """Is there a visitor for whom the others must wait a moment? Who takes too long is let go."""
        slow = [r for r, (_, steps) in self.members.items() if steps == "all" and len(r.events) >= AHEAD]
        for request in slow:
            if time.monotonic() - request.shown > PATIENCE:
                self.shared.leave(self.members.pop(request)[0])
                error = SlowError(f"The steps were not taken for {PATIENCE:.0f} seconds, expected a visitor who does.")
                self.sharing.end(request, error, outcome="left")
        if slow:
            time.sleep(0.002)
        return any(request in self.members for request in slow)

    def _join(self, request: Request, recipe: Recipe, steps: Steps) -> None:
        if request.closed:
            return
        try:
            group = self.shared.join(plans(self.model, recipe))
        except Exception as error:  # of this request alone
            self.sharing.end(request, error, outcome=outcome_of(error))
        else:
            self.members[request] = (group, steps)

    def _tell(self, request: Request, group: Group, steps: Steps) -> None:
        if isinstance(self.shared.event, BlockDone):
            request.deliver(self.shared.of(group))
            if group.finished:
                result = group.result()
                self.sharing.counts.wrote(result)
                del self.members[request]
                self.sharing.end(request, result)
        elif steps == "all" or (
            steps == "some" and not request.events and time.monotonic() - request.shown >= FRAME_SECONDS
        ):
            request.deliver(self.shared.of(group))
            request.shown = time.monotonic()


def outcome_of(error: Exception) -> str:
    """How a request ended, for the counts: "refused" is the visitor's doing, "failed" is not."""
    if isinstance(error, ValueError):
        return "refused"
    logging.getLogger(__name__).error("a run failed", exc_info=error)
    return "failed"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" + "s" * (count != 1)


def _rounded(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 1.5:
        return "a second"
    return f"{seconds:.0f} seconds" if seconds < 90 else f"{seconds / 60:.0f} minutes"

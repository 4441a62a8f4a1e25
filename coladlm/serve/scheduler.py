"""Scheduler: runs the requests of all visitors on one model thread, a step of each in turn, first come first served.

A turn is one step of a run, so that a short request is done long before a long one that came first. Operations whose
batches have the same flow share them (see `batch.py` and `shared_run.py`), and a shared batch takes one turn for all of
them. Nothing else calls the model: work that is no operation uses `alone`, `call` or `look`. The model is an argument
of a request, so that it can be replaced while old requests end.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from ..batch import OperationRun
from ..model import ColaDLM
from ..recipe import Recipe
from ..run import start
from .batches import Batches
from .far_runs import FarRuns, FarTask
from .metrics import Metrics
from .queue import Limits, Queue
from .requests import ClosingError, Events, Request
from .tasks import AloneTask, OperationTask, Steps
from .turns import Turns


class Scheduler:
    """The one owner of the model thread of a server. All methods may be called from any thread.

    Requests raise BusyError at once where the queue is full, and ClosingError where the server is shutting down.
    """

    def __init__(self, limits: Limits | None = None, far: FarRuns | None = None) -> None:
        """far: what runs recipes in place of the thread here; all else is still called in it."""
        self.far = far
        self.metrics = Metrics()
        self._lock = threading.RLock()
        self.turns = Turns(self._lock, self.metrics)
        self.queue = Queue(limits or Limits(), self.metrics, self._lock, self._wake)
        self.batches = Batches(self.turns, self.queue.limits.batch, self.metrics)
        self._looking = threading.Lock()

    # requests

    def run(self, model: ColaDLM, recipe: Recipe, visitor: str = "", steps: Steps = "all",
            logits: bool = True, wait: float = 0.0) -> Events:  # fmt: skip
        """The events of a recipe (see `operate`). What is wrong with the recipe is raised by the iterator.

        logits: whether those of finished blocks are wanted; left out, they need not cross to another process.
        wait: seconds that an event may wait there for others, to cross with them.
        """
        far = self.far
        if far is not None and model is far.model:
            return self.elsewhere(lambda: far.events(recipe, steps, logits, wait), visitor, recipe.operation)
        return self.operate(model, lambda: start(model, recipe), visitor, recipe.operation, steps)

    def operate(self, model: ColaDLM, begin: Callable[[], OperationRun], visitor: str = "", name: str = "run",
                steps: Steps = "all") -> Events:  # fmt: skip
        """The events of the operation that `begin()` gives; its batches are shared with those of others.

        steps: "all" delivers every Step, and the batch waits for a visitor who does not read them; "drafts" a Draft in
        place of each, less those for which the batch would have to wait; "some" the first Step at once and then as many
        as the visitor reads and the budget of the batch allows (see PreviewBudget), which does not bind "all" and
        "drafts"; "none" no Step. The `preview` of a delivered one is computed, or under way on a GPU, and may be called
        at any time. Steps that are not "all" need not tell the two velocities behind a guided one.
        """
        return self._enter(name, visitor, lambda request: OperationTask(self, request, model, begin, steps))

    def alone(self, begin: Callable[[], Iterator[Any]], visitor: str = "", name: str = "run") -> Events:
        """Every event of `begin()`, which is called and iterated in turns of its own.

        The run waits until its visitor wants the next event, so that `Step.preview` can be called.
        """
        return self._enter(name, visitor, lambda request: AloneTask(self, request, begin))

    def elsewhere(self, begin: Callable[[], Iterator[Any]], visitor: str = "", name: str = "run") -> Events:
        """Every event of `begin()` but None, iterated in a thread of its own: its work is done in another process."""
        return self._enter(name, visitor, lambda request: FarTask(self, request, begin))

    def call(self, function: Callable[[], Any], visitor: str = "", name: str = "call") -> Any:
        """What `function()` returns, called in one turn. Raises whatever it raises."""

        def once() -> Iterator[Any]:
            yield _Value(function())

        with self.alone(once, visitor, name) as events:
            for event in events:
                if isinstance(event, _Value):
                    return event.value
        raise ClosingError

    def look(self, function: Callable[[], Any]) -> Any:
        """What `function()` returns: a turn without a place in the queue, for reading what is there already.

        One look at a time, so that many of them take every second turn at most. Raises whatever `function` raises.
        """
        if self.turns.inside:
            return function()
        with self._looking:
            return self.turns.call(function)

    def _enter(self, name: str, visitor: str, task: Callable[[Request], Any]) -> Events:
        request = Request(name, visitor, self._lock, self._wake, self._leave)
        request.task = task(request)
        self.queue.enter(request)
        return Events(request, self.queue.where)

    def _wake(self, request: Request) -> None:
        """Its visitor wants the next event, or it has got a place."""
        if self.queue.is_running(request):
            self.turns.add(request.task)

    def _leave(self, request: Request) -> None:
        """Its visitor has left, or has seen the last event."""
        if self.queue.leave(request):
            self.turns.add(request.task)  # which frees what it holds

    # the server

    @property
    def open(self) -> bool:
        """Are new requests admitted?"""
        return not self.queue.closing

    def numbers(self) -> dict[str, int]:
        """How many requests are worked on, and how many wait."""
        return self.queue.numbers()

    def close(self, grace: float = 10.0) -> None:
        """Refuses new requests, gives the running ones `grace` seconds to finish, then ends them and the thread.

        Their visitors get a ClosingError.
        """
        self.queue.refuse_all()
        deadline = time.monotonic() + grace
        while self.numbers()["running"] and time.monotonic() < deadline:
            time.sleep(0.02)
        for request in self.queue.all_running():
            request.deliver(ClosingError(), last=True)
            self._leave(request)
        self.turns.stop()


@dataclasses.dataclass(eq=False)
class _Value:
    value: Any

"""Runs that another process works on: they take a place in the queue here, and no turn on the model of this process."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ..model import ColaDLM
from ..recipe import Recipe
from ..sampling.events import Finished, Step
from .drafts import Draft
from .requests import Request
from .tasks import Steps, outcome_of

if TYPE_CHECKING:
    from .scheduler import Scheduler

AHEAD = 32  # events that lie here for a visitor before the next one is fetched


@dataclasses.dataclass(frozen=True)
class FarRuns:
    """Where a scheduler's runs are worked on.

    model: recipes on this one go there; what is asked of any other runs here. events: (recipe, steps, logits, wait) ->
    the events, None among them as signs of life; see `Scheduler.run`. The iterator is closed where a visitor leaves, by
    the thread that reads it.
    """

    model: ColaDLM
    events: Callable[[Recipe, Steps, bool, float], Iterator[Any]]


class FarTask:
    """A run on another process: a thread of its own reads its events."""

    def __init__(self, scheduler: Scheduler, request: Request, begin: Callable[[], Iterator[Any]]) -> None:
        self.scheduler, self.request, self.begin = scheduler, request, begin
        self._thread: threading.Thread | None = None

    def turn(self) -> None:
        """Begins the thread. All other turns are those of a visitor who wants more, which the thread knows."""
        if self._thread is None and not self.request.closed:
            self._thread = threading.Thread(target=self._read, name="far-run", daemon=True)
            self._thread.start()

    def fail(self, error: Exception) -> None:
        self.scheduler.queue.end(self.request, error, outcome=outcome_of(error))

    def _read(self) -> None:
        request, queue = self.request, self.scheduler.queue
        try:
            events = self.begin()
            try:
                for event in events:
                    if isinstance(event, Draft) and len(request.events) >= AHEAD:  # nothing waits for these to be read
                        continue
                    while len(request.events) >= AHEAD and not request.closed:
                        time.sleep(0.005)
                    if request.closed or request.over:
                        return
                    self._deliver(event)
                queue.end(request)
            finally:
                if hasattr(events, "close"):
                    events.close()
        except Exception as error:  # the visitor's to see
            self.fail(error)

    def _deliver(self, event: Any) -> None:
        if event is None:
            return
        self.scheduler.metrics.wrote(event)
        if isinstance(event, Step):
            self.request.shown = time.monotonic()
        if isinstance(event, Finished):  # which is always the last
            self.scheduler.queue.end(self.request, event)
        else:
            self.request.deliver(event)

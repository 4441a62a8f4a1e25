"""Tasks: the work of a request on the model, in turns: an operation whose batches are shared, or a run of its own."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal

from ..batch import Batch, OperationRun
from ..model import ColaDLM
from ..sampling.events import Event, Finished, Step
from .drafts import UNREAD, draft_of
from .requests import Request

if TYPE_CHECKING:
    from .batches import SharedBatch
    from .scheduler import Scheduler

Steps = Literal["all", "drafts", "some", "none"]


class OperationTask:
    """An operation: its own work takes turns of its own, its batches those of the batches that they have joined."""

    def __init__(self, scheduler: Scheduler, request: Request, model: ColaDLM, begin: Callable[[], OperationRun],
                 steps: Steps) -> None:  # fmt: skip
        self.scheduler, self.request, self.model, self.begin, self.steps = scheduler, request, model, begin, steps
        self.shares = False  # has it ever shared a batch with another one?
        self._operation: OperationRun | None = None
        self._batch: Batch | None = None
        self._joined: SharedBatch | None = None
        self._answer: Event | None = None  # what the operation is sent next
        self._delivered_step = False  # of this batch

    def turn(self) -> None:
        if self.request.closed or self.request.over:
            self.let_go()
        elif self._joined is None:  # else its batch has turns
            answer, self._answer = self._answer, None
            item = self._next(answer)
            if item is not None and self._handle(item):
                self.scheduler.turns.add(self)

    def take(self, event: Event) -> None:
        """Takes an event of the batch: delivers what the operation makes of it until it wants the next one."""
        item = self._next(event)
        while item is not None and item is not self._batch:
            item = self._next(None) if self._handle(item) else None

    def finish(self, finished: Finished) -> None:
        """Takes the end of the batch. Reading the result may be much work and gets a turn of its own."""
        self._batch = self._joined = None
        self._answer = finished
        self.scheduler.turns.add(self)

    def wants_step(self, due: bool) -> bool:
        """Is a Step to be delivered now? due: to visitors who want some of them and have read the last one.

        The first of a batch never waits.
        """
        if self.steps == "some":
            return not self._delivered_step or (due and not self.request.events)
        if self.steps == "drafts":  # nobody waits for one who does not read
            return len(self.request.events) < UNREAD
        return self.steps == "all"

    def take_step(self, step: Step) -> None:
        self._delivered_step = True
        self.request.shown = time.monotonic()
        self.take(step)

    def fail(self, error: Exception) -> None:
        self.scheduler.queue.end(self.request, error, outcome=outcome_of(error))
        self.let_go()

    def let_go(self) -> None:
        """Frees all that it holds."""
        joined, self._batch, self._joined = self._joined, None, None
        if joined is not None:
            joined.leave(self)
        operation, self._operation = self._operation, None
        _close(operation)

    def _next(self, answer: Event | None) -> Any:
        """The operation's next event or batch; None where it has ended, and the request with it."""
        try:
            if self._operation is None:
                self._operation = self.begin()
            return next(self._operation) if answer is None else self._operation.send(answer)
        except StopIteration:
            self.scheduler.queue.end(self.request)
            self.let_go()
        except Exception as error:  # the visitor's to see
            self.fail(error)
        return None

    def _handle(self, item: Any) -> bool:
        """Delivers an event or joins a batch; is the operation to go on at once?"""
        if isinstance(item, Batch):
            if self._joined is not None:
                self._joined.leave(self)
            self._batch, self._joined, self._delivered_step = item, None, False
            try:
                self._joined = self.scheduler.batches.join(self, self.model, item)
            except Exception as error:
                self.fail(error)
            return False
        self.scheduler.metrics.wrote(item)
        if isinstance(item, Finished):  # which is always the last
            self.scheduler.queue.end(self.request, item)
            self.let_go()
            return False
        self.request.deliver(draft_of(item) if self.steps == "drafts" and isinstance(item, Step) else item)
        return True


class AloneTask:
    """A run of its own. It takes a turn when its visitor wants the next event."""

    def __init__(self, scheduler: Scheduler, request: Request, begin: Callable[[], Iterator[Any]]) -> None:
        self.scheduler, self.request, self.begin = scheduler, request, begin
        self._events: Iterator[Any] | None = None

    def turn(self) -> None:
        request = self.request
        if request.closed or request.over:
            self._let_go()
            return
        if request.events:  # the visitor has not read the last one yet
            return
        try:
            if self._events is None:
                self._events = iter(self.begin())
            event = next(self._events)
        except StopIteration:
            self.scheduler.queue.end(request)
            self._let_go()
        except Exception as error:  # the visitor's to see
            self.fail(error)
        else:
            self.scheduler.metrics.wrote(event)
            request.deliver(self._with_preview_in_turn(event))

    def fail(self, error: Exception) -> None:
        self.scheduler.queue.end(self.request, error, outcome=outcome_of(error))
        self._let_go()

    def _with_preview_in_turn(self, event: Any) -> Any:
        """A step whose preview takes a turn like everything else."""
        if not isinstance(event, Step):
            return event
        decode, turns = event.decode, self.scheduler.turns
        return dataclasses.replace(event, decode=lambda clean: turns.call(lambda: decode(clean)))

    def _let_go(self) -> None:
        events, self._events = self._events, None
        _close(events)


def _close(iterator: Iterator[Any] | None) -> None:
    if hasattr(iterator, "close"):
        iterator.close()


def outcome_of(error: Exception) -> str:
    """How a request ended, for the metrics: "refused" is the visitor's doing, "failed" is not and goes to the log."""
    if isinstance(error, ValueError):
        return "refused"
    logging.getLogger(__name__).error("a run failed", exc_info=error)
    return "failed"

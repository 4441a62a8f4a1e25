"""Batch: what an operation wants from the sampler. The caller decides which other batches it runs together with.

An operation is a generator of its own events. Where it needs the sampler it yields a Batch and is sent the batch's
next event, again and again, up to Finished:

    while not isinstance(event := (yield batch), Finished):
        yield event

A caller that does not show steps may leave them out; everything else comes, in order. One batch at a time: an
operation that yields another one gives up the one before. `run_alone` drives an operation by itself, `serve.Scheduler`
many of them together, in batches that they share.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from .sampling.events import Event, Finished
from .sampling.plan import Plan
from .settings import SamplerSettings

if TYPE_CHECKING:
    from .model import ColaDLM

OperationRun = Generator[Any, Event | None, None]
"""A running operation: yields its own events and batches; is sent the next event of the batch that it has yielded."""


@dataclasses.dataclass(frozen=True, eq=False)
class Batch:
    """Plans for the sampler, and how to run them: the arguments of `Sampler.run`."""

    plans: Sequence[Plan]
    settings: SamplerSettings
    invert: bool = False
    inverse_iterations: int = 0


def pass_on(batch: Batch) -> OperationRun:
    """The operation that runs a batch and has nothing to add."""
    while not isinstance(event := (yield batch), Finished):
        yield event
    yield event


def run_alone(model: ColaDLM, operation: OperationRun) -> Generator[Any]:
    """The events of an operation, its batches run by themselves. Closing this generator closes the operation."""
    batch, events, answer = None, iter(()), None
    try:
        while True:
            try:
                item = next(operation) if answer is None else operation.send(answer)
            except StopIteration:
                return
            answer = None
            if not isinstance(item, Batch):
                yield item
                continue
            if item is not batch:
                _close(events)
                batch = item
                events = model.run_plans(item.plans, item.settings, item.invert, item.inverse_iterations)
            answer = next(events)
    finally:
        _close(events)
        _close(operation)


def _close(iterator: Iterator[Any]) -> None:
    if hasattr(iterator, "close"):
        iterator.close()

"""Batches under way on the model, and the operations that share them. For the thread of the model alone."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

from ..batch import Batch
from ..hardware.side_stream import side_of
from ..model import ColaDLM
from ..sampling.events import BlockDone
from ..sampling.plan import Plan
from ..sampling.shared_run import Group, SharedRun
from .metrics import Metrics
from .previews import PreviewBudget, clock_of
from .requests import SlowError
from .tasks import OperationTask
from .turns import Turns

AHEAD = 32  # events that a batch may be ahead of a visitor who wants every step
PATIENCE = 5.0  # seconds that it waits for such a visitor to read one
LONG = 512  # tokens of prompt and answer from which on a sequence shares with long ones alone


class Batches:
    """The batches, by what its members have in common: model, flow, direction and roughly the length."""

    def __init__(self, turns: Turns, most: int, metrics: Metrics) -> None:
        """most: sequences of a shared batch, or drafts of them where a block is carried from several noises; a single
        operation may bring more, which then has a batch of its own.
        """
        self.turns, self.most, self.metrics = turns, most, metrics
        self._batches: dict[Any, list[SharedBatch]] = {}

    def join(self, task: OperationTask, model: ColaDLM, batch: Batch) -> SharedBatch:
        """Adds an operation to a batch that is not full, or to a new one, with its next block. Raises PlanError."""
        plans = [dataclasses.replace(plan, settings=plan.settings or batch.settings) for plan in batch.plans]
        longest = max((len(plan.prefix_ids) + plan.pinned_ids.numel() for plan in plans), default=0)
        flow = batch.settings.flow
        key = (id(model), flow, batch.invert, batch.inverse_iterations, longest > LONG)
        most = self.most // model.sampler.noises(flow, batch.invert)
        found = next((b for b in self._batches.get(key, []) if b.size + len(plans) <= most), None)
        shared = found or SharedBatch(
            self, key, model, SharedRun(model.sampler, flow, batch.invert, batch.inverse_iterations)
        )
        shared.join(task, plans)
        if found is None:
            self._batches.setdefault(key, []).append(shared)
        self.turns.add(shared)
        return shared

    def sizes(self) -> list[int]:
        """Sequences in each batch."""
        return [batch.size for found in self._batches.values() for batch in found]

    def discard(self, batch: SharedBatch) -> None:
        """Forgets a batch that is empty."""
        found = self._batches.get(batch.key, [])
        if batch in found:  # otherwise it had one turn more than it needed
            found.remove(batch)
        if not found:
            self._batches.pop(batch.key, None)


class SharedBatch:
    """Operations that share a batch. It takes turns as long as there are any.

    Visitors who want some steps get their previews together, as often as the budget of the batch allows, and the first
    one at once. Visitors who asked for every step ("all"), or for a draft of every step ("drafts"), get all of them: by
    that request they are outside the budget.
    """

    def __init__(self, batches: Batches, key: Any, model: ColaDLM, shared: SharedRun) -> None:
        self.batches, self.key, self.model, self.shared = batches, key, model, shared
        self.members: dict[OperationTask, Group] = {}
        self.budget = PreviewBudget(clock_of(model.device))
        self.side = side_of(model.device)

    @property
    def size(self) -> int:
        """Sequences that are in it or about to come."""
        return sum(len(group.rows) for group in self.members.values())

    def join(self, task: OperationTask, plans: Sequence[Plan]) -> None:
        """Adds an operation, with the next block. Raises PlanError."""
        self.members[task] = self.shared.join(plans, behind=task.steps == "all")  # which records them

    def leave(self, task: OperationTask) -> None:
        """Removes an operation; nothing is computed for it after the step under way."""
        group = self.members.pop(task, None)
        if group is not None and not group.finished:
            self.shared.leave(group)

    def turn(self) -> None:
        for task in [task for task in self.members if task.request.closed]:
            task.let_go()
        if self._ahead():
            self.batches.turns.add(self)
            return
        try:
            with self.budget.work():
                there = self.shared.advance() if self.members else []
            self._count(there)
            self._deliver(there)
        except Exception as error:
            self.fail(error)
        if self.members:
            self.batches.turns.add(self)
        else:
            self.batches.discard(self)
            self.shared.close()

    def fail(self, error: Exception) -> None:
        """An error of the whole batch, which every operation in it gets."""
        for task in list(self.members):
            task.fail(error)

    def _ahead(self) -> bool:
        """Must the others wait for a slow visitor? One that takes too long is dropped."""
        # the steps of a block that was drafted come all together, and are read while the next one is drafted
        most = AHEAD if self.shared.noises == 1 else max(AHEAD, 2 * self.shared.settings.steps)
        slow = [task for task in self.members if task.steps == "all" and len(task.request.events) >= most]
        for task in slow:
            if time.monotonic() - task.request.shown > PATIENCE:
                task.fail(
                    SlowError(f"The steps were not read for {PATIENCE:.0f} seconds, expected a client that reads them.")
                )
        if slow:
            time.sleep(0.002)
        return any(task in self.members for task in slow)

    def _count(self, there: list[Group]) -> None:
        if there:  # not where a long prefix was read
            self.batches.metrics.stepped(sum(len(group.rows) for group in there))
        if len(there) > 1:
            for task, group in self.members.items():
                if group in there and not task.shares:
                    task.shares = True
                    self.batches.metrics.shared(task.request.name)

    def _deliver(self, there: list[Group]) -> None:
        """Hands each operation its part of the latest event."""
        members = [(task, group) for task, group in self.members.items() if group in there]
        if isinstance(self.shared.event, BlockDone):
            for task, group in members:
                task.take(self.shared.of(group))
                if group.finished and self.members.get(task) is group:
                    del self.members[task]
                    task.finish(group.result())
            return
        due = any(task.steps == "some" for task, _ in members) and self.budget.due()
        members = [(task, group) for task, group in members if task.wants_step(due)]
        if not members:
            return
        counted = any(task.steps == "some" for task, _ in members)
        # the budget is kept inside, by the clock of the stream that has the work
        with self.side.work() as work, self.budget.previews(due) if counted else self.budget.work():
            self.shared.read([group for _, group in members], work)
        steps: list[tuple[OperationTask, Any]] = [(task, self.shared.of(group)) for task, group in members]
        for task, step in steps:
            task.take_step(step)

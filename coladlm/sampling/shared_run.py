"""SharedRun: sequences of different people in one batch, which join between blocks and leave between steps.

What shares a batch has the same flow (`SamplerSettings.flow`) and direction; prompt, length, seed and choice of tokens
are each sequence's own (`Plan.settings`). Caches are put together at a join: the histories of a batch are
right-aligned, so that a newcomer's history is copied beside those that are there already. One thread at a time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Sequence
from typing import overload

import torch
from torch import Tensor

from ..networks.layers import KVCache
from ..settings import SamplerSettings
from .events import BlockDone, Event, Finished, Step
from .sampler import Plan, Sampler, _Run
from .tokens import NO_TOKEN


@dataclasses.dataclass(eq=False)
class Group:
    """Sequences that came together, as one visitor asked for them, and what they have come to."""

    plans: list[Plan]
    texts: list[str]
    reasons: list[str]
    token_ids: list[list[int]]
    blocks: int = 0  # that it has written
    finished: bool = False
    left: bool = False

    def result(self) -> Finished:
        """The last event of a group that has finished."""
        return Finished(self.reasons, self.texts, self.token_ids)


class SharedRun:
    """A batch that goes on as long as there are groups in it.

    join(plans) -> Group; then `advance` again and again, and `of(group)` for the group's part of what has happened.
    """

    def __init__(self, sampler: Sampler, settings: SamplerSettings, invert: bool = False,
                 inverse_iterations: int = 0) -> None:  # fmt: skip
        """settings: whose flow all plans have. invert, inverse_iterations: as in `Sampler.run`."""
        self.sampler, self.settings, self.invert, self.iterations = sampler, settings, invert, inverse_iterations
        self.event: Event | None = None
        self._waiting: list[Group] = []
        self._run: _JoinedRun | None = None
        self._events: Generator[Event] | None = None
        self._logits: Tensor | None = None

    def join(self, plans: Sequence[Plan]) -> Group:
        """Takes a group in; it begins with the next block, or in the middle of that if it resumes there.

        Raises PlanError.
        """
        plans = list(plans)
        self.sampler._check(plans, self.settings, self.invert)
        count = len(plans)
        group = Group(plans, [""] * count, ["length"] * count, [[] for _ in plans])
        self._waiting.append(group)
        return group

    def leave(self, group: Group) -> None:
        """Takes a group out; nothing is computed for it after the step under way."""
        group.left = True
        if group in self._waiting:
            self._waiting.remove(group)

    @property
    def rows(self) -> int:
        """Sequences that are written or wait for the next block."""
        writing = [] if self._run is None else [self._run.owners[row] for row in self._run.rows]
        waiting = sum(len(group.plans) for group in self._waiting)
        return waiting + sum(not (group.left or group.finished) for group in writing)

    def advance(self) -> list[Group]:
        """One step of the batch, or the end of a block; returns the groups that it was about (see `of`).

        Nobody is left where the list is empty and `rows` is 0: then the caches are free.
        """
        self._logits = None
        while True:
            self.event = None if self._events is None else next(self._events, None)
            if self.event is not None and not isinstance(self.event, Finished):
                break
            self._run, self._events = None, None
            if not self._waiting:
                return []
            groups, self._waiting = self._waiting, []
            self._run = _JoinedRun(self, groups, self._waiting)
            self._events = self._run.events()
        run = self._under_way
        groups = [group for group in run.present() if not group.left]
        if isinstance(self.event, BlockDone):
            for group in groups:
                run.collect(group)
            return groups
        return [group for group in groups if group.blocks or group.plans[0].first_step <= self.event.index]

    @property
    def _under_way(self) -> _JoinedRun:
        """The run that the latest event is of. Raises RuntimeError where there is none."""
        if self._run is None:
            raise RuntimeError("no run is under way, expected `advance` to have returned groups")
        return self._run

    def of(self, group: Group) -> Step | BlockDone:
        """The group's rows of the latest event. A Step comes with its preview, read once for the whole batch."""
        event, pairs, count = self.event, self._under_way.places(group), len(group.plans)

        @overload
        def mine(x: Tensor) -> Tensor: ...

        @overload
        def mine(x: None) -> None: ...

        def mine(x: Tensor | None) -> Tensor | None:
            if x is None:
                return None
            rows, places = (torch.tensor(part, device=x.device) for part in zip(*pairs, strict=True))
            return x.new_zeros((count, *x.shape[1:])).index_copy_(0, places, x.index_select(0, rows))

        if isinstance(event, BlockDone):
            return BlockDone(group.blocks - 1, mine(event.latents), mine(event.token_ids), mine(event.logprobs),
                             mine(event.logits), list(group.texts), mine(event.active))  # fmt: skip
        if not isinstance(event, Step):
            raise RuntimeError(f"the latest event is {type(event).__name__}, expected a Step or a BlockDone")
        if self._logits is None:
            self._logits = event.preview()
        logits = mine(self._logits)
        return Step(group.blocks, event.index, event.steps, mine(event.start), mine(event.t), mine(event.t_next),
                    mine(event.z), mine(event.velocity), mine(event.conditional), mine(event.unconditional),
                    mine(event.active), lambda clean: logits)  # fmt: skip

    def close(self) -> None:
        """Ends the run and frees its caches."""
        if self._events is not None:
            self._events.close()
        self._run, self._events, self._waiting[:] = None, None, []


class _JoinedRun(_Run):
    """A run whose rows come from groups. owners: of each row's sequence; place: its number in its group."""

    def __init__(self, shared: SharedRun, groups: list[Group], waiting: list[Group]) -> None:
        plans = [plan for group in groups for plan in group.plans]
        super().__init__(shared.sampler, plans, shared.settings, shared.invert, shared.iterations)
        self.shared = shared
        self.owners = [group for group in groups for _ in group.plans]
        self.place = [i for group in groups for i in range(len(group.plans))]
        self.waiting = waiting

    def present(self) -> list[Group]:
        """The groups with a row in the block under way."""
        return list(dict.fromkeys(self.owners[row] for row in self.rows))

    def places(self, group: Group) -> list[tuple[int, int]]:
        """(row of the run, row of the group) of every sequence of a group that the run still knows."""
        return [(row, self.place[row]) for row, owner in enumerate(self.owners) if owner is group]

    def collect(self, group: Group) -> None:
        """Takes down what a group has come to at the end of a block."""
        pairs = self.places(group)
        for row, place in pairs:
            group.texts[place], group.reasons[place] = self.texts[row], self.reasons[row]
            group.token_ids[place] = self.answers[row]
        group.blocks += 1
        group.finished = not any(
            self.reasons[row] != "end" and group.blocks < self.plans[row].blocks for row, _ in pairs
        )

    def goes_on(self, row: int, block: int) -> bool:
        return not self.owners[row].left and super().goes_on(row, block)

    def _between_steps(self, block: int) -> bool:
        if any(self.owners[row].left for row in self.rows):
            stay = [i for i, row in enumerate(self.rows) if not self.owners[row].left]
            self.z = self.z[stay]
            if self._drop_rows([self.rows[i] for i in stay]):
                self._enter(block)
        return bool(self.rows)

    def _between_blocks(self, block: int) -> list[int]:
        rows = super()._between_blocks(block)
        if rows and self.waiting:
            self._forget_the_ended()
            groups, self.waiting[:] = list(self.waiting), []
            self._take_in(groups, block)
        return self.rows

    def _forget_the_ended(self) -> None:
        """Leaves in the lists what the caches still hold: the rows that go on."""
        for name in ("plans", "own", "joined", "answers", "texts", "reasons", "scale_index", "owners", "place"):
            setattr(self, name, [getattr(self, name)[row] for row in self.rows])
        self.padding = self.padding[self.rows]
        self.rows = list(range(len(self.plans)))

    def _take_in(self, groups: list[Group], block: int) -> None:
        """Adds groups whose first block is the one to come."""
        new = _JoinedRun(self.shared, groups, [])
        new._prefill()
        left = [plan.blocks - (block - joined) for plan, joined in zip(self.plans, self.joined, strict=True)]
        room = self.b * max(*left, *(plan.blocks for plan in new.plans))
        for name in ("flow_cache", "decoder_cache", "encoder_cache"):
            mine, theirs = getattr(self, name), getattr(new, name)
            if mine is not None:
                setattr(self, name, _side_by_side(mine, self.position, theirs, new.position, room))
        lengths = torch.cat((self.position - self.padding, new.position - new.padding))
        before = ((self.context, self.position), (new.context, new.position))
        self.position = int(lengths.max())
        self.padding = self.position - lengths
        self.seen = torch.cat((self.seen, new.seen))
        end = self.position * self.ps
        self.context = torch.full((len(lengths), end + room * self.ps), NO_TOKEN, device=self.device)
        rows = self.context.split([len(context) for context, _ in before])
        for joined, (context, position) in zip(rows, before, strict=True):
            kept = min(position * self.ps, end)
            joined[:, end - kept : end] = context[:, position * self.ps - kept : position * self.ps]
        self.joined += [block] * len(new.plans)
        for name in ("plans", "own", "answers", "texts", "reasons", "owners", "place"):
            setattr(self, name, getattr(self, name) + getattr(new, name))
        self.rows = list(range(len(self.plans)))
        self._tabulate()


def _side_by_side(a: KVCache, a_end: int, b: KVCache, b_end: int, room: int) -> KVCache:
    """One cache with the rows of `a` and `b`, filled up to a_end and b_end, and `room` for slots to come."""
    lengths = torch.cat((a_end - a.padding, b_end - b.padding))
    end = int(lengths.max())
    layers, rows, heads, _, head_dim = a.k.shape
    joined = KVCache(layers, heads, head_dim, end + room, end - lengths, a.block_size, a.k.dtype, a.k.device)
    for part, part_end, where in ((a, a_end, slice(0, rows)), (b, b_end, slice(rows, None))):
        kept = min(part_end, end)
        joined.k[:, where, :, end - kept : end] = part.k[:, :, :, part_end - kept : part_end]
        joined.v[:, where, :, end - kept : end] = part.v[:, :, :, part_end - kept : part_end]
    return joined

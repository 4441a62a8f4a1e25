"""SharedRun: sequences of different people in one batch, which join between blocks and leave between steps.

What shares a batch has the same flow (`SamplerSettings.flow`) and direction; prompt, length, seed and choice of tokens
are each sequence's own (`Plan.settings`). One thread at a time.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Generator, Sequence

import torch
from torch import Tensor

from ..hardware.side_stream import SideWork
from ..hardware.transfer import upload
from ..settings import SamplerSettings
from .block_run import Run
from .events import BlockDone, Drafted, Event, Finished, Step
from .history import PREFILL_LATENTS, History, compacted
from .plan import Plan
from .rows import RowState
from .sampler import Sampler


@dataclasses.dataclass(eq=False)
class Group:
    """Sequences of one visitor that joined together."""

    rows: list[RowState]
    history: History | None = None  # of a long prefix, until the group has joined
    blocks: int = 0  # that it has written
    finished: bool = False
    left: bool = False
    behind: bool = True  # is it told the two velocities behind a guided one?

    @property
    def texts(self) -> list[str]:
        """What each sequence has written."""
        return [row.text for row in self.rows]

    @property
    def token_ids(self) -> list[list[int]]:
        """The tokens of these texts."""
        return [row.answer for row in self.rows]

    def leave(self) -> None:
        """Nobody wants the rest of it."""
        self.left = True
        for row in self.rows:
            row.left = True

    def result(self) -> Finished:
        """The last event of a group that has finished."""
        return Finished([row.reason for row in self.rows], self.texts, self.token_ids)


class SharedRun:
    """A batch that goes on as long as there are groups in it.

    join(plans) -> Group; then `advance` again and again, and `of(group)` for the group's part of what has happened.
    """

    def __init__(self, sampler: Sampler, settings: SamplerSettings, invert: bool = False,
                 inverse_iterations: int = 0) -> None:  # fmt: skip
        """settings: whose flow all plans have. invert, inverse_iterations: as in `Sampler.run`."""
        self.sampler, self.settings, self.invert, self.iterations = sampler, settings, invert, inverse_iterations
        self.noises = sampler.noises(settings, invert)
        self.event: Event | None = None
        self._reading: list[Group] = []  # whose prefix is too long for one pass, and has not been read yet
        self._waiting: list[Group] = []
        self._run: _JoinedRun | None = None
        self._events: Generator[Event | Drafted] | None = None
        self._logits: dict[Group, Tensor] = {}  # that have been read at the step under way
        self._work: SideWork | None = None  # as part of which

    def join(self, plans: Sequence[Plan], behind: bool = True) -> Group:
        """Takes a group in; it begins with the next block, or in the middle of that if it resumes there. behind: see
        `Sampler.run`; blocks in which nobody asks for them do without.

        A long prefix is read first, a pass at each `advance`, so that others need not wait for all of it.
        Raises PlanError.
        """
        group = Group(self.sampler.rows(plans, self.settings, self.invert), behind=behind)
        long = max(len(plan.prefix) for plan in plans) > PREFILL_LATENTS
        (self._reading if long else self._waiting).append(group)
        return group

    def leave(self, group: Group) -> None:
        """Takes a group out; nothing is computed for it after the step under way."""
        group.leave()
        for groups in (self._reading, self._waiting):
            if group in groups:
                groups.remove(group)

    @property
    def rows(self) -> int:
        """Sequences that are written or wait for the next block."""
        run = self._run
        written = set() if run is None else set(run.rows)
        groups = [] if run is None else [group for group in run.groups if not (group.left or group.finished)]
        waiting = sum(len(group.rows) for group in (*self._reading, *self._waiting))
        return waiting + sum(row in written for group in groups for row in group.rows)

    def advance(self) -> list[Group]:
        """One step of the batch, or the end of a block; returns the groups that it was about (see `of`).

        Before it, one pass over a long prefix, which may be all there is to do: an empty list. So it is while a block
        is drafted from several noises. With `rows` 0 that means that no group is left; the caches are freed then.
        """
        self._logits, self._work = {}, None
        self._read_prefix()
        while True:
            event = None if self._events is None else next(self._events, None)
            self.event = None if isinstance(event, Drafted) else event
            if isinstance(event, Drafted):
                return []
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
                run.finish_block(group)
            return groups
        return [group for group in groups if group.blocks or group.rows[0].plan.first_step <= self.event.index]

    def _read_prefix(self) -> None:
        """One pass over the prefix of the first group that has a long one; a group whose prefix is read may begin."""
        if not self._reading:
            return
        group = self._reading[0]
        if group.history is None:
            group.history = self.sampler.history(group.rows, self.settings, self.noises)
        group.history.prefill(1)
        if not group.history.unread:
            self._waiting.append(self._reading.pop(0))

    @property
    def _under_way(self) -> _JoinedRun:
        """The run that the latest event is of. Raises RuntimeError where there is none."""
        if self._run is None:
            raise RuntimeError("no run is under way, expected `advance` to have returned groups")
        return self._run

    def read(self, groups: Sequence[Group], work: SideWork | None = None) -> None:
        """Reads the previews of the latest Step for these groups, in one pass, and nothing for the others.

        work: the work beside the steps of which this is a part; who calls a preview then waits for it.
        """
        run = self._under_way
        if work is not None:
            self._work = run.history.side_work = work
        if not isinstance(self.event, Step):
            raise RuntimeError(f"the latest event is {type(self.event).__name__}, expected a Step")
        pairs = [run.places(group) for group in groups]
        logits = run.preview(self.event, [row for found in pairs for row, _ in found])
        first = 0
        for group, found in zip(groups, pairs, strict=True):
            its = [(first + i, place) for i, (_, place) in enumerate(found)]
            self._logits[group] = _Rows(its, len(group.rows), logits.device).own(logits)
            first += len(found)

    def of(self, group: Group) -> Step | BlockDone:
        """The group's rows of the latest event. A Step comes with its preview, which is that of `read`, or read now."""
        event = self.event
        mine = _Rows(self._under_way.places(group), len(group.rows), self.sampler.dit.device)
        if isinstance(event, BlockDone):
            latents, ids, logprobs, active = map(
                mine.of, (event.latents, event.token_ids, event.logprobs, event.active)
            )
            logits = mine.own(event.logits)
            return BlockDone(group.blocks - 1, latents, ids, logprobs, logits, group.texts, active)
        if not isinstance(event, Step):
            raise RuntimeError(f"the latest event is {type(event).__name__}, expected a Step or a BlockDone")
        if group not in self._logits:
            self.read([group])
        start, t, t_next, z, velocity, active = map(
            mine.of, (event.start, event.t, event.t_next, event.z, event.velocity, event.active)
        )
        conditional, unconditional = (
            None if x is None else mine.of(x) for x in (event.conditional, event.unconditional)
        )
        read = functools.partial(_there, self._logits[group], self._work)
        return Step(group.blocks, event.index, event.steps, start, t, t_next, z, velocity, conditional, unconditional,
                    active, read)  # fmt: skip

    def close(self) -> None:
        """Ends the run and frees its caches."""
        if self._events is not None:
            self._events.close()
        self._run, self._events, self._waiting[:], self._reading[:] = None, None, [], []


class _Rows:
    """The rows of a batch that are those of a group."""

    def __init__(self, pairs: Sequence[tuple[int, int]], count: int, device: torch.device) -> None:
        """pairs: (row of the batch, row of the group). count: rows of the group; those that are missing are zero."""
        first = pairs[0][0] if pairs else 0
        self.count, self.part, self.index = count, slice(first, first + count), None
        if pairs != [(first + place, place) for place in range(count)]:
            self.index = torch.tensor(pairs, dtype=torch.long).view(-1, 2).T
            self.there = upload(self.index, device)

    def of(self, x: Tensor) -> Tensor:
        """The rows: where all of them stand together, as usual, a part of x and no copy."""
        if self.index is None:
            return x[self.part]
        rows, places = self.index if x.device.type == "cpu" else self.there
        return x.new_zeros((self.count, *x.shape[1:])).index_copy_(0, places, x.index_select(0, rows))

    def own(self, x: Tensor) -> Tensor:
        """The same without the rest of x in memory, for what is large and may be kept for a while."""
        mine = self.of(x)
        return mine.clone() if len(mine) < len(x) and self.index is None else mine


class _JoinedRun(Run):
    """A run whose rows come from groups. groups: those in its batch. waiting: those that join with the next block."""

    def __init__(self, shared: SharedRun, groups: list[Group], waiting: list[Group]) -> None:
        groups = sorted(groups, key=_has_read)
        rows = [row for group in groups for row in group.rows]
        super().__init__(shared.sampler, rows, shared.settings, shared.invert, shared.iterations)
        self.groups, self.waiting, self.noises = groups, waiting, shared.noises

    def _first_history(self) -> History:
        return self._history_of(self.groups)

    def _history_of(self, groups: Sequence[Group]) -> History:
        """What stands before the first block of these groups, of which those with a history of their own come last."""
        rows = [row for group in groups if group.history is None for row in group.rows]
        histories = [group.history for group in groups if group.history is not None]
        if rows:
            histories.insert(0, self.sampler.history(rows, self.settings, self.noises))
            histories[0].prefill()
        for group in groups:
            group.history = None
        first, *more = histories
        for history in more:
            first.join(history, max(row.blocks_left(row.joined) for group in groups for row in group.rows))
        return first

    def _enter(self, block: int) -> None:
        super()._enter(block)
        self.behind = any(group.behind for group in self.present())

    def present(self) -> list[Group]:
        """The groups with a row in the block under way."""
        written = set(self.rows)
        return [group for group in self.groups if not written.isdisjoint(group.rows)]

    def places(self, group: Group) -> list[tuple[int, int]]:
        """(row of the run, row of the group) of every sequence of a group that the run still knows."""
        places = {row: place for place, row in enumerate(group.rows)}
        return [(i, places[row]) for i, row in enumerate(self.batch) if row in places]

    def finish_block(self, group: Group) -> None:
        """Notes that a group has written a block."""
        group.blocks += 1
        group.finished = not any(row.goes_on(row.joined + group.blocks) for row in group.rows)

    def _between_steps(self, block: int) -> bool:
        stay = compacted([i for i, row in enumerate(self.rows) if not row.left])
        if len(stay) < len(self.rows):
            drafts = self._drafts_of(stay)
            self.z = self.z[upload(torch.tensor(drafts, dtype=torch.long), self.device)]
            if self.settling is not None:
                self.settling.keep(drafts)
            self._keep(stay)
            if stay:
                self._enter(block)
        return bool(self.rows)

    def _between_blocks(self, block: int) -> bool:
        if not super()._between_blocks(block):
            return False
        if self.waiting:
            self.groups = self.present()
            groups, self.waiting[:] = list(self.waiting), []
            self._take_in(groups, block)
        return True

    def _take_in(self, groups: list[Group], block: int) -> None:
        """Adds groups whose first block is the one to come, and forgets the rows that have ended."""
        groups = sorted(groups, key=_has_read)
        new = [row for group in groups for row in group.rows]
        for row in new:
            row.joined = block
        history = self._history_of(groups)
        self.batch = self.rows + new
        self.history.join(history, max(row.blocks_left(block) for row in self.batch))
        self.rows, self.groups = list(self.batch), self.groups + groups
        self.velocity.tabulate(self.rows)


def _there(logits: Tensor, work: SideWork | None, clean: Tensor) -> Tensor:
    """A preview that has been read, as part of this work."""
    if work is not None:
        work.wait(logits)
    return logits


def _has_read(group: Group) -> bool:
    """Has it a history of its own already?"""
    return group.history is not None

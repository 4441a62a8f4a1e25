"""The graph form of a step: a whole solver step, both passes, guidance and all, captured once and replayed.

A graph reads and writes the same memory every time. So everything that a step needs is in static buffers, for a few
sizes of rows and history (buckets). What belongs to the block is copied there before its first step, and a counter on
the device holds the number of the step. A bucket's spare rows compute results that nobody reads. The histories are in
the slots of one cache whose memory never moves (`slot_cache.py`); a longer history uses a larger bucket.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..hardware.transfer import upload
from ..networks.dit import BlockCausalDiT, ModulationTable
from ..networks.layers import angle_dtype
from ..networks.slot_cache import BlockAttention, SlotCache, bucket
from . import flow
from .capture import Capture

if TYPE_CHECKING:
    from .rows import RowState
    from .velocity import BlockVelocity

log = logging.getLogger(__name__)
EVALUATIONS = {"euler": 1, "midpoint": 2, "heun": 2}  # of the velocity in a step
LEAST_HISTORY = 4  # blocks of the smallest bucket
MOST_GRAPHS = 64  # that an engine keeps
MOST_ENGINES = 2  # for other sizes of blocks, that are kept while no run has them


@dataclasses.dataclass(frozen=True)
class Form:
    """What makes one captured step differ from another.

    rows, history: of the bucket. steps: that its buffers have room for. alike: how many axes the times of the
    positions have: 0 where all are the same, 1 where they differ within a block, 2 where rows differ too. in_logits:
    what guidance acts on, else velocities. leads_away: see `BlockVelocity`.
    """

    rows: int
    history: int
    steps: int
    solver: str
    guided: bool
    stochastic: bool
    alike: int
    in_logits: bool
    leads_away: bool


class StepBuffers:
    """The static memory of a block's steps, for so many rows and steps. All of it on the model's device."""

    def __init__(self, dit: BlockCausalDiT, block_size: int, rows: int, steps: int, solver: str) -> None:
        b = block_size
        shape, evaluations = (rows, b, dit.config.txt_in_channels), steps * EVALUATIONS[solver]

        def zeros(*size: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(size, dtype=dtype, device=dit.device)

        # what changes from step to step
        self.counter = zeros(1, dtype=torch.long)
        self.z = zeros(*shape)
        self.out = zeros(5, *shape)  # state before, velocity, conditional, unconditional, state after
        # of the block
        self.grid = zeros(steps + 1, b, 1)
        self.table_rows = zeros(evaluations, b, dtype=torch.long)  # where each nominal time begins in the table
        self.acts = zeros(evaluations, b, 1, dtype=torch.bool)  # does guidance act?
        self.scale, self.scale_index = zeros(rows, b), zeros(rows, b, dtype=torch.long)
        self.guidance = zeros(rows, 1, 1)
        self.rope = dit.rope(torch.zeros(rows, 2 * b, device=dit.device))  # alone, and after the history
        self.share = zeros(dtype=angle_dtype(dit.device))
        self.noise: Tensor | None = None  # see `noise_of_steps`

    def noise_of_steps(self) -> Tensor:
        """(steps, rows, b, d), made when it is first asked for: only stochastic steps have any."""
        if self.noise is None:
            self.noise = self.z.new_zeros(len(self.grid) - 1, *self.z.shape)
        return self.noise


class GraphEngine:
    """Static memory and captured steps for one DiT. Lent to one run at a time; a second one steps eagerly.

    block_size: of the steps, the DiT's own if absent; for steps of other blocks there are engines of their own, see
    `of_blocks`.
    """

    def __init__(self, dit: BlockCausalDiT, capture: Capture, block_size: int | None = None,
                 first: GraphEngine | None = None) -> None:  # fmt: skip
        """first: the engine that this one belongs to."""
        self.dit, self.capture, self.first = dit, capture, first or self
        self.block_size = block_size or dit.config.block_size
        # blocks of the smallest bucket, and as many positions where blocks are smaller than the DiT's own
        self.least_history = LEAST_HISTORY * max(self.block_size, dit.config.block_size)
        self._others: dict[int, GraphEngine] = {}
        self.borrower: object | None = None
        self._broken = False
        self.cache: SlotCache | None = None
        self.table: ModulationTable | None = None
        self._tabulated: ModulationTable | None = None  # of which run
        self._buffers: dict[tuple[int, int, str], StepBuffers] = {}
        self._graphs: dict[Form, StepGraph] = {}

    def of_blocks(self, size: int) -> GraphEngine:
        """The engine for steps of blocks of this size."""
        if size == self.block_size:
            return self
        other = self._others.pop(size, None) or GraphEngine(self.dit, self.capture, size, self)
        self._others[size] = other  # the last one used comes last
        idle = [s for s, engine in self._others.items() if engine.borrower is None and s != size]
        for s in idle[: max(len(self._others) - MOST_ENGINES, 0)]:
            del self._others[s]
        return other

    @property
    def broken(self) -> bool:
        """A capture has failed: with blocks of any size everything goes on eagerly."""
        return self.first._broken

    def lend(self, borrower: object) -> bool:
        """Takes the engine for this run alone, until `give_back`; False where another one has it or none can."""
        if self.broken or self.borrower not in (None, borrower):
            return False
        self.borrower = borrower
        return True

    def give_back(self, borrower: object) -> None:
        if self.borrower is borrower:
            self.borrower = None

    def adopt(self, cache: SlotCache, rows: int) -> SlotCache:
        """The engine's own cache with what this one holds, and room for as much. Growing forgets the graphs."""
        mine, capacity = self.cache, bucket(max(cache.capacity, self.least_history))
        if mine is None or rows > mine.k.shape[1] or capacity > mine.capacity:
            layers, slots, heads, _, head_dim = cache.k.shape
            if mine is not None:
                slots, capacity = max(slots, mine.k.shape[1]), max(capacity, mine.capacity)
            mine = SlotCache(layers, heads, head_dim, bucket(max(slots, rows)), capacity, cache.block_size,
                             cache.k.dtype, cache.k.device)  # fmt: skip
            self.cache = mine
            self.forget()
        if mine is not cache:
            for own, new in ((mine.k, cache.k), (mine.v, cache.v)):
                end = min(own.shape[3], new.shape[3])
                own[:, : cache.rows, :, :end] = new[:, : cache.rows, :, :end]
        mine.rows = cache.rows
        return mine

    def tabulate(self, table: ModulationTable) -> None:
        """The modulations of the run, at their static place."""
        if table is self._tabulated:
            return
        self._tabulated, count = table, len(table.rows)
        if self.table is None or count > len(self.table.rows):
            rows = table.rows.new_zeros(bucket(count), *table.rows.shape[1:])
            self.table = ModulationTable(rows)
            self.forget()
        self.table.rows[:count] = table.rows

    def buffers(self, rows: int, steps: int, solver: str) -> StepBuffers:
        key = (rows, steps, solver)
        if key not in self._buffers:
            self._buffers[key] = StepBuffers(self.dit, self.block_size, *key)
        return self._buffers[key]

    def forget(self) -> None:
        """Frees all captured steps and their memory."""
        self._graphs.clear()
        self._buffers.clear()

    def make_room(self) -> None:
        """Forgets everything once there is too much of it. Between blocks, when nobody holds any of it."""
        if len(self._graphs) >= MOST_GRAPHS:
            self.forget()

    def graph(self, form: Form) -> StepGraph | None:
        """The captured step of this form; captured when it is first asked for. None where that fails: for good, or,
        where there was too little memory, this time.
        """
        if form not in self._graphs:
            try:
                self._graphs[form] = StepGraph(self, form)
            except RuntimeError as error:
                # the end of a capture that has failed is an error, too, and hides the first one
                if any(isinstance(e, torch.OutOfMemoryError) for e in (error, error.__context__)):
                    self.forget()
                    log.warning("There is no memory to capture steps as a graph: a block runs as operators: %s", error)
                else:
                    self.first._broken = True
                    log.warning("Steps cannot be captured as a graph here and run as operators: %s", error)
                return None
        return self._graphs[form]


class StepGraph:
    """One captured step of a form."""

    def __init__(self, engine: GraphEngine, form: Form) -> None:
        if engine.cache is None or engine.table is None:
            raise ValueError("the engine has no cache or no table, expected `adopt` and `tabulate` before")
        self.dit, self.form, self.table, self.block_size = engine.dit, form, engine.table, engine.block_size
        self.buffers = engine.buffers(form.rows, form.steps, form.solver)
        lengths = torch.zeros(form.rows, dtype=torch.long)
        self.attend = BlockAttention(engine.cache, lengths, form.history, form.guided, True, form.rows)
        mask = self.attend.mask_of(lengths, engine.cache.k)
        self.mask = self.attend.mask = mask.expand(form.rows, -1, -1, -1).contiguous()
        if self.dit.pieces is not None:
            _ = self.attend.places  # made once, before the capture
        self.replay = engine.capture(self._step)

    def see(self, lengths: Tensor) -> None:
        """Sets the lengths of the histories, (rows,) on the CPU."""
        padded = torch.zeros(self.form.rows, dtype=torch.long)
        padded[: len(lengths)] = lengths
        self.mask.copy_(self.attend.mask_of(padded, self.mask))

    def _step(self) -> None:
        """The step that the counter says, on the buffers."""
        buffers, form = self.buffers, self.form
        z, scale = buffers.z, buffers.scale[..., None]
        t = buffers.grid.index_select(0, buffers.counter)[0]
        t_next = buffers.grid.index_select(0, buffers.counter + 1)[0]
        evaluations = itertools.count(1)
        v, conditional, unconditional = self._velocity(z, 0)
        mean = flow.SOLVERS[form.solver](lambda z, t: self._velocity(z, next(evaluations))[0], z, v, t, t_next, scale)
        if form.stochastic:
            fresh = buffers.noise_of_steps().index_select(0, buffers.counter)[0]
            times, times_next = (scale * t)[..., 0], (scale * t_next)[..., 0]
            after = flow.stochastic_step(z, mean, times, times_next, buffers.share, fresh)
        else:
            after = flow.advance(z, mean, t, t_next, scale)
        torch.stack((z, v, conditional, unconditional, after), out=buffers.out)
        buffers.z.copy_(after)
        # a capture runs the step where the last block has left the counter, more than once on a GPU: never past the end
        buffers.counter.add_(1).remainder_(form.steps)

    def _velocity(self, z: Tensor, evaluation: int) -> tuple[Tensor, Tensor, Tensor]:
        """(guided) velocity, conditional and unconditional at this evaluation of the step; the last two are the first
        where there is a single pass.
        """
        buffers, form, b = self.buffers, self.form, self.block_size
        place = buffers.counter * EVALUATIONS[form.solver] + evaluation
        index = buffers.table_rows.index_select(0, place)[0]
        halves = 2 if form.guided else 1
        if form.alike == 2:
            index = (index + buffers.scale_index).repeat(1, halves)
        else:
            index = index[0] if form.alike == 0 else index.repeat(halves)
        modulations = self.table.at(index)
        if not form.guided:
            v = self.dit.velocity(z, modulations, buffers.rope[:, b:], self.attend)
            return v, v, v
        evaluate = self.dit.predict if form.in_logits else self.dit.velocity
        both = evaluate(torch.cat((z, z), 1), modulations, buffers.rope, self.attend)
        unconditional, conditional = both.chunk(2, 1)
        guidance = torch.where(buffers.acts.index_select(0, place)[0], buffers.guidance, 1.0)
        if not form.in_logits:
            return flow.guide(conditional, unconditional, guidance), conditional, unconditional
        guided = flow.guide_logits(conditional, unconditional, guidance)
        judge = conditional if form.leads_away else guided
        if evaluation:  # of which nobody is told
            (v,) = self.dit.velocities_of((guided,), z, modulations, plausible=judge)
            return v, v, v
        logits = guided, conditional, unconditional
        v, conditional, unconditional = self.dit.velocities_of(logits, z, modulations, plausible=judge)
        return v, conditional, unconditional


class GraphSteps:
    """The steps of one block of a run, replayed. Made anew when the block or its rows change."""

    def __init__(self, engine: GraphEngine, velocity: BlockVelocity, rows: Sequence[RowState], block: int) -> None:
        self.engine, self.velocity, self.rows, self.block = engine, velocity, rows, block
        settings, count = velocity.settings, len(rows)
        slots = bucket(count)
        engine.make_room()
        history = bucket(max(velocity.longest, engine.least_history))
        alike = int(velocity.by_column) if velocity.one_scale is not None else 2
        self.form = Form(slots, history, bucket(settings.steps), settings.solver, False, settings.stochasticity > 0,
                         alike, velocity.in_logits, velocity.leads_away)  # fmt: skip
        self.buffers = engine.buffers(slots, self.form.steps, settings.solver)
        self.seen: set[Form] = set()
        self.next: Tensor | None = None

    def _load(self) -> None:
        """Copies what belongs to the block into the buffers. Spare rows and steps get the first place of the table, as
        what another run has left there may be past the end of this one.
        """
        velocity, buffers, count, b = self.velocity, self.buffers, len(self.rows), self.engine.block_size
        steps, device = velocity.settings.steps, buffers.z.device
        buffers.grid[: steps + 1].copy_(velocity.grid_times[..., None])
        one = velocity.one_scale or 0  # else each position adds its own
        first = velocity.nominal_rows * len(velocity.scales) + one
        buffers.table_rows.zero_()
        buffers.table_rows[: len(first)] = upload(first, device)
        buffers.acts[: len(first)] = upload(velocity.acts[..., None], device)
        buffers.scale_index.zero_()
        buffers.scale[:count], buffers.scale_index[:count] = velocity.scale, velocity.scale_index
        buffers.guidance.fill_(1.0)
        buffers.guidance[:count] = velocity.guidance
        buffers.rope[:count, :b], buffers.rope[:count, b:] = velocity.alone_rope, velocity.rope
        if self.form.stochastic:
            buffers.share.fill_(velocity.settings.stochasticity)
            # drawn for the block at once, by a counter-based generator (see randomness.py), and uploaded at once
            fresh = torch.stack([row.step_noise(self.block, steps) for row in self.rows], 1)
            buffers.noise_of_steps()[:steps, :count] = upload(fresh, device)

    def __call__(self, z: Tensor, index: int) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None, Tensor] | None:
        """z, velocity, conditional, unconditional (None where one pass is enough) and the state after this step.

        z: (rows, b, d), the state before it. None where nothing can be captured.
        """
        guided = self.velocity.is_guided_at(index)
        form = dataclasses.replace(self.form, guided=guided)
        if not self.seen:
            self._load()  # before a capture, which runs the step on what the buffers hold
        graph = self.engine.graph(form)
        if graph is None:
            return None
        fresh = form not in self.seen
        if fresh:
            graph.see(self.velocity.lengths)
            self.seen.add(form)
        if fresh or z is not self.next:  # a capture has run the step as well
            self.buffers.z[: len(self.rows)].copy_(z)
            self.buffers.counter.fill_(index)
        graph.replay()
        out = self.buffers.out[:, : len(self.rows)].clone()  # the next replay writes over it
        z, v, conditional, unconditional, self.next = out.unbind(0)
        return z, v, conditional if guided else None, unconditional if guided else None, self.next

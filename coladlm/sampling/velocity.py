"""The velocity of one block: the DiT's passes, with and without history, and guidance between them. Eagerly; `graph.py`
has the captured form.

Guidance, dials and pulls combine velocities, or, with `guidance_space` "logits", the logits of an output layer that
names tokens (see `networks/token_output.py`), of which the velocity is made at the end.

The modulations of every time that a run evaluates are tabulated before its first step. A position's time is a nominal
time of the grid times the position's scale (see `flow.py`), so the table is (nominal times) x (scales).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from ..hardware.transfer import upload
from ..networks.dit import BlockCausalDiT, LookedUp, ModulationTable
from ..networks.layers import angle_dtype
from ..networks.slot_cache import LONG_HISTORY, BlockAttention, attention_alone
from ..settings import SamplerSettings
from . import flow
from .contexts import Contexts, contexts_of
from .dial import Dials
from .history import History
from .pull import Pulls
from .rows import RowState


class BlockVelocity:
    """velocity(z, t) for the rows of a block. `tabulate` once for the rows of a run, `enter` once a block.

    grid: steps + 1 columns (b, 1) of nominal times of the run, (1, 1) where the positions of a block do not differ; in
    float32 on the device, as captured steps have them. scale: (rows, b), that of each position of the block.
    step: which one is evaluated, so that nothing is asked of guidance where it does not act.
    """

    def __init__(self, dit: BlockCausalDiT, settings: SamplerSettings, invert: bool) -> None:
        self.dit, self.device, self.settings, self.invert = dit, dit.device, settings, invert
        self.block_size = settings.block_of(dit.config.block_size)
        self.interval = flow.Interval(*settings.guidance_interval)
        self.step = 0
        self.in_logits = settings.guides_logits(self.block_size)
        self.leads_away = settings.guidance > 1  # and what it leads to is judged by what it has no part in
        self.evaluate = dit.predict if self.in_logits else dit.velocity  # gives what is combined
        self.grid = self._grid(settings)
        self.pulls: Pulls | None = None
        self.dials: Dials | None = None
        self.negatives: Contexts | None = None  # what guidance leads away from, of the rows that have it

    def _grid(self, s: SamplerSettings) -> list[Tensor]:
        positions = self.block_size if s.stagger else 1
        rows = flow.staggered_grid(s.time_grid, s.steps, s.time_shift, positions, s.stagger)
        rows = rows[::-1] if self.invert else rows
        evaluated = [flow.evaluation_times(s.solver, times) for times in zip(*rows, strict=True)]
        self.nominal = {t: i for i, t in enumerate(sorted(set(itertools.chain(*evaluated))))}
        self.host_grid = torch.tensor(rows, dtype=torch.float32)  # (steps + 1, b or 1)
        self.grid_times = self.host_grid.to(self.device)
        # of each evaluation, (steps * evaluations, b or 1): the number of its nominal time, and whether guidance acts
        times = [row for t, t_next in itertools.pairwise(rows) for row in flow.times_of_step(s.solver, t, t_next)]
        self.nominal_rows = torch.tensor([[self.nominal[t] for t in row] for row in times])
        self.acts = self.interval.holds(torch.tensor(times, dtype=torch.float32))
        self.guided_steps: list[bool] = self.acts.view(s.steps, -1).any(1).tolist()
        self.by_column = positions > 1
        self.of_steps = [self.nominal[row[0]] for row in rows]  # of the first position
        nominal = torch.tensor(list(self.nominal), dtype=torch.float32, device=self.device)
        # the borders between nominal times, by which that of a position is found
        self.between = (nominal[1:] + nominal[:-1]) / 2
        return list(self.grid_times[..., None])

    def tabulate(self, rows: Sequence[RowState]) -> None:
        """Tabulates the modulations of every time that these rows will evaluate."""
        starts = torch.cat([row.plan.start.flatten() for row in rows]).double()
        if self.invert:  # everything goes all the way to noise, but for what is pinned
            starts = torch.where(starts == 0, starts, flow.NOISE_TIME)
        self.scales, index = torch.unique(starts / flow.NOISE_TIME, return_inverse=True)
        for row, part in zip(rows, index.split([row.plan.start.numel() for row in rows]), strict=True):
            row.scale_index = part.view_as(row.plan.start)
        times = torch.tensor(list(self.nominal), dtype=torch.float64)[:, None] * self.scales
        times = times.flatten().to(self.device, angle_dtype(self.device))
        s = self.settings
        self.table = ModulationTable.of_times(self.dit, times, s.min_p, s.flow_temperature)

    def enter(self, rows: Sequence[RowState], block: int, history: History) -> None:
        """Everything about this block that does not change from step to step. `history` is placed on it."""
        lengths = history.lengths
        self.longest, self.lengths, self.cache = int(lengths.max()), lengths, history.flow_cache
        self.rope = history.flow_rope
        self.alone_rope = self.dit.rope(torch.arange(self.block_size, device=self.device)).expand_as(self.rope)
        index = torch.stack([row.scales(block) for row in rows])
        self.one_scale = int(index[0, 0]) if bool((index == index[0, 0]).all()) else None
        self.scale_index = upload(index, self.device)
        self.host_scale = self.scales[index].float()
        self.scale = upload(self.host_scale, self.device)
        # a sequence without any history has nothing to be guided by, but for a text to be guided away from
        negative = [row.plan.negative is not None for row in rows]
        guidance = [self.settings.guidance if row.has_history(block) or n else 1.0
                    for row, n in zip(rows, negative, strict=True)]  # fmt: skip
        self.is_guided = any(g != 1.0 for g in guidance)
        # where guidance leads away from texts alone, nothing asks for the velocity after nothing
        self.only_negatives = all(n or g == 1.0 for n, g in zip(negative, guidance, strict=True))
        self.guidance = upload(torch.tensor(guidance), self.device)[:, None, None]
        self.starts = self.scale * flow.NOISE_TIME
        self.times = self.scale * self.grid_times[:, None]  # (steps + 1, rows, b), those of the positions
        self._halves: dict[bool, tuple[Tensor, BlockAttention]] = {}
        self._read_other_texts(rows)

    def _read_other_texts(self, rows: Sequence[RowState]) -> None:
        """What the rows are drawn towards, turned between and led away from, read once as long as the rows stay."""
        plans = [(i, row.plan) for i, row in enumerate(rows)]
        pulled = [(i, plan.pull) for i, plan in plans if plan.pull is not None]
        self.pulls = Pulls(self.dit, pulled, self.block_size, self.in_logits, self.pulls) if pulled else None
        if pulled:
            self.attend_alone = attention_alone(self.cache, len(pulled))
        dialled = [(i, plan.dial) for i, plan in plans if plan.dial is not None]
        self.dials = Dials(self.dit, dialled, self.block_size, self.in_logits, self.dials) if dialled else None
        texts = [(i, plan.negative) for i, plan in plans if plan.negative is not None]
        texts = texts if self.is_guided else []
        self.negatives = contexts_of(self.dit, texts, self.block_size, self.in_logits, self.negatives)
        self.drawn_steps = self._steps_between([(i, pull.low, pull.high) for i, pull in pulled])
        self.turned_steps = self._steps_between([(i, dial.low, dial.high) for i, dial in dialled])

    def _steps_between(self, windows: Sequence[tuple[int, float, float]]) -> list[bool]:
        """For each step, whether a time that it may evaluate lies in a window of times, of a position that is not
        pinned. windows: row, low, high.
        """
        if not windows:
            return []
        rows, lows, highs = (torch.tensor(column) for column in zip(*windows, strict=True))
        scale = self.host_scale[rows]
        times = scale * self.host_grid[:, None]  # (steps + 1, windows, b)
        first, last = times[:-1], times[1:]
        meets = (torch.maximum(first, last) >= lows[:, None]) & (torch.minimum(first, last) <= highs[:, None])
        return (meets & (scale > 0)).flatten(1).any(1).tolist()

    def _passes(self, guided: bool) -> tuple[Tensor, BlockAttention]:
        """Rotary factors and attention of the steps of this block; guided: of the unguided half of each row and then
        its guided one, as its slot has them.
        """
        if guided not in self._halves:
            rope = torch.cat((self.alone_rope, self.rope), 1) if guided else self.rope
            in_one = self.device.type != "cpu" or self.longest < LONG_HISTORY
            attend = BlockAttention(self.cache, self.lengths, self.longest, guided, in_one)
            self._halves[guided] = rope, attend
        return self._halves[guided]

    def is_guided_at(self, index: int) -> bool:
        """Does guidance act anywhere in this step?"""
        return self.is_guided and self.guided_steps[index]

    def __call__(self, z: Tensor, t: Tensor, behind: bool = True) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """(guided) velocity with what dials and pulls add, conditional, unconditional; the two are None where a single
        pass is enough. Of a row with a negative prompt the velocity after that is in place of the unconditional one.

        behind: are the two asked for? Where guidance acts on logits they take work of their own, and are None if not.
        """
        guidance = self._guidance(t)
        modulations = self._modulations(t, 1 if guidance is None or self.only_negatives else 2)
        guided, conditional, unconditional, alone = self._guided(z, t, guidance, modulations)
        combined = self._turned_and_drawn(guided, alone, z, t)
        if not self.in_logits:
            return combined, conditional, unconditional
        if conditional is None or unconditional is None:
            return self.dit.velocity_of(combined, z, modulations), None, None
        judge = conditional if self.leads_away else guided
        plausible = judge if combined is guided else judge + (combined - guided)
        if not behind:
            return self.dit.velocities_of((combined,), z, modulations, plausible)[0], None, None
        logits = combined, conditional, unconditional
        velocity, conditional, unconditional = self.dit.velocities_of(logits, z, modulations, plausible)
        return velocity, conditional, unconditional

    def _guided(
        self, z: Tensor, t: Tensor, guidance: Tensor | None, modulations: LookedUp
    ) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
        """What is combined, the two halves of it where guidance acts, and that after nothing where it was asked for."""
        if guidance is None:
            return self.evaluate(z, modulations, *self._passes(False)), None, None, None
        alone: Tensor | None = None
        if self.only_negatives:
            conditional = unconditional = self.evaluate(z, modulations, *self._passes(False))
        else:
            both = self.evaluate(torch.cat((z, z), 1), modulations, *self._passes(True))
            unconditional, conditional = both.chunk(2, 1)
            alone = unconditional
        if self.negatives is not None:
            rows = self.negatives.rows
            after = self.negatives.after(z, self._modulations(t, 1, rows))
            unconditional = unconditional.index_copy(0, rows, after)
        guide = flow.guide_logits if self.in_logits else flow.guide
        return guide(conditional, unconditional, guidance), conditional, unconditional, alone

    def _turned_and_drawn(self, combined: Tensor, alone: Tensor | None, z: Tensor, t: Tensor) -> Tensor:
        """With what dials and pulls add. alone: that of all rows after nothing, where it is known."""
        dials, pulls = self.dials, self.pulls
        if dials is not None and self.turned_steps[self.step]:
            combined = dials.turned(combined, z, self.scale[..., None] * t, self._modulations(t, 1, dials.rows))
        if pulls is None or not self.drawn_steps[self.step]:
            return combined
        modulations = self._modulations(t, 1, pulls.rows)
        if alone is None:
            block = z[pulls.rows]
            after_nothing = self.evaluate(block, modulations, self.alone_rope[: len(block)], self.attend_alone)
        else:
            after_nothing = alone[pulls.rows]
        return pulls.drawn(combined, after_nothing, z, self.scale[..., None] * t, modulations)

    def _modulations(self, t: Tensor, halves: int, rows: Tensor | None = None) -> LookedUp:
        """Of all rows, or of some of them; of each block so many times, one after the other."""
        if self.one_scale is not None and not self.by_column and t is self.grid[self.step]:  # known without a search
            return self.table.at(self.of_steps[self.step] * len(self.scales) + self.one_scale)
        nominal = torch.bucketize(t[:, 0], self.between)  # (b,) or (1,), without waiting for the device
        if self.one_scale is None:
            index = self.scale_index if rows is None else self.scale_index[rows]
            return self.table.at((nominal * len(self.scales) + index).repeat(1, halves))
        index = nominal * len(self.scales) + self.one_scale
        return self.table.at(index.repeat(halves) if self.by_column else index[0])

    def _guidance(self, t: Tensor) -> Tensor | None:
        """The guidance of each position at this time, or None where none acts in this step."""
        # the exact inverse of a step evaluates it at its other end, too, where guidance may act
        if not (self.is_guided if self.invert else self.is_guided_at(self.step)):
            return None
        if self.interval == flow.Interval(0.0, flow.NOISE_TIME):
            return self.guidance
        return torch.where(self.interval.holds(t), self.guidance, 1.0)

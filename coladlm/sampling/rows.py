"""RowState: one sequence of a run, its plan and what it has written so far.

Its part of the caches lies beside those of the other rows, in `history.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection

import torch
from torch import Tensor

from ..settings import SamplerSettings
from . import flow
from .plan import Plan
from .randomness import block_noise, other_noise, step_noise
from .sentences import whole_sentences


@dataclasses.dataclass(eq=False)
class RowState:
    """A sequence while it is written. Methods that take a block count it as the run does.

    settings: its own, whose flow is that of the run. joined: the block of the run that is its first. answer, text:
    what it has written. reason: why it ends, "end" (an end token) or "length". left: nobody wants the rest of it.
    scale_index: (blocks, b), where the scale of each position's time stands in the tables (see `velocity.py`).
    """

    plan: Plan
    settings: SamplerSettings
    joined: int = 0
    answer: list[int] = dataclasses.field(default_factory=list)
    text: str = ""
    reason: str = "length"
    left: bool = False
    scale_index: Tensor = dataclasses.field(init=False)
    _ahead: dict[tuple[int, int], Tensor] = dataclasses.field(init=False, default_factory=dict)  # noises of a block

    def goes_on(self, block: int) -> bool:
        """Does it have this block to write?"""
        return not self.left and self.reason != "end" and self.blocks_left(block) > 0

    def blocks_left(self, block: int) -> int:
        """How many blocks its plan has from this one on."""
        return self.plan.blocks - (block - self.joined)

    def has_history(self, block: int) -> bool:
        """Does anything stand before this block? Guidance needs a history to be guided by."""
        return block > self.joined or len(self.plan.prefix) > 0

    def first_step(self, block: int) -> int:
        """The step with which this block begins: not the first where the row resumes in the middle of it."""
        return self.plan.first_step if block == self.joined else 0

    def key(self, block: int) -> tuple[int, int, int]:
        """What its randomness depends on: its seed, the key of the sequence, the number of the block."""
        return self.settings.seed, self.plan.sequence, self.plan.first_block + block - self.joined

    # its plan for a block

    def source(self, block: int) -> Tensor:
        """(b, d), where the positions start that do not start from noise."""
        return self.plan.source[block - self.joined]

    def noises(self, block: int, count: int) -> Tensor:
        """(count, b, d), the noises of this block: the plan's, again and again, or drawn by the row's key."""
        if self.plan.noise is not None:
            return self.plan.noise[block - self.joined].expand(count, -1, -1)
        drawn = self._ahead.pop((block, 0), None)
        return self._draw(block, count) if drawn is None else drawn

    def step_noise(self, block: int, steps: int) -> Tensor:
        """(steps, b, d), the fresh noise of so many stochastic steps of this block."""
        drawn = self._ahead.pop((block, steps), None)
        return self._draw_steps(block, steps) if drawn is None else drawn

    def draw_ahead(self, block: int, count: int, steps: int) -> None:
        """Draws so many noises of this block, and those of so many stochastic steps of it, while the device is busy
        with the one before it.
        """
        self._ahead.clear()
        if self.plan.noise is None:
            self._ahead[block, 0] = self._draw(block, count)
        if steps:
            self._ahead[block, steps] = self._draw_steps(block, steps)

    def _draw(self, block: int, count: int) -> Tensor:
        key = self.key(block)
        others = [other_noise(*key, number, self._shape) for number in range(1, count)]
        return torch.stack([block_noise(*key, self._shape), *others])

    def _draw_steps(self, block: int, steps: int) -> Tensor:
        return torch.stack([step_noise(*self.key(block), step, self._shape) for step in range(steps)])

    @property
    def _shape(self) -> tuple[int, int]:
        """Of a block: positions and channels."""
        return self.plan.source.shape[1], self.plan.source.shape[2]

    def state(self, block: int) -> Tensor | None:
        """(b, d), where the block stands if the row resumes in the middle of it."""
        return self.plan.state if block == self.joined else None

    def scales(self, block: int) -> Tensor:
        """(b,), where the scale of each position of this block stands in the tables."""
        return self.scale_index[block - self.joined]

    def pinned_ids(self, block: int) -> Tensor:
        """(b * patch_size,), the tokens of pinned positions and -1 elsewhere."""
        return self.plan.pinned_ids[block - self.joined]

    def from_noise(self, block: int) -> Tensor:
        """(b,) bool, the positions that are written from noise alone and carry no given text."""
        return self.plan.start[block - self.joined] == flow.NOISE_TIME

    # its answer

    def extend(self, block: int, ids: list[int], end_ids: Collection[int], read: Callable[[list[int]], str]) -> None:
        """Adds a block's tokens to the answer, up to an end token or its length, and cuts a sentence off that is not
        whole where the settings want it. read: token ids -> text."""
        for token in ids[self.plan.skip :] if block == self.joined else ids:
            if self.settings.stop_at_end and token in end_ids:
                self.reason = "end"
                break
            if len(self.answer) == self.plan.max_new_tokens:
                break
            self.answer.append(token)
        if self.settings.whole_sentences and self.reason == "length" and self.blocks_left(block) == 1:
            self.answer = whole_sentences(self.answer, read)
        self.text = read(self.answer)

"""Dial: the flow of a sequence is turned from one kind of text to another.

Guidance compares the velocity after the text so far with that after nothing, and a pull that after a text of its own
with that after nothing (see `pull.py`). A dial compares the velocities after two texts, the sentences of both ends of a
direction, and adds `strength` times the second less the first: what the two have in common, their form and their
length, cancels. Where guidance is between logits, so is this. Moving the clean estimate along the difference of the
mean latents in place of that was tried too: it costs far more of the text (docs/page.md).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from ..networks.dit import BlockCausalDiT, LookedUp, Modulations
from .contexts import contexts_of
from .flow import NOISE_TIME


@dataclasses.dataclass(frozen=True, eq=False)
class Dial:
    """first, second: (n, d), scaled, whole blocks of the texts at both ends. strength: how far it is turned to the
    second, below 0 to the first. low, high: the times in [0, 1000] between which it acts.
    """

    first: Tensor
    second: Tensor
    strength: float
    low: float = 0.0
    high: float = NOISE_TIME


class Dials:
    """The dials of the rows of a block. dialled: (index of the row, its dial) of those that have one."""

    def __init__(self, dit: BlockCausalDiT, dialled: Sequence[tuple[int, Dial]], block_size: int, in_logits: bool,
                 known: Dials | None = None) -> None:  # fmt: skip
        """block_size: of what is written. in_logits: see `Contexts`. known: the dials of another moment, whose caches
        are taken over where they are of the same texts.
        """
        firsts = [(row, dial.first) for row, dial in dialled]
        seconds = [(row, dial.second) for row, dial in dialled]
        first = contexts_of(dit, firsts, block_size, in_logits, None if known is None else known.first)
        second = contexts_of(dit, seconds, block_size, in_logits, None if known is None else known.second)
        assert first is not None and second is not None  # there is at least one dial
        self.first, self.second, self.rows = first, second, first.rows
        columns = [(dial.strength, dial.low, dial.high) for _, dial in dialled]
        self.strength, self.low, self.high = torch.tensor(columns, device=dit.device).T[..., None, None].unbind(0)

    def turned(self, combined: Tensor, z: Tensor, times: Tensor, modulations: Modulations | LookedUp) -> Tensor:
        """The velocity of the batch, or the logits in its place (see `Contexts`), with what the dials add to it.

        z: (batch, b, d). times: (batch, b, 1), of the positions. modulations: of these rows.
        """
        own = times[self.rows]
        strength = torch.where((own >= self.low) & (own <= self.high), self.strength, 0.0)
        added = strength * (self.second.after(z, modulations) - self.first.after(z, modulations))
        return combined.index_add(0, self.rows, added)

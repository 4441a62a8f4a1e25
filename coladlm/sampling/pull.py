"""Pull: a second text that the flow of a sequence is drawn towards, or away from.

Guidance compares the velocity after the text so far with that after nothing. In the same way a text of its own gives a
direction at every step: the velocity after that text minus that after nothing, and `strength` times it is added
(Liu et al. 2022, arXiv:2206.01714, compose diffusion models so). Where guidance is between logits, so is this.
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
class Pull:
    """latents: (n, d), scaled, whole blocks of the text. strength: how much, below 0 away from it. low, high: the times
    in [0, 1000] between which it acts.
    """

    latents: Tensor
    strength: float
    low: float = 0.0
    high: float = NOISE_TIME


class Pulls:
    """What the rows of a block are drawn towards. pulled: (index of the row, its pull) of those that have one."""

    def __init__(self, dit: BlockCausalDiT, pulled: Sequence[tuple[int, Pull]], block_size: int, in_logits: bool,
                 known: Pulls | None = None) -> None:  # fmt: skip
        """block_size: of what is written. in_logits: see `Contexts`. known: the pulls of another moment, whose caches
        are taken over where they are of the same texts.
        """
        texts = [(row, pull.latents) for row, pull in pulled]
        contexts = contexts_of(dit, texts, block_size, in_logits, None if known is None else known.contexts)
        assert contexts is not None  # there is at least one pull
        self.contexts, self.rows = contexts, contexts.rows
        columns = [(pull.strength, pull.low, pull.high) for _, pull in pulled]
        self.strength, self.low, self.high = torch.tensor(columns, device=dit.device).T[..., None, None].unbind(0)

    def drawn(self, combined: Tensor, alone: Tensor, z: Tensor, times: Tensor,
              modulations: Modulations | LookedUp) -> Tensor:  # fmt: skip
        """The velocity of the batch, or the logits in its place (see `Contexts`), with what the pulls add to it.

        alone: the same of these rows after nothing. z: (batch, b, d). times: (batch, b, 1), of the
        positions. modulations: of these rows.
        """
        own = times[self.rows]
        strength = torch.where((own >= self.low) & (own <= self.high), self.strength, 0.0)
        added = strength * (self.contexts.after(z, modulations) - alone)
        return combined.index_add(0, self.rows, added)

"""Pull: a second text that the flow of a sequence is drawn towards, or away from.

Guidance compares the velocity after the text so far with that after nothing. In the same way a text of its own gives a
direction at every step: the velocity after that text minus that after nothing, and `strength` times it is added
(Liu et al. 2022, arXiv:2206.01714, compose diffusion models so; a negative strength is a negative prompt).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..networks.dit import BlockCausalDiT, LookedUp, Modulations
from ..networks.layers import KVCache
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
    """What the rows of a block are drawn towards. rows: (index of the row, its pull) of those that have one."""

    @torch.inference_mode()
    def __init__(self, dit: BlockCausalDiT, rows: Sequence[tuple[int, Pull]], block_size: int) -> None:
        self.dit, self.pulls = dit, [pull for _, pull in rows]
        self.rows = torch.tensor([row for row, _ in rows], device=dit.device)
        config, lengths = dit.config, torch.tensor([len(pull.latents) for pull in self.pulls])
        end, b, d = int(lengths.max()), block_size, self.pulls[0].latents.shape[1]
        padding = end - lengths
        shape = (config.num_layers, config.heads, config.head_dim, end + b)
        self.cache = KVCache(*shape, padding, b, dit.dtype, dit.device)
        latents = torch.zeros(len(rows), end, d)
        for row, pull in enumerate(self.pulls):
            latents[row, -len(pull.latents) :] = pull.latents
        clean = dit.modulations(torch.zeros(1, device=dit.device)).at(0)
        self.cache.place(0, end)
        dit.hidden(latents.to(dit.device), clean, self._rope(0, end, padding), self.cache)
        self.cache.place(end, end + b)
        self.rope = self._rope(end, end + b, padding)
        columns = [(pull.strength, pull.low, pull.high) for pull in self.pulls]
        self.strength, self.low, self.high = torch.tensor(columns, device=dit.device).T[..., None, None].unbind(0)

    def _rope(self, start: int, end: int, padding: Tensor) -> Tensor:
        positions = (torch.arange(start, end) - padding[:, None]).clamp(min=0)
        return self.dit.rope(positions.to(self.dit.device))

    def drawn(self, velocity: Tensor, alone: Callable[[], Tensor], z: Tensor, times: Tensor,
              modulations: Modulations | LookedUp) -> Tensor:  # fmt: skip
        """`velocity` (batch, b, d) with what the pulls add to it.

        alone: the velocity (rows, b, d) of these rows after nothing. z: (batch, b, d). times: (batch, b, 1), of the
        positions. modulations: of these rows.
        """
        own = times[self.rows]
        strength = torch.where((own >= self.low) & (own <= self.high), self.strength, 0.0)
        hidden = self.dit.hidden(z[self.rows], modulations, self.rope, self.cache)
        added = strength * (self.dit.output(hidden, modulations) - alone())
        return velocity.index_add(0, self.rows, added)

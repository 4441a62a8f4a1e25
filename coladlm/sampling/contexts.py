"""Contexts: texts that are no history of what is written, and the velocity that its blocks would have after them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..networks.dit import BlockCausalDiT, LookedUp, Modulations
from ..networks.slot_cache import BlockAttention, SlotCache


class Contexts:
    """Contexts of some rows of a block, in caches of their own, which nothing is added to.

    texts: (index of the row, latents (n, d), scaled, whole blocks) of those that have one. rows: these indices.
    block_size: of the blocks that are written, and of those in which the texts are read. in_logits: whether logits
    (`BlockCausalDiT.raw_output`) are asked for, else velocities.
    """

    @torch.inference_mode()
    def __init__(self, dit: BlockCausalDiT, texts: Sequence[tuple[int, Tensor]], block_size: int,
                 in_logits: bool = False) -> None:  # fmt: skip
        self.dit, self.texts, self.evaluate = dit, list(texts), dit.predict if in_logits else dit.velocity
        self.rows = torch.tensor([row for row, _ in texts], device=dit.device)
        config, lengths = dit.config, torch.tensor([len(latents) for _, latents in texts])
        end, d = int(lengths.max()), texts[0][1].shape[1]
        read = torch.zeros(len(texts), end, d)
        for i, (_, latents) in enumerate(texts):
            read[i, -len(latents) :] = latents
        positions = torch.arange(end) - (end - lengths)[:, None]
        cache = SlotCache(config.num_layers, config.heads, config.head_dim, len(texts), end, block_size, dit.dtype,
                          dit.device)  # fmt: skip
        cache.place(positions)
        clean = dit.modulations(torch.zeros(1, device=dit.device)).at(0)
        dit.hidden(read.to(dit.device), clean, self._rope(positions.clamp(min=0)), cache)
        self.rope = self._rope(lengths[:, None] + torch.arange(block_size))
        self.attend = BlockAttention(cache, lengths, end, guided=False)

    def _rope(self, positions: Tensor) -> Tensor:
        return self.dit.rope(positions.to(self.dit.device))

    def are(self, texts: Sequence[tuple[int, Tensor]]) -> bool:
        """Are these the contexts of these very texts, at these rows?"""
        return [(row, id(latents)) for row, latents in texts] == [(row, id(latents)) for row, latents in self.texts]

    def after(self, z: Tensor, modulations: Modulations | LookedUp) -> Tensor:
        """The velocity (rows, b, d), or the logits in its place, of the rows that have a context, after it.

        z: (batch, b, d). modulations: of these rows.
        """
        return self.evaluate(z[self.rows], modulations, self.rope, self.attend)


def contexts_of(
    dit: BlockCausalDiT, texts: Sequence[tuple[int, Tensor]], block_size: int, in_logits: bool, known: Contexts | None
) -> Contexts | None:  # fmt: skip
    """The contexts of these texts: those that are known already where they are the same, None without texts."""
    if known is not None and known.are(texts):
        return known
    return Contexts(dit, texts, block_size, in_logits) if texts else None

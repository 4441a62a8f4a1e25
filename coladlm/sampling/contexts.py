"""Contexts: texts that are no history of what is written, and the velocity that its blocks would have after them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..networks.dit import BlockCausalDiT, LookedUp, Modulations
from ..networks.slot_cache import BlockAttention, SlotCache


class ReadText(NamedTuple):
    """A text that has been read. latents: (n, d), scaled, whole blocks. keys, values: (layers, heads, n, c)."""

    latents: Tensor
    keys: Tensor
    values: Tensor


class Contexts:
    """Contexts of some rows of a block, in caches of their own, which nothing is added to. A text that several rows
    have, or that was known before, is not read again.

    texts: (index of the row, latents (n, d), scaled, whole blocks) of those that have one. rows: these indices.
    block_size: of the blocks that are written, and of those in which the texts are read. in_logits: whether what
    `BlockCausalDiT.predict` gives is asked for, else velocities. known: texts that have been read so, by the `id` of
    their latents.
    """

    @torch.inference_mode()
    def __init__(self, dit: BlockCausalDiT, texts: Sequence[tuple[int, Tensor]], block_size: int,
                 in_logits: bool = False, known: Mapping[int, ReadText] | None = None) -> None:  # fmt: skip
        self.dit, self.texts, self.block_size = dit, list(texts), block_size
        self.evaluate = dit.predict if in_logits else dit.velocity
        self.rows = torch.tensor([row for row, _ in texts], device=dit.device)
        self.read: dict[int, ReadText] = {}
        for _, latents in texts:
            if id(latents) not in self.read:
                found = None if known is None else known.get(id(latents))
                self.read[id(latents)] = self._read(latents) if found is None else found
        lengths = torch.tensor([len(latents) for _, latents in texts])
        cache = self._cache(len(texts), int(lengths.max()))
        for row, (_, latents) in enumerate(texts):
            found, own = self.read[id(latents)], slice(cache.lead, cache.lead + len(latents))
            cache.k[:, row, :, own], cache.v[:, row, :, own] = found.keys, found.values
        self.rope = self._rope(lengths[:, None] + torch.arange(block_size))
        self.attend = BlockAttention(cache, lengths, int(lengths.max()), guided=False)

    def _read(self, latents: Tensor) -> ReadText:
        """Reads a text by itself, in one pass."""
        cache, positions = self._cache(1, len(latents)), torch.arange(len(latents))[None]
        cache.place(positions)
        clean = self.dit.modulations(torch.zeros(1, device=self.dit.device)).at(0)
        self.dit.hidden(latents[None].to(self.dit.device), clean, self._rope(positions), cache)
        own = slice(cache.lead, cache.lead + len(latents))
        return ReadText(latents, cache.k[:, 0, :, own], cache.v[:, 0, :, own])

    def _cache(self, rows: int, capacity: int) -> SlotCache:
        c = self.dit.config
        return SlotCache(c.num_layers, c.heads, c.head_dim, rows, capacity, self.block_size, self.dit.dtype,
                         self.dit.device)  # fmt: skip

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
    """The contexts of these texts, None without texts. known: those of another moment of the run, which are taken over
    where they are the same, or else as far as their texts are the same.
    """
    if not texts:
        return None
    if known is not None and known.are(texts):
        return known
    return Contexts(dit, texts, block_size, in_logits, None if known is None else known.read)

"""Texts as whole blocks of tokens and latents, and the space in which latents are moved.

A text that is carried by the sampler fills whole blocks: its tokens, then an end token if it fits, then padding,
which is how texts stand in training. The texts of an interpolation are laid out in the same number of blocks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from ..model import ColaDLM
from ..networks.config import TextVAEConfig
from . import geometry


@dataclasses.dataclass(frozen=True)
class Layout:
    """A text in whole blocks. ids: (blocks * b * patch_size,), of which the first `tokens` are the text, then an end
    token and padding. latents: (blocks * b, d), scaled posterior means, on the CPU.
    """

    ids: Tensor
    latents: Tensor
    tokens: int

    @property
    def text_ids(self) -> list[int]:
        return self.ids[: self.tokens].tolist()


def blocks_for(model: ColaDLM, tokens: int) -> int:
    """How many blocks hold so many tokens; at least one."""
    return max(1, -(-tokens // (model.block_size * model.patch_size)))


@torch.inference_mode()
def lay_out(model: ColaDLM, texts: Sequence[Sequence[int]], blocks: int | None = None,
            closed: bool = True) -> list[Layout]:  # fmt: skip
    """Layouts of token ids, encoded in one pass; in `blocks` blocks each, or each in as many as it needs.

    closed: false for texts that will go on, which have no end token and are padded as a prompt is.
    """
    sizes = [blocks_for(model, len(ids)) if blocks is None else blocks for ids in texts]
    per_block = model.block_size * model.patch_size
    batch = torch.full((len(texts), max(sizes) * per_block), model.pad_id)
    for row, ids in enumerate(texts):
        end = [model.end_ids[0]] if closed else []
        written = [*ids, *end][: sizes[row] * per_block]
        batch[row, : len(written)] = torch.tensor(written, dtype=torch.long)
    latents = model.encode_ids(batch)
    return [
        Layout(batch[row, : size * per_block], latents[row, : size * model.block_size], len(ids))
        for row, (ids, size) in enumerate(zip(texts, sizes, strict=True))
    ]


class LatentSpace:
    """How scaled latents are interpolated, averaged, moved and measured: on the sphere of posterior means, or in flat
    space for a model whose means are not normalised.
    """

    def __init__(self, config: TextVAEConfig):
        self.spherical = config.encoder_last_ln or not config.use_variation
        self.shift, self.factor, self.d = config.shifting_factor, config.scaling_factor, config.latent_dim

    def unscaled(self, z: Tensor) -> Tensor:
        return z / self.factor + self.shift

    def scaled(self, z: Tensor) -> Tensor:
        return (z - self.shift) * self.factor

    def between(self, a: Tensor, b: Tensor, weight: float) -> Tensor:
        """`weight` of the way from latents a to b, (..., d); exactly a at 0 and b at 1."""
        if weight in (0.0, 1.0):
            return (b if weight else a).clone()
        if not self.spherical:
            return (1 - weight) * a + weight * b
        return self.scaled(geometry.slerp(self.unscaled(a), self.unscaled(b), weight))

    def mean(self, points: Tensor, weights: Tensor) -> Tensor:
        """The weighted mean of k latents, (k, ..., d) and (k,) -> (..., d)."""
        if not self.spherical:
            shares = (weights / weights.sum()).to(points)
            return (shares.view(-1, *[1] * (points.ndim - 1)) * points).sum(0)
        return self.scaled(geometry.weighted_mean(self.unscaled(points), weights))

    def push(self, z: Tensor, direction: Tensor, amount: float) -> Tensor:
        """Latents moved by `amount` radii (sqrt(d) unscaled) along an unscaled direction, (..., d)."""
        if amount == 0:
            return z.clone()
        if not self.spherical:
            unit = direction / direction.norm(dim=-1, keepdim=True)
            return z + amount * self.factor * self.d**0.5 * unit.to(z)
        return self.scaled(geometry.push(self.unscaled(z), direction.to(z), amount))

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """Of latents (..., d): the angle in radians on the sphere; in flat space the straight distance in radii."""
        if not self.spherical:
            return (a - b).norm(dim=-1) / abs(self.factor) / self.d**0.5
        return geometry.angle(self.unscaled(a), self.unscaled(b))

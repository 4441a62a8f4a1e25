"""The objective of the text VAE (arXiv:2605.06548, section 2, stage 1), with latents that begin with meaning.

    E[-log p(x | z)] + beta KL(q(z | x) || N(0, I)) + mask_weight L_mask + pull_weight |mean - meaning(x)|^2

z is the posterior mean plus noise of a size drawn for each row: the DiT never hits a latent exactly, so the decoder
has to read what lies near it. Some rows take the posterior's own noise instead, which is what teaches its variance.
"""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..networks.config import TextVAEConfig
from ..networks.text_vae import TextVAE
from .loop import Stage

NOISE_SIZES = (0.0, 0.4, 0.6)  # at which validation decodes


@dataclasses.dataclass(frozen=True)
class VAEObjective:
    beta: float = 1e-3
    noise: float = 0.65  # sizes are drawn uniformly from 0 to this, one a row,
    noise_by_block: float = 0.0  # or one a block in this share of rows
    own_noise_rows: float = 0.15  # share of rows that take the posterior's noise instead
    mask_rows: float = 0.5
    mask_tokens: float = 0.15
    mask_weight: float = 0.5
    pull_weight: float = 0.5
    padded_blocks: float = 0.05  # share of blocks that end in padding, as a prompt's last block does


class VAEStage(Stage):
    """The VAE and what it is trained on: ids (B, n) and a generator in, the loss and its parts out."""

    meaning: Tensor

    def __init__(self, config: TextVAEConfig, meaning: Tensor, pad: int, objective: VAEObjective = VAEObjective()):
        super().__init__()
        self.vae = TextVAE(config)
        self.register_buffer("meaning", meaning, persistent=False)  # (vocab_size, d)
        self.pad, self.objective = pad, objective
        nn.init.normal_(self.vae.encoder.wte.weight, std=0.02 * config.dim**0.5)

    def forward(self, ids: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        o, random = self.objective, _Random(ids, generator)
        ids = self.pad_some_blocks(ids, random)
        masked = random.rows(o.mask_rows)[:, None] & (random.tokens() < o.mask_tokens)
        posterior = self.vae.encode(ids.masked_fill(masked, self.vae.mask_id))
        logvar = posterior.logvar
        if logvar is None:
            raise ValueError("the VAE has no variance, expected one in training")

        size = self.noise_sizes(ids, random)
        size = torch.where(random.rows(o.own_noise_rows)[:, None, None], (0.5 * logvar).exp(), size)
        noise = torch.randn(posterior.mean.shape, generator=generator, device=ids.device)
        z = posterior.mean + size * noise

        logits = self.vae.decode(z).flatten(0, 1)
        cross_entropy = F.cross_entropy(logits, ids.flatten(), reduction="none").view_as(ids)
        weight = torch.where(masked, o.mask_weight, 1.0)
        restored = (weight * cross_entropy).sum() / ids.numel()
        divergence = 0.5 * (posterior.mean.square() + logvar.exp() - 1 - logvar).sum(-1).mean()
        seen = (~masked).float()
        pull = ((posterior.mean - self.meaning[ids]).square().mean(-1) * seen).sum() / seen.sum()
        loss = restored + o.beta * divergence + o.pull_weight * pull
        return {"loss": loss, "restored": restored, "divergence": divergence, "pull": pull}

    def noise_sizes(self, ids: Tensor, random: _Random) -> Tensor:
        """(B, n, 1): the size of the noise on each latent. A block's own size teaches the decoder to read a noisy block
        by the clean ones before it."""
        c = self.vae.config
        n = ids.shape[1] // c.patch_size
        blocks = random.uniform((len(ids), -(-n // c.block_size), 1)).repeat_interleave(c.block_size, 1)[:, :n]
        by_block = random.rows(self.objective.noise_by_block)[:, None, None]
        return self.objective.noise * torch.where(by_block, blocks, blocks[:, :1])

    def pad_some_blocks(self, ids: Tensor, random: _Random) -> Tensor:
        """Replaces a random tail of some blocks by padding, leaving each at least its first token."""
        b = self.vae.config.tokens_per_block
        if b == 1:
            return ids
        blocks = (len(ids), ids.shape[1] // b, 1)
        start = 1 + (random.uniform(blocks) * (b - 1)).long()
        padded = random.uniform(blocks) < self.objective.padded_blocks
        places = torch.arange(b, device=ids.device)
        return ids.masked_fill((padded & (places >= start)).flatten(1), self.pad)

    @torch.no_grad()
    def validate(self, batches: list[Tensor], generator: torch.Generator) -> dict[str, float]:
        """Share of tokens restored at several sizes of noise, of a prompt's left-over beside padding, and the pull."""
        right: dict[str, list[Tensor]] = {}
        b = self.vae.config.tokens_per_block
        for ids in batches:
            real = ids != self.pad
            mean = self.vae.encode(ids).mean
            for size in NOISE_SIZES:
                z = mean + size * torch.randn(mean.shape, generator=generator, device=mean.device)
                found = self.vae.decode(z).argmax(-1) == ids
                right.setdefault(f"accuracy_{size}", []).append(found[real])
            pull = (mean - self.meaning[ids]).square().mean(-1)
            right.setdefault("pull", []).append(pull[real])
            if b > 1:
                cut = ids.clone()
                cut[:, -b + 1 :] = self.pad  # the last block keeps its first token
                found = self.vae.decode(self.vae.encode(cut).mean).argmax(-1) == cut
                right.setdefault("accuracy_left_over", []).append(found[:, -b:].flatten())
        return {name: torch.cat(parts).float().mean().item() for name, parts in right.items()}


class _Random:
    """Uniform draws of the shapes a batch needs, all from one generator."""

    def __init__(self, ids: Tensor, generator: torch.Generator):
        self.shape, self.device, self.generator = ids.shape, ids.device, generator

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        return torch.rand(shape, generator=self.generator, device=self.device)

    def rows(self, share: float) -> Tensor:
        return self.uniform(self.shape[:1]) < share

    def tokens(self) -> Tensor:
        return self.uniform(self.shape)

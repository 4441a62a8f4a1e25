"""The best denoiser that a next-token distribution allows: what a state says of its token, and the text before it.

A latent is all but a function of its token. With mu_k the mean latent of token k and s the spread around it,

    p(k | z_t, text so far)  ~  p(k | text so far) N(z_t; (1 - t) mu_k, t^2 + (1 - t)^2 s^2)
    clean estimate = sum over k of p(k | z_t, text so far) E[z | z_t, k],  velocity = (z_t - clean estimate) / t

It is a measure of what a DiT still lacks (`benchmarks/denoiser.py`), and a teacher: it answers with the mean of what a
single true latent is one draw of, so a step learns more from the same text (for images: Xu et al. 2023, "Stable Target
Field", arXiv:2302.00670).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ..baseline.transformer import Transformer
from ..networks.text_vae import TextVAE


class ExactDenoiser(nn.Module):
    """Frozen. Sees what the DiT sees of a position whose block is finished before it and noise after it."""

    means: Tensor
    unknown: Tensor

    def __init__(self, network: Transformer, start_id: int, means: Tensor, spread: float, shares: Tensor):
        """network: of the next token, of texts that begin after `start_id`. means (V, d), spread: see `token_means`.
        shares (V,): how often each token comes, all that is known of one without the text before it.
        """
        super().__init__()
        self.network, self.start_id, self.spread = network.eval().requires_grad_(False), start_id, spread
        self.register_buffer("means", means)
        self.register_buffer("unknown", shares.clamp(min=1e-9).log())

    @torch.no_grad()
    def prior(self, ids: Tensor) -> Tensor:
        """ids (B, n), texts from their start -> log p of each token given those before it, (B, n, V), float32."""
        return self.next_token(self.read(ids))

    @torch.no_grad()
    def read(self, ids: Tensor) -> Tensor:
        """ids (B, n), texts from their start -> what `next_token` needs to know of those before each, (B, n, dim)."""
        return self.network.hidden(torch.cat((torch.full_like(ids[:, :1], self.start_id), ids[:, :-1]), 1))

    @torch.no_grad()
    def next_token(self, read: Tensor) -> Tensor:
        """(..., dim) -> log p of each token, (..., V), float32."""
        return self.network.logits(read).log_softmax(-1)

    @torch.no_grad()
    def guess(self, state: Tensor, t: Tensor, prior: Tensor) -> tuple[Tensor, Tensor]:
        """States (m, d) at times t (m, 1) in [0, 1], log p of each token (m, V) -> log p given the state too (m, V),
        clean estimates (m, d). float32 whatever products run in around it.
        """
        with torch.autocast(state.device.type, enabled=False):
            variance = t.square() + (1 - t).square() * self.spread
            # log N(state; (1 - t) mean, variance), without what is the same for every token
            fit = (1 - t) * (state @ self.means.T) - (1 - t).square() / 2 * self.means.square().sum(-1)
            posterior = (prior + fit / variance).log_softmax(-1)
            gain = (1 - t) * self.spread / variance  # how far the state tells where around its token's mean it lies
            return posterior, gain * state + (1 - gain * (1 - t)) * (posterior.exp() @ self.means)


@torch.no_grad()
def token_means(vae: TextVAE, pad: int, rows: Iterable[Tensor]) -> tuple[Tensor, float, Tensor]:
    """Of rows of ids (B, n): the mean latent of each token, (V, d), as the DiT knows latents (alone in a block, if it
    is in none); the mean square distance from it per channel; the share of each token, (V,).
    """
    vocab_size, block = vae.config.vocab_size, vae.config.tokens_per_block
    alone = torch.full((vocab_size, block), pad)
    alone[:, 0] = torch.arange(vocab_size)
    means = vae.scale(vae.encode(alone).mean[:, 0]).float()
    sums, squares, counts = torch.zeros_like(means), 0.0, torch.zeros(vocab_size)
    for ids in rows:
        z = vae.scale(vae.encode(ids).mean).float()
        sums.index_add_(0, ids.flatten(), z.flatten(0, 1))
        squares += z.square().mean(-1).sum().item()
        counts.index_add_(0, ids.flatten(), torch.ones(ids.numel()))
    seen = counts > 0
    means[seen] = sums[seen] / counts[seen, None]
    total = counts.sum()
    return means, (squares - (means.square().mean(-1) * counts).sum().item()) / total.item(), counts / total

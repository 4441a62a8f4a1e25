"""A model in int8: which layer keeps how much, and how far the model is from what it was, on a probe of both networks.

By measurement on the bundled model (`benchmarks/rounding.py`, docs/engine.md): an error in the layers that every step
of a block passes through adds up over the steps, guidance multiplies it, and the encoder's is in all that follows; they
keep 12 bits. Nothing follows from the decoder's, so 8 bits do, and so they do for the embedding, which is read once and
not multiplied. The modulations are a quarter of the parameters, and all they ever get is the embedding of a time, which
lies in few directions: in those they are exact, and keep 8 bits.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from .networks.dit import AdaLN, BlockCausalDiT
from .networks.int8 import quantise
from .networks.text_vae import TextVAE
from .sampling.flow import NOISE_TIME

PROBE_BLOCKS = 32
TIMES = 257  # evenly over all, whose embeddings are looked at
DIRECTIONS = 8  # of embeddings of times; with 4 one token in 160 is another, with 8 one in 450


@dataclasses.dataclass(frozen=True)
class Rounding:
    """What int8 changes on a probe of random tokens and latents.

    logits: the mean distance of a logit of the decoder; spread: their standard deviation, to compare it with. tokens:
    the share of places whose likeliest token is the same. velocity: the error of the velocity relative to its size.
    megabytes: of weights, before and after.
    """

    logits: float
    spread: float
    tokens: float
    velocity: float
    megabytes: tuple[float, float]

    def __str__(self) -> str:
        before, after = self.megabytes
        return (f"int8: {after:,.0f} MB of weights in place of {before:,.0f}; logits move by {self.logits:.3f} (they "
                f"spread by {self.spread:.2f}), {100 * self.tokens:.1f} % of likeliest tokens stay, the velocity is "
                f"off by {100 * self.velocity:.2f} %")  # fmt: skip


@torch.inference_mode()
def _probe(vae: TextVAE, dit: BlockCausalDiT) -> tuple[Tensor, Tensor]:
    """Logits of the decoder after the encoder, and velocities, of the same random input each time."""
    draw, config = torch.Generator().manual_seed(0), vae.config
    n = PROBE_BLOCKS * config.block_size
    ids = torch.randint(config.vocab_size, (1, n * config.patch_size), generator=draw)
    noise, t = torch.randn(1, n, config.latent_dim, generator=draw), 1000 * torch.rand(1, n, generator=draw)
    device = dit.device
    clean = vae.scale(vae.encode(ids.to(device)).mean)
    share = (t / 1000).to(device)[..., None]
    velocity = dit((1 - share) * clean + share * noise.to(device), t.to(device))
    return vae.decode(clean).float().cpu(), velocity.float().cpu()


def _megabytes(*networks: torch.nn.Module) -> float:
    tensors = [x for network in networks for x in (*network.parameters(), *network.buffers())]
    return sum(x.numel() * x.element_size() for x in tensors) / 1e6


@torch.no_grad()
def dit_to_int8(dit: BlockCausalDiT, dtype: torch.dtype) -> None:
    """Rounds the weights of a DiT. dtype: that it computes in."""
    embeddings = dit.emb_in(torch.linspace(0, NOISE_TIME, TIMES, device=dit.device)).float()
    directions = torch.linalg.svd(embeddings, full_matrices=False).Vh[:DIRECTIONS].T.contiguous()
    for ada in [module for module in dit.modules() if isinstance(module, AdaLN)]:
        quantise(ada, dtype, with_fine=False, exact=directions)
    quantise(dit, dtype)


def to_int8(vae: TextVAE, dit: BlockCausalDiT, dtype: torch.dtype) -> Rounding:
    """Rounds the weights of both networks and says what that changes. dtype: that they compute in."""
    before = _megabytes(vae, dit)
    logits, velocity = _probe(vae, dit)
    quantise(vae.decoder, dtype, with_fine=False)
    quantise(vae, dtype)
    dit_to_int8(dit, dtype)
    after = _megabytes(vae, dit)
    new_logits, new_velocity = _probe(vae, dit)
    return Rounding(
        float((new_logits - logits).abs().mean()), float(logits.std()),
        float((new_logits.argmax(-1) == logits.argmax(-1)).float().mean()),
        float((new_velocity - velocity).norm() / velocity.norm()), (before, after),
    )  # fmt: skip

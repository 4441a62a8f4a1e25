"""How far a model in int8 is from what it was: both networks on one probe, before and after."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from .networks.compensation import watch
from .networks.dit import BlockCausalDiT
from .networks.int8 import SMALLEST, quantise
from .networks.text_vae import TextVAE
from .sampling.flow import NOISE_TIME
from .sampling.plan import Plan
from .sampling.sampler import Sampler
from .settings import SamplerSettings

PROBE_BLOCKS = 32
# the run in which layers are watched: so many texts of so many blocks
ROWS, BLOCKS = 16, 8
WATCHED_RUN = SamplerSettings(steps=8, guidance=2.0, temperature=1.0, history="reencoded", stop_at_end=False)


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


def _run_watched(vae: TextVAE, dit: BlockCausalDiT) -> None:
    """Lets the networks write a little, from noise alone, while their layers look at what they get."""
    for network in (vae, dit):
        watch(network, SMALLEST)
    b, d, ps = vae.config.block_size, vae.config.latent_dim, vae.config.patch_size
    plans = [Plan(torch.zeros(0, d), torch.zeros(0, dtype=torch.long), torch.zeros(BLOCKS, b, d),
                  torch.full((BLOCKS, b), NOISE_TIME), torch.full((BLOCKS, b * ps), -1), BLOCKS * b * ps, sequence=row)
             for row in range(ROWS)]  # fmt: skip
    for _ in Sampler(vae, dit, lambda _: "", (), 0).run(plans, WATCHED_RUN):
        pass


def to_int8(vae: TextVAE, dit: BlockCausalDiT, dtype: torch.dtype, watched: bool) -> Rounding:
    """Puts the weights of both networks in int8 and says what that changes. dtype: that they compute in.

    watched: whether the rounding makes up for its errors on what the layers get in a short run, which takes seconds
    for a small model and too long for a large one.
    """
    before = _megabytes(vae, dit)
    logits, velocity = _probe(vae, dit)
    if watched:
        _run_watched(vae, dit)
    for network in (vae, dit):
        quantise(network, dtype)
    after = _megabytes(vae, dit)
    new_logits, new_velocity = _probe(vae, dit)
    return Rounding(
        float((new_logits - logits).abs().mean()), float(logits.std()),
        float((new_logits.argmax(-1) == logits.argmax(-1)).float().mean()),
        float((new_velocity - velocity).norm() / velocity.norm()), (before, after),
    )  # fmt: skip

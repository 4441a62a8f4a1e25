"""A text through the VAE and back: its posteriors, and what the decoder reads in them or in any latents."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch

from ..model import ColaDLM
from ..networks.text_vae import Posterior


@dataclasses.dataclass(frozen=True)
class Posteriors:
    """The posteriors of a text. ids: its tokens. mean, std: (latents, d), unscaled; std None for a VAE without one."""

    ids: list[int]
    mean: np.ndarray
    std: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class ReadBack:
    """What the decoder reads of a text, a value for each of its tokens.

    read: the likeliest tokens at the means of the posteriors. probabilities: theirs. drawn: the likeliest tokens at a
    sample of the posteriors, drawn with seed 0.
    """

    posteriors: Posteriors
    read: list[int]
    probabilities: list[float]
    drawn: list[int]


@torch.inference_mode()
def posteriors(model: ColaDLM, text: str) -> Posteriors:
    """Encodes a text, without the padding of its last block. Raises PromptError."""
    return _posteriors(model, model.tokenize(text), model.encode(text))


def _posteriors(model: ColaDLM, ids: list[int], posterior: Posterior) -> Posteriors:
    n = -(-len(ids) // model.patch_size)
    std = None if posterior.logvar is None else (0.5 * posterior.logvar[:n]).exp().float().cpu().numpy()
    return Posteriors(ids, posterior.mean[:n].float().cpu().numpy(), std)


@torch.inference_mode()
def read_back(model: ColaDLM, text: str) -> ReadBack:
    """Encodes a text, with the padding of its last block as the sampler has it, and decodes it. Raises PromptError."""
    ids, posterior = model.tokenize(text), model.encode(text)
    logits = model.decode(model.vae.scale(posterior.mean)).float().cpu()[: len(ids)]
    sample = posterior.sample(torch.Generator(posterior.mean.device).manual_seed(0))
    drawn = model.decode(model.vae.scale(sample)).argmax(-1).tolist()[: len(ids)]
    return ReadBack(
        _posteriors(model, ids, posterior), logits.argmax(-1).tolist(), logits.softmax(-1).amax(-1).tolist(), drawn
    )


@torch.inference_mode()
def read_latents(model: ColaDLM, latents: Sequence[Sequence[float]]) -> tuple[list[int], list[float]]:
    """The likeliest tokens in latents (n, d), as the decoder takes them, and their probabilities, n * patch_size each.

    The last block is filled up with zeros.
    """
    z = torch.tensor(latents, dtype=torch.float32)
    padded = torch.cat((z, z.new_zeros(-len(z) % model.vae.config.block_size, z.shape[1])))
    sure, ids = model.decode(padded)[: len(z) * model.patch_size].float().softmax(-1).max(-1)
    return ids.tolist(), sure.tolist()

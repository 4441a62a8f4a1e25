"""How well the text VAE restores what it reads, and what lies near a token among its latents."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..model import ColaDLM
from ..train.meaning import nearest
from .stories import batches, encode

NOISE_SIZES = (0.0, 0.2, 0.4, 0.6)
WORDS = ("dog", "Tom", "happy", "ran", "red", "mom", "ball", "big", "said", "tree", "cake", "rain", "sad", "house",
         "car", "water", "friend", "sleep", "help", "two")  # fmt: skip


@torch.inference_mode()
def restored(model: ColaDLM, stories: Sequence[Sequence[int]], sizes: Sequence[float] = NOISE_SIZES,
             seed: int = 0) -> dict[str, float]:  # fmt: skip
    """Share of the tokens that the decoder's likeliest token restores, with noise of each size on the scaled latents.

    Under "posterior": with a draw from the posterior in place of its mean. The noise of a size is normal, with that
    standard deviation in every channel; padding does not count.
    """
    generator = torch.Generator().manual_seed(seed)
    right = dict.fromkeys([*map(str, map(float, sizes)), "posterior"], 0)
    total = 0
    for rows, ids in batches(stories, model.pad_id, model.vae.config.tokens_per_block):
        lengths = torch.tensor([len(stories[row]) for row in rows])
        real = torch.arange(ids.shape[1]) < lengths[:, None]
        total += int(real.sum())
        posterior = model.vae.encode(ids.to(model.device))
        mean = model.vae.scale(posterior.mean)
        for size in sizes:
            noise = torch.randn(mean.shape, generator=generator).to(mean)
            right[str(float(size))] += _right(model, mean + size * noise, ids, real)
        right["posterior"] += _right(model, model.vae.scale(posterior.sample(generator)), ids, real)
    return {name: count / total for name, count in right.items()}


def _right(model: ColaDLM, latents: Tensor, ids: Tensor, real: Tensor) -> int:
    found = model.vae.decode(latents).argmax(-1).cpu()
    return int((found == ids)[real].sum())


@torch.inference_mode()
def neighbours(model: ColaDLM, words: Sequence[str] = WORDS, count: int = 6) -> dict[str, list[str]]:
    """For each word that is one token, the tokens whose latents have the largest cosine with its own, best first.

    Every token is encoded alone at the start of a padded block; with more than one token in a latent, that of the
    token and padding. Words of several tokens are left out.
    """
    vocab_size, width = model.tokenizer.get_vocab_size(), model.vae.config.tokens_per_block
    latents = []
    for ids in torch.arange(vocab_size).split(4096):
        block = torch.full((len(ids), width), model.pad_id)
        block[:, 0] = ids
        latents.append(model.vae.encode(block.to(model.device)).mean[:, 0].float().cpu())
    latents = torch.cat(latents).numpy()
    tokens = {word: encode(model.tokenizer, f" {word}") for word in words}
    return {word: [model.tokenizer.decode([i]).strip() for i in nearest(latents, ids[0], count)]
            for word, ids in tokens.items() if len(ids) == 1}  # fmt: skip

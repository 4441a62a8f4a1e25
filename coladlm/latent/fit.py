"""How well a text fits together under the flow: the error of the velocity where it stands, or how much its tokens
surprise a DiT that names them.

The rest of an edited text stays as it was; the question is whether it is still likely. The decoder cannot tell: it
reads every token off that token's own latents, whatever stands before. The flow can: its velocity at re-noised latents
is what it expects there, and the squared error of that is (a part of) the likelihood bound that the model was trained
on. It is compared, position by position, with the noise that was really added.

A DiT whose output layer names tokens says more: in blocks of one, at pure noise, it gives each token a probability
after all that stands before it, and so one to a whole text, as an autoregressive model does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..model import ColaDLM
from ..networks.dit import Modulations
from ..networks.layers import attention, block_causal_mask
from ..sampling.flow import NOISE_TIME, interpolant
from ..sampling.randomness import fit_noise
from ..settings import SamplerSettings
from .layout import blocks_for, lay_out

FIT_TIMES = (300.0, 500.0, 700.0, 900.0)  # words are decided late, kinds of words early: evaluated at all of these
AT_ONCE = 1024  # latents in one pass, of short texts at several times: long texts fill a pass by themselves


# of the last hidden state of some texts at some times, their noisy states, the noise and the clean latents: a number
# for each position, (pairs, batch, positions)
Measure = Callable[[Tensor, Modulations, Tensor, Tensor, Tensor], Tensor]


def velocity_error(model: ColaDLM, latents: Tensor, noised: Tensor, seed: int = 0,
                   times: Sequence[float] = FIT_TIMES, draws: int = 1) -> Tensor:  # fmt: skip
    """Mean squared error of the velocity per channel at each position, (batch, n) on the CPU, mean over `times`.

    latents: (batch, n, d), scaled, whole blocks. noised: (n,) or (batch, n) bool, the positions to measure; the others
    stay clean at t = 0. draws: noises that it is the mean of, too, those of the seeds from `seed` on. Each block sees
    the clean blocks before it, as in the sampler, and itself. The noise depends on (seed, time, block) alone, so that
    texts of a batch are compared at the same noise. The error is 0 where nothing is noised.
    """

    def squared(hidden: Tensor, at_time: Modulations, noisy: Tensor, noise: Tensor, clean: Tensor) -> Tensor:
        velocity = model.dit.output(hidden, at_time, noisy)
        return (velocity.unflatten(0, (len(noise), len(clean))) - (noise - clean)).square().mean(-1)

    return _measured(model, latents, noised, seed, times, draws, squared)


def token_surprise(model: ColaDLM, latents: Tensor, ids: Tensor, asked: Tensor, seed: int = 0) -> Tensor:
    """-log p of each token after all that stands before it, in nats, (batch, n) on the CPU; 0 where it is not asked.

    model: whose DiT names tokens, one a latent. latents: (batch, n, d), scaled, those of the ids (batch, n), whole
    blocks. asked: (n,) or (batch, n) bool. seed: of the noise that the positions start from, which says next to
    nothing.
    """

    def surprise(hidden: Tensor, at_time: Modulations, noisy: Tensor, noise: Tensor, clean: Tensor) -> Tensor:
        named = model.dit.token_logits(hidden, at_time, noisy).log_softmax(-1)
        own = ids[:, -clean.shape[1] :].to(named.device)
        return -named.unflatten(0, (len(noise), len(clean))).gather(-1, own.expand(len(noise), -1, -1)[..., None])[
            ..., 0
        ]

    alone = model.in_blocks_of(SamplerSettings(block_size=1))
    return _measured(alone, latents, asked, seed, (NOISE_TIME,), 1, surprise)


@torch.inference_mode()
def _measured(model: ColaDLM, latents: Tensor, noised: Tensor, seed: int, times: Sequence[float], draws: int,
              measure: Measure) -> Tensor:  # fmt: skip
    """The mean of what is measured at each position, over times and noises, (batch, n) on the CPU. The arguments are
    those of `velocity_error`.
    """
    b = model.block_size
    batch, n, _ = latents.shape
    noised = noised.expand(batch, n)
    first = int(noised.any(0).nonzero()[0, 0]) // b * b  # earlier blocks only serve as history
    clean, noised = latents.to(model.device), noised[:, first:].to(model.device)
    modulations = model.dit.modulations(torch.tensor([0.0, *times], device=model.device))
    positions = torch.arange(n, device=model.device)
    noisy_rope = model.dit.rope(positions[first:])
    history: list[tuple[Tensor, Tensor]] = []  # keys and values of the clean copy in each layer
    clean_mask, noisy_mask = block_causal_mask(n, b, model.device), _noisy_mask(n, first, b, model.device)

    def attend_clean(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        history.append((k, v))
        return attention(q, k, v, clean_mask)

    def attend_noisy(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        copies = len(q) // batch  # a view where it is one
        clean_k, clean_v = (kept.expand(copies, *kept.shape).flatten(0, 1) for kept in history[layer])
        return attention(q, torch.cat((clean_k, k), 1), torch.cat((clean_v, v), 1), noisy_mask)

    model.dit.hidden(clean, modulations.at(0), model.dit.rope(positions), attend_clean)
    clean = clean[:, first:]
    total = torch.zeros(noised.shape, device=model.device)
    pairs = [(draw, index) for draw in range(draws) for index in range(len(times))]
    at_once = max(1, AT_ONCE // noised.numel())
    for start in range(0, len(pairs), at_once):
        some = pairs[start : start + at_once]
        noise = torch.stack([_noise(model, seed + draw, index, first, n) for draw, index in some]).to(model.device)
        noise = noise[:, None]  # (pairs, 1, n - first, d): the same for each text
        which = torch.tensor([index for _, index in some], device=model.device)[:, None, None]
        at = torch.tensor([times[index] for _, index in some], device=model.device)[:, None, None]
        at_time = modulations.at((noised * (which + 1)).flatten(0, 1))
        noisy = interpolant(clean, noise, noised * at).flatten(0, 1)
        hidden = model.dit.hidden(noisy, at_time, noisy_rope, attend_noisy)
        total += measure(hidden, at_time, noisy, noise, clean).sum(0)
    error = torch.zeros(batch, n)
    error[:, first:] = (total * noised / len(pairs)).cpu()
    return error


def _noise(model: ColaDLM, seed: int, index: int, first: int, n: int) -> Tensor:
    """The noise of latents `first` to n at the time of this index, (n - first, d)."""
    shape = (model.block_size, model.latent_dim)
    return torch.cat([fit_noise(seed, index, block, shape) for block in range(first // shape[0], n // shape[0])])


def text_misfits(
    model: ColaDLM, texts: Sequence[Sequence[int]], before: Sequence[int] = (), seed: int = 0, draws: int = 1
) -> list[float]:
    """How far the flow is off at whole texts: the mean `velocity_error` over the latents of each, NaN for an empty one.

    texts: token ids. before: ids that stand before each and are not measured. draws: noises that it is the mean of,
    those of the seeds from `seed` on.
    """
    latents, asked = _laid_out(model, texts, before)
    if not asked.any():
        return [float("nan")] * len(texts)
    error = velocity_error(model, latents, asked, seed, draws=draws)
    return [float(row[own].mean()) for row, own in zip(error, asked, strict=True)]


def names_tokens(model: ColaDLM) -> bool:
    """Does the DiT give each token a probability?"""
    return model.dit.config.token_output > 0 and model.patch_size == 1


def unlikelihoods(
    model: ColaDLM, texts: Sequence[Sequence[int]], before: Sequence[int] = (), seed: int = 0
) -> list[float]:
    """How unlikely the flow finds whole texts, to rank them by: of a DiT that names tokens -log p of each in nats, the
    sum of `token_surprise`; of another one `text_misfits`.

    texts: token ids, not empty. before: ids that stand before each and are not measured.
    """
    if not names_tokens(model):
        return text_misfits(model, texts, before, seed)
    latents, asked = _laid_out(model, texts, before)
    ids = padded_ids(model, [[*before, *own] for own in texts], asked.shape[1])
    return token_surprise(model, latents, ids, asked, seed).sum(-1).tolist()


def padded_ids(model: ColaDLM, texts: Sequence[Sequence[int]], n: int) -> Tensor:
    """The first n token ids of each text, (batch, n), padding after them."""
    ids = torch.full((len(texts), n), model.pad_id)
    for row, text in zip(ids, texts, strict=True):
        row[: len(text)] = torch.tensor(text[:n], dtype=torch.long)
    return ids


def _laid_out(model: ColaDLM, texts: Sequence[Sequence[int]], before: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The latents (batch, n, d) of texts after what stands before each, and which are a text's own, (batch, n)."""
    ps, whole = model.patch_size, [[*before, *ids] for ids in texts]
    lead, ends = -(-len(before) // ps), [-(-len(ids) // ps) for ids in whole]
    layouts = lay_out(model, whole, max(blocks_for(model, len(ids)) for ids in whole))
    latents = torch.stack([layout.latents for layout in layouts])
    places = torch.arange(latents.shape[1])
    return latents, (places >= lead) & (places < torch.tensor(ends)[:, None])


def _noisy_mask(n: int, first: int, b: int, device: torch.device) -> Tensor:
    """What a noisy copy of latents `first` to n sees: clean blocks before its own, and its own noisy one."""
    block = torch.arange(n, device=device) // b
    own = block[first:, None]
    return torch.cat((block < own, block[first:] == own), 1)

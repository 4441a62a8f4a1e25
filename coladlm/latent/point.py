"""What a decoder reads at one place of a block: its words, its margin, and how far the word reaches."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from ..model import ColaDLM
from ..networks.layers import KVCache
from .branch import History

DIRECTIONS = 12  # that the radius is sought in
HALVINGS = 6  # of the interval in which it lies: 1/64 of the search range is what it is known to
SEARCH = 2.0  # how far the search goes, in sqrt(d), the radius of the sphere of posterior means


@dataclasses.dataclass(frozen=True)
class PointReading:
    """What the decoder reads at a place.

    token_ids, probabilities: the likeliest tokens, most likely first. margin: the first logit minus the second, in
    nats. radius: how far the place can move, in latent units, until the first of `DIRECTIONS` random directions reads
    another word; `far` where none does within `SEARCH` radii. sqrt(d) of these units is the size of a latent.
    """

    token_ids: list[int]
    probabilities: list[float]
    margin: float
    radius: float
    far: bool


class BlockReader:
    """Decodes a block after its history, many variants at once, with one pass over the history."""

    def __init__(self, model: ColaDLM, history: History, batch: int) -> None:
        self.model, self.vae, self.history = model, model.vae, history.latents.to(model.device).expand(batch, -1, -1)
        self.cache: KVCache | None = None

    def _read_history(self, b: int) -> KVCache:
        """A cache with the history, placed on a block of so many positions after it."""
        model, config, (batch, n, _) = self.model, self.vae.config, self.history.shape
        cache = KVCache(config.decoder_num_blocks, config.kv_heads, config.head_dim, n + b,
                        torch.zeros(batch, dtype=torch.long), config.block_size, model.dtype, model.device)  # fmt: skip
        if n:
            cache.place(0, n)
            self.vae.decode_hidden(self.history, self.vae.rope(torch.arange(n, device=model.device)), cache)
        first = n // config.block_size * config.block_size  # of the VAE's block, which may have begun before
        cache.place(first, n + b)
        self.begun = self.history[:, first:]
        self.rope = self.vae.rope(torch.arange(first, n + b, device=model.device))
        return cache

    def logits(self, blocks: Tensor) -> Tensor:
        """(batch, b, d) -> (batch, b * patch_size, vocab), on the CPU."""
        b = blocks.shape[1]
        if self.cache is None:
            self.cache = self._read_history(b)
        latents = torch.cat((self.begun, blocks.to(self.model.device)), 1)
        return self.vae.decode(latents, self.rope, self.cache)[:, -b * self.model.patch_size :].cpu()


@dataclasses.dataclass(frozen=True)
class TokenReading:
    """What the decoder reads at a token: the likeliest ones with their probabilities, most likely first.

    chosen: the probability of the token that was taken. margin: the first logit minus the second, in nats.
    """

    token_ids: list[int]
    probabilities: list[float]
    chosen: float
    margin: float


@torch.inference_mode()
def read_token(
    model: ColaDLM, history: History, block: np.ndarray, token: int, chosen: int, words: int
) -> TokenReading:
    """Reads a token of a finished block (b, d) after its history. chosen: the id of the one that was taken."""
    logits = BlockReader(model, history, 1).logits(torch.as_tensor(block)[None])[0, token].float()
    best, p = logits.topk(max(2, words)), logits.softmax(-1)
    ids = best.indices[:words].tolist()
    return TokenReading(ids, p[ids].tolist(), float(p[chosen]), float(best.values[0] - best.values[1]))


@torch.inference_mode()
def read_states(model: ColaDLM, history: History, blocks: Iterable[np.ndarray], token: int) -> list[Tensor]:
    """What the decoder reads at a token in each of several states of a block (b, d): probabilities (vocab,)."""
    reader = BlockReader(model, history, 1)  # the history is read once, and the logits of one state are kept at a time
    return [reader.logits(torch.as_tensor(block)[None])[0, token].float().softmax(-1) for block in blocks]


@torch.inference_mode()
def read_point(model: ColaDLM, history: History, block: np.ndarray, place: int, words: int = 5) -> PointReading:
    """Reads the first token of a place of a block (b, d) after its history, moving this place alone for the radius."""
    return _read_point(model, history, torch.from_numpy(np.array(block)), place, words)


def _read_point(model: ColaDLM, history: History, block: Tensor, place: int, words: int) -> PointReading:
    d, ps = model.latent_dim, model.patch_size
    reader = BlockReader(model, history, DIRECTIONS)
    logits = reader.logits(block.expand(DIRECTIONS, -1, -1))[0, place * ps]
    first = logits.topk(max(2, words))
    rng = np.random.default_rng(0)
    directions = torch.from_numpy(rng.standard_normal((DIRECTIONS, d)).astype(np.float32))
    directions /= directions.norm(dim=1, keepdim=True)
    word = int(first.indices[0])

    def changed(distance: Tensor) -> Tensor:
        moved = block.repeat(DIRECTIONS, 1, 1)
        moved[:, place] += distance[:, None] * directions
        return reader.logits(moved)[:, place * ps].argmax(-1) != word

    low, high = torch.zeros(DIRECTIONS), torch.full((DIRECTIONS,), SEARCH * d**0.5)
    reaches = changed(high)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        other = changed(middle)
        reaches |= other
        low, high = torch.where(other, low, middle), torch.where(other, middle, high)
    # a word that comes back farther out counts by its first change that the halving finds
    found = torch.where(reaches, high, torch.inf)
    nearest = float(found.min())
    probabilities = logits.softmax(-1)[first.indices[:words]].tolist()
    margin = float(first.values[0] - first.values[1])
    far = not np.isfinite(nearest)
    return PointReading(first.indices[:words].tolist(), probabilities, margin, SEARCH * d**0.5 if far else nearest, far)


def nearest_words(
    latent: np.ndarray, latents: np.ndarray, token_ids: np.ndarray, count: int = 8
) -> list[tuple[int, float]]:
    """(token id, distance) of the different words whose latents lie nearest to a latent (d,), nearest first."""
    distances = np.sqrt(np.square(latents - latent, dtype=np.float64).sum(1))
    found: dict[int, float] = {}
    for i in np.argsort(distances, kind="stable"):
        found.setdefault(int(token_ids[i]), float(distances[i]))
        if len(found) == count:
            break
    return list(found.items())

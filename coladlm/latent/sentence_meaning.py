"""A vector for the meaning of a whole text, from what the diffusion transformer makes of the text's latents.

A latent says which token stands at its place and little more, so texts whose latents have similar means share words,
not meanings. The transformer reads the latents of a text to say how they flow, and for that it has to know what the
text is about: by its last hidden states at t = 0, averaged over the text, a sentence of similar meaning is found three
times as well (mean reciprocal rank, `python -m benchmarks.like_meaning`). The average is weighted by inverse document
frequency (Spärck Jones 1972), its mean over other texts and their first principal component are taken away (Arora et
al. 2017), and it is scaled to length 1: then texts are 0 apart when they agree, about 1.4 when they have nothing in
common, and 2 at most.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from ..model import ColaDLM
from ..networks.layers import attend_under, block_causal_mask
from .layout import lay_out

AT_ONCE = 64  # texts read together
MOST_PLACES = 16_384  # of the texts read together, with their padding
COMMON_FROM = 300  # texts from which the mean and the component are computed

Vectors = NDArray[np.float32]


@dataclasses.dataclass(frozen=True, eq=False)
class CommonPart:
    """What the hidden states of texts have in common whatever they mean. texts: in which the frequency of a token is
    counted. mean: (d,). component: the first principal one, (d,), of length 1.
    """

    texts: tuple[str, ...]
    mean: Vectors
    component: Vectors

    def placed(self, averages: Vectors) -> Vectors:
        """Averages of hidden states (n, d) -> vectors of meaning (n, d) of length 1; an average that is nothing but
        the common part, or is 0, becomes 0.
        """
        there = averages.any(-1, keepdims=True)
        centred = np.where(there, averages - self.mean, 0.0)
        # no product with a matrix, whose rows may differ in their last digits by where they stand
        centred = centred - (centred * self.component).sum(-1, keepdims=True) * self.component
        length = np.linalg.norm(centred, axis=-1, keepdims=True)
        return np.where(length > 1e-6, centred / np.maximum(length, 1e-6), 0.0).astype(np.float32)


def common_part(model: ColaDLM, texts: Sequence[str]) -> Iterator[tuple[float, CommonPart | None]]:
    """(share done, the common part in the last one), of texts that are many and varied. Raises PromptError."""
    chosen = [texts[i] for i in np.unique(np.linspace(0, len(texts) - 1, min(COMMON_FROM, len(texts))).astype(int))]
    averages = None
    for share, found in averaged_states(model, chosen, TokenWeights(model, texts)):
        averages = found
        yield share, None
    assert averages is not None  # the last one brings them
    mean = averages.mean(0)
    component = np.linalg.svd(averages - mean, full_matrices=False)[2][0]
    yield 1.0, CommonPart(tuple(texts), mean, component.astype(np.float32))


class TokenWeights:
    """How much each token of a text counts: the inverse document frequency of the token among texts."""

    def __init__(self, model: ColaDLM, texts: Sequence[str]) -> None:
        self.texts = len(texts)
        self.frequency = Counter(token for text in texts for token in set(model.tokenize(text)))

    def __call__(self, ids: Sequence[int]) -> NDArray[np.float64]:
        """(n,) for n tokens: they add up to 1."""
        weights = np.array([np.log((self.texts + 1) / (self.frequency[token] + 1)) for token in ids])
        if weights.sum() <= 0:
            weights = np.ones(len(ids))
        return weights / weights.sum()


def meaning_vectors(model: ColaDLM, texts: Sequence[str], common: CommonPart) -> Iterator[tuple[float, Vectors | None]]:
    """(share done, vectors (n, d) in the last one): where texts lie by meaning, see above. Raises PromptError."""
    for share, averages in averaged_states(model, texts, TokenWeights(model, common.texts)):
        yield share, None if averages is None else common.placed(averages)


def averaged_states(
    model: ColaDLM, texts: Sequence[str], weights: TokenWeights
) -> Iterator[tuple[float, Vectors | None]]:
    """(share done, averages (n, d) in the last one): the DiT's last hidden states at t = 0, normalised at each place
    and averaged over the text's tokens.

    Texts of similar length are read together, equal ones once: a text's last digits depend on what it is read with, and
    equal texts are to have equal vectors. A text without a token has 0. Raises PromptError.
    """
    different = sorted(dict.fromkeys(texts), key=len)
    ids = [model.tokenize(text) for text in different]
    averages = np.zeros((len(different), model.dit.config.txt_dim), np.float32)
    start = 0
    while start < len(different):
        stop = start + 1
        while stop < len(different) and stop - start < AT_ONCE and (
            (stop + 1 - start) * max(map(len, ids[start : stop + 1])) <= MOST_PLACES
        ):  # fmt: skip
            stop += 1
        averages[start:stop] = _read(model, ids[start:stop], weights)
        start = stop
        yield start / len(different), None
    place = {text: row for row, text in enumerate(different)}
    yield 1.0, averages[[place[text] for text in texts]]


@torch.inference_mode()
def _read(model: ColaDLM, ids: Sequence[Sequence[int]], weights: TokenWeights) -> Vectors:
    """The averages (n, d) of texts that are read in one pass, each in whole blocks and followed by its end."""
    blocks = max(1, -(-max(map(len, ids)) // (model.block_size * model.patch_size)))
    z = torch.stack([layout.latents for layout in lay_out(model, ids, blocks)]).to(model.device)
    n = z.shape[1]
    states = model.dit.hidden(
        z,
        model.dit.modulations(torch.zeros(1, device=model.device)).at(0),
        model.dit.rope(torch.arange(n, device=model.device)),
        attend_under(block_causal_mask(n, model.block_size, model.device)),
    )
    states = F.layer_norm(states.float(), states.shape[-1:]).cpu().numpy()
    found = np.zeros((len(ids), states.shape[-1]), np.float32)
    for row, tokens in enumerate(ids):
        if tokens:
            each = np.zeros(n)  # tokens share a place where a latent stands for several
            np.add.at(each, np.arange(len(tokens)) // model.patch_size, weights(tokens))
            found[row] = each @ states[row]
    return found

"""Logits to tokens: repetition penalty, temperature, top-k, top-p and the draw. Pure functions on tensors."""

from __future__ import annotations

import torch
from torch import Tensor


def penalised(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Divides positive and multiplies negative logits of seen tokens (Keskar et al. 2019, arXiv:1909.05858).

    logits: (B, n, vocab); seen: (B, vocab) bool.
    """
    if penalty == 1.0:
        return logits
    return torch.where(seen[:, None], torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def token_distribution(logits: Tensor, temperature: float, top_k: int, top_p: float) -> tuple[Tensor, Tensor]:
    """Probabilities in falling order and their token ids, each (B, n, k), after temperature, top-k and top-p.

    A temperature of 0 is greedy: all probability on the first token. At least one token always remains.
    """
    k = logits.shape[-1] if top_k == 0 else min(top_k, logits.shape[-1])
    if temperature == 0:
        k = 1
    values, ids = logits.topk(k, -1)
    probabilities = (values / (temperature or 1.0)).softmax(-1)
    before = probabilities.cumsum(-1) - probabilities
    probabilities = probabilities.masked_fill(before >= top_p, 0.0)
    return probabilities / probabilities.sum(-1, keepdim=True), ids


def choose(logits: Tensor, uniforms: Tensor | None, temperature: float, top_k: int, top_p: float) -> Tensor:
    """Token ids (B, n) for logits (B, n, vocab); uniforms (B, n) in [0, 1) decide where temperature > 0."""
    if temperature == 0:
        return logits.argmax(-1)
    probabilities, ids = token_distribution(logits, temperature, top_k, top_p)
    above = probabilities.cumsum(-1) > uniforms.to(probabilities)[..., None]
    last = (probabilities > 0).sum(-1) - 1  # where rounding leaves the sum below the uniform
    index = torch.where(above.any(-1), above.int().argmax(-1), last)
    return ids.gather(-1, index[..., None])[..., 0]

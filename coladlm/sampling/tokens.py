"""Logits to tokens: penalties, temperature, top-k, top-p and the draw. Functions on tensors.

A choice that depends on earlier tokens takes them as `context`, so that it is the same here and wherever a recorded
run is read again.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

NO_TOKEN = -1  # in a context: nothing stands here


def penalised(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Divides positive and multiplies negative logits of seen tokens (Keskar et al. 2019, arXiv:1909.05858).

    logits: (B, n, vocab); seen: (B, vocab) bool.
    """
    if penalty == 1.0:
        return logits
    return torch.where(seen[:, None], torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def token_distribution(logits: Tensor, temperature: float, top_k: int, top_p: float) -> tuple[Tensor, Tensor]:
    """Probabilities in falling order and their token ids, each (B, n, k), after temperature, top-k and top-p.

    A temperature of 0 is greedy: all probability on the first token. At least one token always remains, however small
    temperature and top-p are.
    """
    k = logits.shape[-1] if top_k == 0 else min(top_k, logits.shape[-1])
    if temperature == 0:
        k = 1
    values, ids = logits.topk(k, -1)
    # from the greatest one, and within what the dtype holds: no quotient overflows, and none is 0 / 0
    info = torch.finfo(values.dtype)
    temperature = min(max(temperature, info.tiny), info.max) if temperature else 1.0
    probabilities = ((values - values[..., :1]) / temperature).softmax(-1)
    before = probabilities.cumsum(-1) - probabilities
    left_out = before >= top_p
    left_out[..., 0] = False
    probabilities = probabilities.masked_fill(left_out, 0.0)
    return probabilities / probabilities.sum(-1, keepdim=True), ids


def choose(logits: Tensor, uniforms: Tensor | None, temperature: float, top_k: int, top_p: float) -> Tensor:
    """Token ids (B, n) for logits (B, n, vocab); uniforms (B, n) in [0, 1) decide where temperature > 0."""
    if temperature == 0 or uniforms is None:
        return logits.argmax(-1)
    probabilities, ids = token_distribution(logits, temperature, top_k, top_p)
    above = probabilities.cumsum(-1) > uniforms.to(probabilities)[..., None]
    last = (probabilities > 0).sum(-1) - 1  # where rounding leaves the sum below the uniform
    index = torch.where(above.any(-1), above.int().argmax(-1), last)
    return ids.gather(-1, index[..., None])[..., 0]


def word_starts(read: Callable[[list[int]], str], vocab_size: int) -> Tensor:
    """(vocab_size,) bool: the tokens that begin a word, a space and then a letter or digit."""
    texts = (read([token]) for token in range(vocab_size))
    return torch.tensor([len(text) > 1 and text[0] == " " and text[1].isalnum() for text in texts], dtype=torch.bool)


def repeats(context: Tensor, size: int, vocab_size: int) -> Tensor:
    """(B, vocab_size) bool: the tokens that, put after `context` (B, L), complete an n-gram that it has already."""
    found = torch.zeros(len(context), vocab_size + 1, dtype=torch.bool, device=context.device)
    if context.shape[1] >= size:
        begun = context[:, -(size - 1) :]
        whole = (begun != NO_TOKEN).all(-1)
        alike = (context[:, :-1].unfold(1, size - 1, 1) == begun[:, None]).all(-1) & whole[:, None]
        # what does not count goes into a spare column
        found.scatter_(1, torch.where(alike, context[:, size - 1 :], vocab_size), True)
    return found[:, :-1]


def choose_unrepeated(logits: Tensor, uniforms: Tensor | None, temperature: float, top_k: int, top_p: float,
                      context: Tensor, size: int, words: Tensor, pinned: Tensor, free: Tensor) -> Tensor:  # fmt: skip
    """As `choose`, one position after another, where no word completes an n-gram of `size` tokens a second time.

    A word that would is replaced by the most probable other word (Paulus et al. 2017, arXiv:1705.04304, forbid
    repeated trigrams in the same manner). Only tokens that begin a word are replaced, and by such alone: signs and the
    rest of a word that has begun may repeat, or there would be no second `said, "`.

    context: (B, L + n), tokens so far and places for these n, NO_TOKEN where nothing stands. words: (vocab,) bool, see
    word_starts. pinned: (B, n), tokens that stand already and NO_TOKEN elsewhere. free: (B, n) bool, where the rule
    holds. Returns token ids (B, n), at pinned places those that would have been chosen.
    """
    context, (n, vocab_size), chosen = context.clone(), logits.shape[1:], []
    for place in range(n):
        here, end = slice(place, place + 1), context.shape[1] - n + place
        own = None if uniforms is None else uniforms[:, here]
        of_place = logits[:, here]
        ids = choose(of_place, own, temperature, top_k, top_p)
        barred = repeats(context[:, :end], size, vocab_size)
        others = of_place.masked_fill((barred | ~words)[:, None], -torch.inf)
        replaced = barred.gather(1, ids) & words[ids] & free[:, here] & others.isfinite().any(-1)
        # a row without another word keeps its choice; its logits stay whole so that there is something to choose from
        others = torch.where(replaced[..., None], others, of_place)
        ids = torch.where(replaced, choose(others, own, temperature, top_k, top_p), ids)
        context[:, end : end + 1] = torch.where(pinned[:, here] == NO_TOKEN, ids, pinned[:, here])
        chosen.append(ids)
    return torch.cat(chosen, 1)

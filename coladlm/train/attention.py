"""Attention of a training step on a CPU as one node of the graph, forwards and back.

Queries attend in parts, each to the keys that one of its queries may see, which skips half of the masked products.
Left to autograd, every slice of keys and values gives a gradient of the whole length that is filled with zeros and
added to those of the others, which costs more than the products. Here each part adds to its own slice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

Past = tuple[Tensor, Tensor]  # keys and values of the clean copy, (B, n, heads, c) each


def attention_in_parts(q: Tensor, k: Tensor, v: Tensor, past: Past | None, hidden: Sequence[Tensor],
                       parts: Sequence[slice]) -> Tensor:  # fmt: skip
    """Softmax attention (B, n, heads * c) of q, k, v (B, n, heads, c) in the dtype that they have.

    parts: slices of queries, one after another. Without a past the queries of a part see keys up to the end of the
    part; with one those of the past up to there, then the part's own. hidden: for each part, true where a query may
    not see a key, broadcastable to (B, heads, queries, keys). Every query must see something.
    """
    return _InParts.apply(q, k, v, *(past or (None, None)), hidden, parts)


class _InParts(torch.autograd.Function):
    @staticmethod
    def forward(  # pyrefly: ignore[bad-override] # torch hands on what `apply` is given
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        past_k: Tensor | None,
        past_v: Tensor | None,
        hidden: Sequence[Tensor],
        parts: Sequence[slice],
    ) -> Tensor:
        b, n, heads, c = ctx.size = q.shape
        with torch.autocast(q.device.type, enabled=False):
            q, *others = (_by_head(y) for y in (q * c**-0.5, k, v, past_k, past_v) if y is not None)
            attended, weights = torch.empty_like(q), []
            for part, unseen in zip(parts, hidden, strict=True):
                keys, values = _seen(others, part)
                scores = q[:, part] @ keys.mT
                scores.view(b, heads, *scores.shape[1:]).masked_fill_(unseen, -torch.inf)
                weights.append(scores.softmax(-1))
                attended[:, part] = weights[-1] @ values
        ctx.parts = parts
        ctx.save_for_backward(q, *others, *weights)
        return _by_position(attended, ctx.size).flatten(2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # pyrefly: ignore[bad-override] # as above
        q, *rest = ctx.saved_tensors
        others, weights = rest[: -len(ctx.parts)], rest[-len(ctx.parts) :]
        with torch.autocast(q.device.type, enabled=False):
            gradient = _by_head(gradient.view(ctx.size))
            to_q, to_others = torch.empty_like(q), [torch.zeros_like(y) for y in others]
            for part, weight in zip(ctx.parts, weights, strict=True):
                keys, values = _seen(others, part)
                queries, come = q[:, part], gradient[:, part]
                to_scores = torch.ops.aten._softmax_backward_data(come @ values.mT, weight, -1, weight.dtype)
                to_q[:, part] = to_scores @ keys
                _add(to_others, part, to_scores.mT @ queries, weight.mT @ come)
            to_q *= ctx.size[-1] ** -0.5
        found = [_by_position(y, ctx.size) for y in (to_q, *to_others)]
        return *found, *([None] * (7 - len(found)))


def _by_head(y: Tensor) -> Tensor:
    """(B, n, heads, c) -> (B * heads, n, c), contiguous."""
    return y.transpose(1, 2).flatten(0, 1).contiguous()


def _by_position(y: Tensor, size: torch.Size) -> Tensor:
    """(B * heads, n, c) -> (B, n, heads, c)."""
    b, n, heads, c = size
    return y.view(b, heads, n, c).transpose(1, 2)


def _seen(others: Sequence[Tensor], part: slice) -> tuple[Tensor, Tensor]:
    """Keys and values that the queries of a part may see. others: (k, v), or (k, v, past_k, past_v)."""
    if len(others) == 2:
        keys, values = (y[:, : part.stop] for y in others)
        return keys, values
    k, v, past_k, past_v = others
    keys, values = (torch.cat((past[:, : part.stop], own[:, part]), 1) for past, own in ((past_k, k), (past_v, v)))
    return keys, values


def _add(gradients: Sequence[Tensor], part: slice, to_keys: Tensor, to_values: Tensor) -> None:
    """Adds to the gradients of others, see `_seen`."""
    if len(gradients) == 2:
        for whole, found in zip(gradients, (to_keys, to_values), strict=True):
            whole[:, : part.stop] += found
        return
    for own, past, found in zip(gradients[:2], gradients[2:], (to_keys, to_values), strict=True):
        past[:, : part.stop] += found[:, : part.stop]
        own[:, part] = found[:, part.stop :]

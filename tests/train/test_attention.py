"""Attention in parts: the values and gradients of plain attention."""

import pytest
import torch

from coladlm.networks.layers import attention
from coladlm.train.attention import attention_in_parts

B, N, HEADS, C = 2, 12, 3, 4
PARTS = [slice(0, 5), slice(5, 10), slice(10, 12)]


def drawn(count: int) -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return [torch.randn(B, N, HEADS, C, dtype=torch.float64, generator=random).requires_grad_() for _ in range(count)]


def masks() -> tuple[torch.Tensor, torch.Tensor]:
    """(B, N, N) what a query sees of the sequence, and of the past; the second row sees no past at some places."""
    seen = torch.ones(N, N).tril().bool().expand(B, N, N).clone()
    past = seen & ~torch.eye(N, dtype=torch.bool)
    past[1, 3:6] = False
    return seen, past


@pytest.mark.parametrize("with_past", [False, True])
def test_values_and_gradients_are_those_of_plain_attention(with_past):
    tensors = drawn(5 if with_past else 3)
    q, k, v, *rest = tensors
    seen, past = masks()
    if with_past:
        own = torch.zeros(N, N, dtype=torch.bool)
        for part in PARTS:
            own[part, part] = True
        own = seen & own
        hidden = [~torch.cat((past[:, p, : p.stop], own[:, p, p]), -1)[:, None] for p in PARTS]
        whole_k, whole_v = torch.cat((rest[0], k), 1), torch.cat((rest[1], v), 1)
        plain = attention(q, whole_k, whole_v, torch.cat((past, own), -1)[:, None])
    else:
        hidden = [~seen[:, None, p, : p.stop] for p in PARTS]
        plain = attention(q, k, v, seen[:, None])
    found = attention_in_parts(q, k, v, tuple(rest) or None, hidden, PARTS)
    torch.testing.assert_close(found, plain)
    weight = torch.randn(plain.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    wanted = torch.autograd.grad((plain * weight).sum(), tensors)
    torch.testing.assert_close(torch.autograd.grad((found * weight).sum(), tensors), wanted)

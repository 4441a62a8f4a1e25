"""The DiT's layers for training, compiled: each in two halves, with the attention between them left as it is.

A whole step compiled at once took minutes to compile and diverged on a GPU although its results agreed with the eager
ones at the start; so what is compiled is small, and `disagreement` compares its gradients before anything is trained.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..networks.dit import BlockCausalDiT, DiTBlock, Modulations
from ..networks.layers import Attend

Hidden = Callable[[Tensor, Modulations, Tensor, Attend], Tensor]


def compiled_layers(dit: BlockCausalDiT, backend: str = "inductor") -> Hidden:
    """`dit.hidden` with compiled layers."""
    before, after = torch.compile(_before, backend=backend), torch.compile(_after, backend=backend)

    def hidden(z: Tensor, modulations: Modulations, rope: Tensor, attend: Attend) -> Tensor:
        cos, sin = (part.contiguous() for part in torch.view_as_real(rope).unbind(-1))
        # a tensor of its own: where nothing is differentiated this is a view, for which each half is compiled once more
        x = dit.enter(z, dit.coefficients(modulations)).clone()
        for layer, block in enumerate(dit.layers):
            modulation = modulations.layers[layer]
            _of_any_size((x, 2), (modulation, modulation.ndim - 2), (cos, 1), (sin, 1))
            q, k, v = before(block, x, modulation, cos, sin)
            attended = attend(layer, q, k, v)
            _of_any_size((x, 2), (attended, 2))
            x = after(block, x, attended, modulation)
        return x

    return hidden


def disagreement(parameters: list[Tensor], eager: Tensor, compiled: Tensor) -> float:
    """The largest relative distance between the gradients of two losses, over the parameters that both depend on."""
    pairs = zip(*(torch.autograd.grad(loss, parameters, allow_unused=True) for loss in (eager, compiled)), strict=True)
    return max(((b - a).norm() / (a.norm() + 1e-12)).item() for a, b in pairs if a is not None)


def _of_any_size(*axes: tuple[Tensor, int]) -> None:
    """Rows and positions, so many first axes of these tensors, are not the same in every batch: what is compiled holds
    for all. Else torch compiles for one batch after another, and from the ninth on no longer.
    """
    for tensor, first in axes:
        for axis in range(first):
            torch._dynamo.maybe_mark_dynamic(tensor, axis)


def _before(block: DiTBlock, x: Tensor, modulation: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A layer up to its attention: queries, keys and values (B, n, heads, head_dim)."""
    shift, scale = modulation[..., 0, :], modulation[..., 1, :]
    h = torch.addcmul(shift, F.layer_norm(x, x.shape[-1:], eps=block.eps), scale)
    q, k, v = block.msa.proj_qkv(h).unflatten(-1, (3, -1, block.msa.config.head_dim)).unbind(2)
    q, k = (_turned(y, cos, sin).to(v.dtype) for y in (block.msa.norm_q(q), block.msa.norm_k(k)))
    return q, k, v


def _after(block: DiTBlock, x: Tensor, attended: Tensor, modulation: Tensor) -> Tensor:
    """The rest of the layer."""
    _, _, gate_a, shift, scale, gate_m = modulation.unbind(-2)
    x = torch.addcmul(x, gate_a, block.msa.proj_out(attended).float())
    h = torch.addcmul(shift, F.layer_norm(x, x.shape[-1:], eps=block.eps), scale)
    h = F.gelu(block.mlp.proj_in(h), approximate="tanh")
    return torch.addcmul(x, gate_m, block.mlp.proj_out(h).float())


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """`layers.rotate_pairs` in real numbers, which compile."""
    first, second = x.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack((first * cos - second * sin, first * sin + second * cos), -1).flatten(-2)

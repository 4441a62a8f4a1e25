"""Linear layers with weights in int8: one byte a weight, a scale for each output channel.

The weights are rounded to 127 steps of their channel's largest; activations keep their precision. Two ways to multiply:

- parts: an activation is written as the sum of two int8 numbers, a coarse and a fine one (15 bits together), and both
  are multiplied at once by the int8 products of the processor (VNNI, AMX, or a GPU's). Reads a byte a weight.
- widened: the weights of a layer are turned into the compute dtype for each product. Works everywhere.

Which is faster depends on the processor (without int8 instructions the first is many times slower), so `choose_product`
times both.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .compensation import Watched, compensated
from .layers import Linear, gelu_tanh

STEPS = 127
SMALLEST = 64  # channels: layers with fewer, at the latents, stay as they are; they weigh nothing and round most
GPU_ROWS = 32  # a GPU's int8 product wants more than 16 rows, in multiples of 8


def quantised(weight: Tensor, moments: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Weights (out, in) -> int8 of the same shape and scales (out,), float32: weight is about scale * int8.

    moments: (in, in), of the layer's inputs, where they are known (see `compensation.py`); else each to the nearest.
    """
    weight = weight.float()
    scale = weight.abs().amax(1).clamp(min=torch.finfo(torch.float32).tiny) / STEPS
    if moments is not None:
        return compensated(weight, scale, moments, STEPS).to(torch.int8), scale
    return (weight / scale[:, None]).round_().to(torch.int8), scale


def in_parts(x: Tensor) -> tuple[Tensor, Tensor]:
    """x (rows, in) -> int8 (2 * rows, in), the coarse and then the fine part, and the scale of each row, (rows, 1): x
    is about scale * (coarse + fine / 254).
    """
    scale = x.abs().amax(1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny) / STEPS
    x = x / scale
    coarse = x.round()
    fine = ((x - coarse) * (2 * STEPS)).round_()
    return torch.cat((coarse, fine)).to(torch.int8), scale


def product_of_parts(x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    """x (rows, in) times the int8 weights (out, in), float32."""
    parts, row_scale = in_parts(x.float())
    count = len(parts)
    if x.device.type == "cuda" and (count < GPU_ROWS or count % 8):
        parts = F.pad(parts, (0, 0, 0, max(GPU_ROWS, -(-count // 8) * 8) - count))
    out = torch._int_mm(parts, weight.t())[:count].float()
    coarse, fine = out.chunk(2)
    return coarse.add_(fine, alpha=1 / (2 * STEPS)).mul_(row_scale).mul_(scale)


def product_widened(x: Tensor, weight: Tensor, scale: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """The same with the weights in the compute dtype."""
    return F.linear(x.to(dtype), weight.to(dtype)).mul_(scale.to(dtype))


@functools.cache
def parts_are_faster(device: str, dtype: torch.dtype, width: int = 1024, rows: int = 32) -> bool:
    """Whether int8 products exist on this device, compute what they should, and take less time."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(rows, width, generator=draw).to(device)
    weight, scale = quantised(torch.randn(width, width, generator=draw).to(device))
    wanted = product_widened(x, weight, scale)
    try:
        found = product_of_parts(x, weight, scale)
    except (RuntimeError, AttributeError, NotImplementedError):  # no such operator in this torch, or no kernel
        return False
    if float((found - wanted).abs().max()) > 1e-2 * float(wanted.abs().max()):
        return False
    parts = _seconds(lambda: product_of_parts(x, weight, scale), device)
    return parts < _seconds(lambda: product_widened(x, weight, scale, dtype), device)


def _seconds(product: Callable[[], Tensor], device: str, times: int = 5) -> float:
    best = float("inf")
    for _ in range(times):
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)
        begun = time.perf_counter()
        product()
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - begun)
    return best


class Int8Linear(nn.Module):
    """A `layers.Linear` whose weights are int8. Takes its input in any dtype and answers in the compute dtype."""

    def __init__(self, layer: Linear, in_two_parts: bool, dtype: torch.dtype, moments: Tensor | None = None) -> None:
        super().__init__()
        weight, scale = quantised(layer.weight.detach(), moments)
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.register_buffer("scale", scale)
        self.bias = None if layer.bias is None else nn.Parameter(layer.bias.detach().to(dtype), requires_grad=False)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.in_two_parts, self.dtype = in_two_parts, dtype

    def forward(self, x: Tensor) -> Tensor:
        rows, scale = x.reshape(-1, self.in_features), self.get_buffer("scale")
        if self.in_two_parts:
            out = product_of_parts(rows, self.weight, scale).to(self.dtype)
        else:
            out = product_widened(rows, self.weight, scale, self.dtype)
        out = out if self.bias is None else out.add_(self.bias)
        return out.unflatten(0, x.shape[:-1])

    def gelu_tanh(self, x: Tensor) -> Tensor:
        """The layer with a tanh-GELU behind it."""
        return gelu_tanh(self.forward(x))


@torch.no_grad()
def quantise(network: nn.Module, dtype: torch.dtype) -> None:
    """Puts the weights of the network's linear layers in int8, one after the other, the rest in `dtype` (norms in
    float32, as they are). A layer that was watched makes up for its errors.
    """
    for name, module in list(network.named_modules()):
        layer, moments = (module.layer, module.moments) if isinstance(module, Watched) else (module, None)
        if not isinstance(layer, Linear) or name.endswith(".layer"):
            continue
        if min(layer.in_features, layer.out_features) < SMALLEST:
            layer.to(dtype)
            continue
        parent, _, child = name.rpartition(".")
        in_two_parts = parts_are_faster(str(layer.weight.device), dtype)
        network.get_submodule(parent).add_module(child, Int8Linear(layer, in_two_parts, dtype, moments))

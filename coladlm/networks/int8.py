"""Linear layers with weights in int8, or of 12 bits: an int8 number and half a byte. A scale for each output channel.
Embeddings are in int8 too, with a scale for each row.

A weight is rounded to 2047 steps of its channel's largest and written as 16 * coarse + fine: an int8 number, and four
bits of which two stand in a byte. Where that is enough a layer has the coarse part alone, and it may be exact for
inputs in a few directions (`rounding.py` says which layer is what, and why). Activations keep their precision. Two ways
to multiply:

- parts: an activation is the sum of two int8 numbers as well (15 bits together), and all parts are multiplied by the
  int8 products of the processor (VNNI, AMX, or a GPU's). Reads a byte or a byte and a half a weight.
- widened: the weights of a layer are turned into the compute dtype for each product. Works everywhere.

Which is faster depends on the processor (without int8 instructions the first is many times slower), so
`parts_are_faster` times both.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import FEW_ROWS, Linear, gelu_tanh

STEPS = 127  # of an int8 number
FINE = 16  # steps of the fine part of a weight in one of the coarse part
WEIGHT_STEPS = 128 * FINE - 1
SMALLEST = 64  # channels: layers with fewer, at the latents, stay as they are; they weigh nothing and round most
GPU_ROWS = 32  # a GPU's int8 product wants more than 16 rows, in multiples of 8


class Rounded(NamedTuple):
    """Weights (out, in): about scale * (16 * coarse + fine).

    coarse: (out, in), int8. fine: (out, (in + 1) / 2), uint8: those of the first half of the inputs in the lower four
    bits, those of the second in the upper ones; None where all are 0. scale: (out,), float32.
    """

    coarse: Tensor
    fine: Tensor | None
    scale: Tensor


def rounded(weight: Tensor, with_fine: bool = True) -> Rounded:
    """Weights (out, in), each to the nearest step of its channel."""
    weight = weight.float()
    largest = weight.abs().amax(1).clamp(min=torch.finfo(torch.float32).tiny)
    if not with_fine:
        scale = largest / (FINE * STEPS)
        return Rounded((weight / (FINE * scale[:, None])).round_().to(torch.int8), None, scale)
    scale = largest / WEIGHT_STEPS
    steps = (weight / scale[:, None]).round_().to(torch.int16)
    coarse = steps >> 4  # downwards, so that what is left is not negative
    fine = F.pad((steps - FINE * coarse).to(torch.uint8), (0, steps.shape[1] % 2))
    lower, upper = fine.chunk(2, 1)
    return Rounded(coarse.to(torch.int8), lower | upper << 4, scale)


def fine_part(fine: Tensor, inputs: int) -> Tensor:
    """The fine parts (out, in), int8, from 0 to 15."""
    return torch.cat((fine & 15, fine >> 4), 1)[:, :inputs].view(torch.int8)


def widened(weight: Rounded, dtype: torch.dtype) -> Tensor:
    """The weights (out, in) without their scales."""
    wide = weight.coarse.to(dtype).mul_(FINE)
    return wide if weight.fine is None else wide.add_(fine_part(weight.fine, wide.shape[1]))


def in_parts(x: Tensor) -> tuple[Tensor, Tensor]:
    """x (rows, in) -> int8 (2 * rows, in), the coarse and then the fine part, and the scale of each row, (rows, 1): x
    is about scale * (coarse + fine / 254).
    """
    scale = x.abs().amax(1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny) / STEPS
    x = x / scale
    coarse = x.round()
    fine = ((x - coarse) * (2 * STEPS)).round_()
    return torch.cat((coarse, fine)).to(torch.int8), scale


def product_of_parts(x: Tensor, weight: Rounded) -> Tensor:
    """x (rows, in) times the weights, (rows, out), float32."""
    parts, row_scale = in_parts(x.float())
    count = len(parts)
    if x.device.type == "cuda" and (count < GPU_ROWS or count % 8):
        parts = F.pad(parts, (0, 0, 0, max(GPU_ROWS, -(-count // 8) * 8) - count))
    # whole numbers in float32 from here on: sixteen times the first would not fit into 32 bits for a wide layer
    out = torch._int_mm(parts, weight.coarse.t()).float().mul_(FINE)
    if weight.fine is not None:
        out.add_(torch._int_mm(parts, fine_part(weight.fine, parts.shape[1]).t()))
    coarse, fine = out[:count].chunk(2)
    return coarse.add_(fine, alpha=1 / (2 * STEPS)).mul_(row_scale).mul_(weight.scale)


def product_widened(x: Tensor, weight: Rounded, dtype: torch.dtype = torch.float32) -> Tensor:
    """The same with the weights in the compute dtype."""
    return F.linear(x.to(dtype), widened(weight, dtype)).mul_(weight.scale.to(dtype))


@functools.cache
def parts_are_faster(device: str, dtype: torch.dtype, width: int = 1024, rows: int = 32) -> bool:
    """Whether int8 products exist on this device, compute what they should, and take less time."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(rows, width, generator=draw).to(device)
    weight = rounded(torch.randn(width, width, generator=draw).to(device))
    wanted = product_widened(x, weight)
    try:
        found = product_of_parts(x, weight)
    except (RuntimeError, AttributeError, NotImplementedError):  # no such operator in this torch, or no kernel
        return False
    if float((found - wanted).abs().max()) > 1e-2 * float(wanted.abs().max()):
        return False
    parts = _seconds(lambda: product_of_parts(x, weight), device)
    return parts < _seconds(lambda: product_widened(x, weight, dtype), device)


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


def has_int8_product(layer: Linear) -> bool:
    """Whether this device multiplies weights of this shape in int8: CUDA wants both sides to be multiples of 8, which a
    vocabulary need not be.
    """
    return layer.weight.device.type != "cuda" or not (layer.in_features % 8 or layer.out_features % 8)


class Int8Linear(nn.Module):
    """A `layers.Linear` with rounded weights. Takes its input in any dtype and answers in the compute dtype.

    weight, fine, scale: see `Rounded`; the first is the parameter, so that a model has as many as before.
    exact: (in, k), orthonormal directions of inputs for which the product is that of the weights as they were.
    """

    def __init__(self, layer: Linear, in_two_parts: bool, dtype: torch.dtype, with_fine: bool = True,
                 exact: Tensor | None = None) -> None:  # fmt: skip
        super().__init__()
        coarse, fine, scale = made = rounded(layer.weight.detach(), with_fine)
        self.weight = nn.Parameter(coarse, requires_grad=False)
        self.register_buffer("fine", fine)
        self.register_buffer("scale", scale)
        self.register_buffer("exact", exact)
        missing = None
        if exact is not None:
            missing = (layer.weight.detach().float() - scale[:, None] * widened(made, torch.float32)) @ exact
        self.register_buffer("missing", missing)  # (out, k), of the product in each of these directions
        self.bias = None if layer.bias is None else nn.Parameter(layer.bias.detach().to(dtype), requires_grad=False)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.in_two_parts, self.dtype = in_two_parts, dtype

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, self.in_features)
        count = len(rows)
        if count < FEW_ROWS and x.device.type == "cpu":
            rows = F.pad(rows, (0, 0, 0, FEW_ROWS - count))
        weight = Rounded(self.weight, self._buffers["fine"], self.get_buffer("scale"))
        out = product_of_parts(rows, weight) if self.in_two_parts else product_widened(rows, weight, self.dtype)
        exact = self._buffers["exact"]
        if exact is not None:
            out = torch.addmm(out.float(), rows.float() @ exact, self.get_buffer("missing").t())
        out = out[:count].to(self.dtype)
        out = out if self.bias is None else out.add_(self.bias)
        return out.unflatten(0, x.shape[:-1])

    def gelu_tanh(self, x: Tensor) -> Tensor:
        """The layer with a tanh-GELU behind it."""
        return gelu_tanh(self.forward(x))


class Int8Embedding(nn.Module):
    """An embedding with rows in int8, each with its scale. Token ids (...,) -> (..., dim) in the dtype that it is made
    with.
    """

    def __init__(self, layer: nn.Embedding, dtype: torch.dtype) -> None:
        super().__init__()
        coarse, _, scale = rounded(layer.weight, with_fine=False)
        self.dtype = dtype
        self.weight = nn.Parameter(coarse, requires_grad=False)
        self.register_buffer("scale", FINE * scale[:, None])

    def forward(self, ids: Tensor) -> Tensor:
        return (F.embedding(ids, self.weight) * F.embedding(ids, self.scale)).to(self.dtype)


@torch.no_grad()
def quantise(network: nn.Module, dtype: torch.dtype, with_fine: bool = True, exact: Tensor | None = None) -> None:
    """Rounds the weights of the network's linear layers and embeddings, one after the other, that are not rounded yet;
    the rest is in `dtype` (norms in float32, as they are). with_fine: linear layers to 12 bits, else to 8, as
    embeddings always. exact: see `Int8Linear`.
    """
    for name, layer in list(network.named_modules()):
        if not isinstance(layer, (Linear, nn.Embedding)):
            continue
        if min(layer.weight.shape) < SMALLEST:
            layer.to(dtype)
            continue
        parent, _, child = name.rpartition(".")
        if isinstance(layer, nn.Embedding):
            new: nn.Module = Int8Embedding(layer, dtype)
        else:
            in_two_parts = has_int8_product(layer) and parts_are_faster(str(layer.weight.device), dtype)
            new = Int8Linear(layer, in_two_parts, dtype, with_fine, exact)
        network.get_submodule(parent).add_module(child, new)

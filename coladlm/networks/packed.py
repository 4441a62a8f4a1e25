"""Weights of linear layers laid out once for oneDNN, the CPU library that comes with torch.

A product of few rows spends much of its time on bringing the weights into the order that the processor wants, again at
every step; laid out beforehand it takes 15 to 30 % less, and with AVX-512 a GELU behind it costs next to nothing. And
with AVX2 and later (seen with AVX2, AVX-512 and AMX) each row comes out the same to the last bit however many rows
there are, which is not so for the products of `F.linear`. The layout is a second copy of the weights, so it is for
small networks. The call itself costs 9 microseconds more (AMD EPYC), so the smallest are faster without.
`_linear_pointwise` is what torch's own compiler calls for this; where it is missing, or gives other numbers than
`F.linear`, nothing is packed.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import Linear, gelu_tanh
from .token_output import Product, TokenOutput, TokenProducts

LEAST = 1 << 15  # weights, from which on a packed product of four rows is no slower
TOLERANCE = 1e-3  # of a probe of unit variance; another order of summation moves it by 1e-4 at most


class PackedWeights:
    """The weights of one linear layer, packed. Holds for exactly the tensor it was made from."""

    def __init__(self, weight: Tensor):
        self.weights = torch.ops.mkldnn._reorder_linear_weight(weight.detach())
        self.operation = torch.ops.mkldnn._linear_pointwise.default
        self.source = (weight.data_ptr(), weight._version)

    def __deepcopy__(self, memo: dict[int, object]) -> None:
        """A copy of the layer has other weights, so it starts without packed ones."""

    def fit(self, weight: Tensor) -> bool:
        """False after the weights were replaced, moved or written to."""
        return self.source == (weight.data_ptr(), weight._version)

    def product(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """x weight^T + bias, (..., in) -> (..., out), float32."""
        return self.operation(x, self.weights, bias, "none", [], "")

    def product_gelu(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """GELU(x weight^T + bias) in its tanh form."""
        if gelu_apart():
            return gelu_tanh(self.product(x, bias))
        return self.operation(x, self.weights, bias, "gelu", [], "tanh")


@functools.cache
def gelu_apart() -> bool:
    """Whether a GELU by operators of its own is faster than oneDNN's: with AVX2 that one took six tenths of the time of
    the product before it, and the operators two tenths (64 rows, AMD EPYC).
    """
    return torch.backends.cpu.get_cpu_capability() == "AVX2"


@functools.cache
@torch.inference_mode(False)
def can_pack() -> bool:
    """Whether this build of torch has the operations and they compute what `F.linear` and `F.gelu` do."""
    if not (torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")):
        return False
    draw = torch.Generator().manual_seed(0)
    x, weight, bias = (torch.randn(*shape, generator=draw) for shape in ((3, 2, 64), (32, 64), (32,)))
    try:
        packed = PackedWeights(weight)
        found = torch.stack((packed.product(x, bias), packed.product_gelu(x, bias)))
    except (RuntimeError, AttributeError, TypeError):  # another signature, or no kernel for this processor
        return False
    plain = F.linear(x, weight, bias)
    return bool((found - torch.stack((plain, F.gelu(plain, approximate="tanh")))).abs().max() < TOLERANCE)


@torch.no_grad()
def pack(network: nn.Module, least: int = LEAST) -> int:
    """Packs the float32 `layers.Linear` of a network on a CPU. Returns how many: none where a layer has fewer than
    `least` weights on average.
    """
    layers = [module for module in network.modules() if isinstance(module, Linear)]
    if sum(layer.weight.numel() for layer in layers) < least * len(layers):
        return 0
    layers = [layer for layer in layers if layer.weight.device.type == "cpu" and layer.weight.dtype == torch.float32]
    # a tensor that was made in inference mode does not say when it is written to
    layers = [layer for layer in layers if not layer.weight.is_inference()] if can_pack() else []
    for layer in layers:
        layer.packed = PackedWeights(layer.weight)
    for module in network.modules() if layers else ():
        if isinstance(module, TokenOutput):
            module.products = TokenProducts(_packed_product)
    return len(layers)


def _packed_product(weight: Tensor) -> Product:
    """x weight^T by packed weights, where no gradient is needed."""
    packed = PackedWeights(weight)
    return lambda x: F.linear(x, weight) if torch.is_grad_enabled() else packed.product(x, None)

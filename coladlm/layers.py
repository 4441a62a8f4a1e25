"""What the text VAE and the DiT share: linear layers, rotary embeddings, masks, attention with and without a cache.

Queries, keys and values have the shape (B, n, heads, head_dim). A network calls `attend(layer, q, k, v)` once a layer
and never learns what stands behind it: whole sequences under a mask, a cache, or a cache with a second, unguided half
of the batch. Nothing here is kept on a module: caches belong to the run that made them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from .packed import PackedWeights

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]


class Linear(nn.Linear):
    """A linear layer that takes its input in any dtype: weights live in the compute dtype, norms in float32.

    float64_sums: add up in float64 and round once, so that a row does not depend on how many rows there are. See
    `sum_in_float64`. packed: the weights as `packed.py` lays them out, used where no gradient is asked for.
    """

    float64_sums = False
    packed: PackedWeights | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.packed is not None and self._use_packed(x):
            return self.packed.product(x, self.bias)
        return product(x, self.weight, self.bias, self.float64_sums)

    def gelu_tanh(self, x: Tensor) -> Tensor:
        """The layer with a tanh-GELU behind it."""
        if self.packed is not None and self._use_packed(x):
            return self.packed.product_gelu(x, self.bias)
        return gelu_tanh(self.forward(x))

    def _use_packed(self, x: Tensor) -> bool:
        return not torch.is_grad_enabled() and x.dtype == torch.float32 and self.packed.fit(self.weight)


def product(x: Tensor, weight: Tensor, bias: Tensor | None, float64_sums: bool = False) -> Tensor:
    """x weight^T + bias in the dtype of the weight, (..., in) -> (..., out)."""
    if float64_sums:
        return F.linear(x.double(), weight.double(), None if bias is None else bias.double()).to(weight.dtype)
    return F.linear(x.to(weight.dtype), weight, bias)


def sum_in_float64(network: nn.Module) -> None:
    """Makes the linear layers of a network add up in float64.

    A product of more rows adds up in another order, which moves the last digit of a float32 sum. That is nothing until
    something rounds more coarsely later: then now and then a number falls the other way, by a hundredth of its size.
    """
    for module in network.modules():
        if isinstance(module, Linear):
            module.float64_sums = True


class LayerNorm(nn.LayerNorm):
    """A LayerNorm in float32, whatever the dtype of its input."""

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x.float(), self.normalized_shape, self.weight, self.bias, self.eps)


# rotary embeddings


def rotary_angles(positions: Tensor, channels: int, theta: float) -> Tensor:
    """Angles (..., channels / 2) in float32 for integer positions (...), frequencies theta^(-2i / channels)."""
    exponents = torch.arange(0, channels, 2, device=positions.device, dtype=torch.float32) / channels
    return positions.to(torch.float32)[..., None] * theta**-exponents


def rotary_pairs(positions: Tensor, head_dim: int, channels: int, theta: float) -> Tensor:
    """Complex factors (..., n, 1, head_dim / 2) for `rotate_pairs`; the rest of the channels stays."""
    angles = rotary_angles(positions, channels, theta)
    angles = F.pad(angles, (0, (head_dim - channels) // 2))
    return torch.polar(torch.ones_like(angles), angles)[..., None, :]


def rotate_pairs(x: Tensor, factors: Tensor) -> Tensor:
    """Rotates neighbouring pairs of channels (the DiT's form). x: (..., n, heads, head_dim), float32."""
    return torch.view_as_real(torch.view_as_complex(x.view(*x.shape[:-1], -1, 2)) * factors).flatten(-2)


def rotary_halves(positions: Tensor, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines, each (..., n, 1, head_dim), for `rotate_halves`."""
    angles = rotary_angles(positions, head_dim, theta)
    angles = torch.cat((angles, angles), -1)[..., None, :]
    return angles.cos(), angles.sin()


def rotate_halves(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotates channel i with channel i + head_dim / 2 (the VAE's form). x: (..., n, heads, head_dim)."""
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat((-second, first), -1) * sin


# activations


def gelu_tanh(x: Tensor) -> Tensor:
    """GELU in its tanh form: x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3), as 1 + tanh(u) = 2 sigmoid(2 u).

    On a CPU the sigmoid takes a third of the time of the tanh, which was a fifteenth of a step of the sampler.
    """
    if x.device.type != "cpu" or x.dtype != torch.float32 or torch.is_grad_enabled():
        return F.gelu(x, approximate="tanh")
    twice = 2 * (2 / torch.pi) ** 0.5
    return (x * x).mul_(twice * 0.044715).add_(twice).mul_(x).sigmoid_().mul_(x)


# masks


def block_causal_mask(n: int, block_size: int, device: torch.device | str = "cpu") -> Tensor:
    """(n, n), true where position i (row) may see position j (column): j // block_size <= i // block_size."""
    block = torch.arange(n, device=device) // block_size
    return block[None, :] <= block[:, None]


# attention

Kernel = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]


def exact_kernel(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Softmax attention in the dtype of its inputs, (B, heads, n, c); mask: true where a query may see a key."""
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def float64_kernel(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """The same with sums in float64, for networks that `sum_in_float64`."""
    return F.scaled_dot_product_attention(q.double(), k.double(), v.double(), attn_mask=mask).to(q.dtype)


def bfloat16_kernel(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """The attention of the published DiT: a float32 network whose two products run in bfloat16.

    Inputs, scores, weights and output are rounded to bfloat16. Rounding by hand gives the same numbers on processors
    without bfloat16 arithmetic, where its products are a hundred times slower; sums are float64 on a CPU, so that what
    is rounded does not depend on the order in which a batch of this size adds up.
    """
    if q.dtype != torch.float32:
        return exact_kernel(q, k, v, mask)
    sums = torch.float64 if q.device.type == "cpu" else torch.float32

    def rounded(x: Tensor) -> Tensor:
        return x.to(torch.bfloat16).to(sums)

    scores = rounded(rounded(q * q.shape[-1] ** -0.5) @ rounded(k).transpose(-2, -1))
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return rounded(rounded(scores.softmax(-1)) @ rounded(v)).float()


KERNELS: dict[str, Kernel] = {"float32": exact_kernel, "bfloat16": bfloat16_kernel}


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, kernel: Kernel = exact_kernel) -> Tensor:
    """Softmax attention. q: (B, n, heads, c); k, v: (B, m, kv_heads, c) -> (B, n, heads * c).

    mask: true where a query may see a key, broadcastable to (B, heads, n, m). `kv_heads` is `heads` or 1.
    """
    return _attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), mask, kernel)


def _attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, kernel: Kernel) -> Tensor:
    if k.shape[1] != q.shape[1]:
        k, v = k.expand(-1, q.shape[1], -1, -1), v.expand(-1, q.shape[1], -1, -1)
    return kernel(q, k, v, mask).transpose(1, 2).flatten(2)


def attend_under(mask: Tensor | None, kernel: Kernel = exact_kernel) -> Attend:
    """Attention over whole sequences under one mask for all layers."""
    return lambda layer, q, k, v: attention(q, k, v, mask, kernel)


class KVCache:
    """Keys and values of one network over the slots of a run, preallocated and written in place.

    Slots are shared by the rows of a batch: every row's text ends in the same slot, and rows with a shorter prefix
    have `padding` empty slots (whole blocks) at their start, which nothing but themselves ever sees.
    """

    def __init__(self, layers: int, heads: int, head_dim: int, capacity: int, padding: Tensor, block_size: int,
                 dtype: torch.dtype, device: torch.device | str, kernel: Kernel = exact_kernel):  # fmt: skip
        shape = (layers, len(padding), heads, capacity, head_dim)
        self.k = torch.zeros(shape, dtype=dtype, device=device)
        self.v = torch.zeros(shape, dtype=dtype, device=device)
        self.block_size = block_size
        self.padding = padding  # (batch,), on the CPU
        self.kernel = kernel
        self.start = self.end = 0
        self.mask: Tensor | None = None
        self.slots: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []

    @property
    def capacity(self) -> int:
        return self.k.shape[3]

    def place(self, start: int, end: int) -> None:
        """The next passes write slots start to end (whole blocks) and see every slot before `end`, block-causally."""
        if not 0 <= start < end <= self.capacity:
            raise ValueError(f"slots {start} to {end} do not lie in a cache of {self.capacity}")
        self.start, self.end = start, end
        # made here, once a block, and not in every layer of every step: what each layer writes and what it sees
        self.slots = [
            (k[:, :, start:end].transpose(1, 2), v[:, :, start:end].transpose(1, 2), k[:, :, :end], v[:, :, :end])
            for k, v in zip(self.k, self.v, strict=True)
        ]
        several, padded = end - start > self.block_size, bool(self.padding.any())
        if not several and not padded:
            self.mask = None
            return
        keys = torch.arange(end)
        queries = torch.arange(start, end) if several else torch.tensor([start])
        key_block, query_block = keys // self.block_size, queries[:, None] // self.block_size
        visible = (keys >= self.padding[:, None])[:, None] & (key_block <= query_block)
        visible |= key_block == query_block  # a padded query must see something, or it turns into NaN
        self.mask = visible[:, None].to(self.k.device)  # (batch, 1, queries or 1, keys)

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Writes k and v, then attends. q: (batch, n, heads, c) -> (batch, n, heads * c)."""
        own_keys, own_values, keys, values = self.slots[layer]
        own_keys.copy_(k)
        own_values.copy_(v)
        return _attention(q.transpose(1, 2), keys, values, self.mask, self.kernel)

    def keep(self, rows: Tensor) -> None:
        """Drops all rows but these (indices on the CPU), when sequences of a batch have come to their end.

        `place` comes next.
        """
        index = rows.to(self.k.device)
        self.slots = []  # they would keep the old rows in memory
        self.k, self.v = self.k.index_select(1, index), self.v.index_select(1, index)
        self.padding = self.padding[rows]

    @property
    def nbytes(self) -> int:
        return 2 * self.k.numel() * self.k.element_size()


def attend_guided(cache: KVCache) -> Attend:
    """Attention for a batch of two halves: the first sees the cache and its block, the second its block alone."""

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        (q, q_alone), (k, k_alone), (v, v_alone) = q.chunk(2), k.chunk(2), v.chunk(2)
        return torch.cat((cache(layer, q, k, v), attention(q_alone, k_alone, v_alone, kernel=cache.kernel)))

    return attend

"""What the text VAE and the DiT share: linear layers, rotary embeddings, masks, attention with and without a cache.

Queries, keys and values have the shape (B, n, heads, head_dim). A network calls `attend(layer, q, k, v)` once a layer
and never learns what stands behind it: whole sequences under a mask, a cache, or the slots of `slot_cache.py`. Nothing
here is kept on a module: caches belong to the run that made them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..hardware.transfer import upload

if TYPE_CHECKING:
    from .packed import PackedWeights

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]

# On a CPU products of fewer rows have other kernels: fewer are filled up, so that a row is the same to the last bit
# whatever stands beside it.
FEW_ROWS = 4


class Linear(nn.Linear):
    """A linear layer that takes its input in any dtype: weights live in the compute dtype, norms in float32.

    packed: the weights as `packed.py` lays them out, used where no gradient is needed.
    """

    packed: PackedWeights | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.packed is not None and self._use_packed(x):
            return self.packed.product(x, self.bias)
        x = x.to(self.weight.dtype)
        if x.numel() < FEW_ROWS * self.in_features and self._can_fill_up(x):
            rows = x.reshape(-1, self.in_features)
            filled = F.pad(rows, (0, 0, 0, FEW_ROWS - len(rows)))
            return F.linear(filled, self.weight, self.bias)[: len(rows)].unflatten(0, x.shape[:-1])
        return F.linear(x, self.weight, self.bias)

    def gelu_tanh(self, x: Tensor) -> Tensor:
        """The layer with a tanh-GELU behind it."""
        if self.packed is not None and self._use_packed(x):
            return self.packed.product_gelu(x, self.bias)
        return gelu_tanh(self.forward(x))

    def _can_fill_up(self, x: Tensor) -> bool:
        return x.dtype == torch.float32 and x.device.type == "cpu" and not torch.is_grad_enabled()

    def _use_packed(self, x: Tensor) -> bool:
        if self.packed is None or torch.is_grad_enabled() or x.dtype != torch.float32:
            return False
        return self.packed.fit(self.weight)


class LayerNorm(nn.LayerNorm):
    """A LayerNorm in float32, whatever the dtype of its input."""

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x.float(), self.normalized_shape, self.weight, self.bias, self.eps)


class StackedNorms:
    """Weights and biases of two LayerNorms beside each other, made once, and again when one of them was replaced, moved
    or written to.

    What it was made of is kept, so that no other tensor can come to lie at its address.
    """

    def __init__(self) -> None:
        self.key: list[tuple[int, int]] | None = None

    def __call__(self, one: LayerNorm, other: LayerNorm) -> tuple[Tensor, Tensor]:
        """Weights and biases, each (2, 1, channels). Where gradients are wanted they are made anew and pass them on."""
        parameters = (one.weight, other.weight, one.bias, other.bias)
        if torch.is_grad_enabled() or any(parameter.is_inference() for parameter in parameters):
            return self._stacked(parameters)
        key = [(parameter.data_ptr(), parameter._version) for parameter in parameters]
        if self.key != key:
            self.sources = [parameter.detach() for parameter in parameters]
            self.made = self._stacked(parameters)
            self.key = key
        return self.made

    def __deepcopy__(self, memo: dict[int, object]) -> StackedNorms:
        """A copy of the layer has other parameters."""
        return StackedNorms()

    @staticmethod
    def _stacked(parameters: tuple[Tensor, Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        weights, biases = torch.stack(parameters).view(2, 2, 1, -1).unbind(0)
        return weights, biases


# rotary embeddings


def angle_dtype(device: torch.device) -> torch.dtype:
    """float64, where the device has it. An angle of 1000 in float32 is off by up to 3e-5, and so are its sine and
    cosine; made in float64 and rounded once, they are exact to 6e-8 at any position and time.
    """
    return torch.float32 if device.type == "mps" else torch.float64


def rotary_angles(positions: Tensor, channels: int, theta: float) -> Tensor:
    """Angles (..., channels / 2) for integer positions (...), frequencies theta^(-2i / channels), in `angle_dtype`."""
    dtype = angle_dtype(positions.device)
    exponents = torch.arange(0, channels, 2, device=positions.device, dtype=dtype) / channels
    return positions.to(dtype)[..., None] * theta**-exponents


def rotary_pairs(positions: Tensor, head_dim: int, channels: int, theta: float) -> Tensor:
    """Complex factors (..., n, 1, head_dim / 2) for `rotate_pairs`; the rest of the channels stays."""
    angles = rotary_angles(positions, channels, theta)
    angles = F.pad(angles, (0, (head_dim - channels) // 2))
    return torch.polar(torch.ones_like(angles), angles)[..., None, :].to(torch.complex64)


def rotate_pairs(x: Tensor, factors: Tensor) -> Tensor:
    """Rotates neighbouring pairs of channels (the DiT's form). x: (..., head_dim), float32."""
    return torch.view_as_real(torch.view_as_complex(x.view(*x.shape[:-1], -1, 2)) * factors).flatten(-2)


def rotary_halves(positions: Tensor, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines, each (..., n, 1, head_dim), float32, for `rotate_halves`."""
    angles = rotary_angles(positions, head_dim, theta)
    angles = torch.cat((angles, angles), -1)[..., None, :]
    return angles.cos().float(), angles.sin().float()


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
    return torch.addcmul(_TWICE, x, x, value=0.044715 * TWICE).mul_(x).sigmoid_().mul_(x)


TWICE = 2 * (2 / torch.pi) ** 0.5
_TWICE = torch.tensor(TWICE, dtype=torch.float32, device="cpu")


# masks


def block_causal_mask(n: int, block_size: int, device: torch.device | str = "cpu") -> Tensor:
    """(n, n), true where position i (row) may see position j (column): j // block_size <= i // block_size."""
    block = torch.arange(n, device=device) // block_size
    return block[None, :] <= block[:, None]


# attention


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Softmax attention. q: (B, n, heads, c); k, v: (B, m, kv_heads, c) -> (B, n, heads * c).

    mask: true where a query may see a key, broadcastable to (B, heads, n, m). `kv_heads` is `heads` or 1.
    """
    return attend_to(q, k.transpose(1, 2), v.transpose(1, 2), mask)


def attend_to(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """The same for keys and values as caches hold them, (B, kv_heads, m, c). mask: of booleans, or what is added."""
    q = q.transpose(1, 2)
    if k.shape[1] != q.shape[1]:
        k, v = k.expand(-1, q.shape[1], -1, -1), v.expand(-1, q.shape[1], -1, -1)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)


def attend_under(mask: Tensor | None) -> Attend:
    """Attention over whole sequences under one mask for all layers."""
    return lambda layer, q, k, v: attention(q, k, v, mask)


class KVCache:
    """Keys and values of one network over the slots of a run, preallocated and written in place.

    Slots are shared by the rows of a batch: every row's text ends in the same slot, and rows with a shorter prefix
    have `padding` empty slots at their start, which nothing but themselves ever sees. A row's blocks are counted from
    its own first position.
    """

    def __init__(self, layers: int, heads: int, head_dim: int, capacity: int, padding: Tensor, block_size: int,
                 dtype: torch.dtype, device: torch.device | str):  # fmt: skip
        shape = (layers, len(padding), heads, capacity, head_dim)
        self.k = torch.zeros(shape, dtype=dtype, device=device)
        self.v = torch.zeros(shape, dtype=dtype, device=device)
        self.block_size = block_size
        self.padding = padding  # (batch,), on the CPU
        self.start = self.end = 0
        self.mask: Tensor | None = None
        self.slots: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []

    @property
    def capacity(self) -> int:
        return self.k.shape[3]

    def place(self, start: int, end: int) -> None:
        """The next passes write slots start to end and see every slot before `end`, block-causally. What they write of
        a block that goes on behind `end` is to be written anew with the rest of it.
        """
        if not 0 <= start < end <= self.capacity:
            raise ValueError(f"slots {start} to {end} do not lie in a cache of {self.capacity}")
        self.start, self.end = start, end
        # made here, once a block, and not in every layer of every step: what each layer writes and what it sees
        self.slots = [
            (k[:, :, start:end].transpose(1, 2), v[:, :, start:end].transpose(1, 2), k[:, :, :end], v[:, :, :end])
            for k, v in zip(self.k, self.v, strict=True)
        ]
        positions = torch.arange(end) - self.padding[:, None]  # (batch, end), below 0 in empty slots
        blocks = positions // self.block_size
        queries = blocks[:, start:]
        several, padded = bool((queries != queries[:, :1]).any()), bool(self.padding.any())
        if not several and not padded:
            self.mask = None
            return
        key_block, query_block = blocks[:, None], queries[:, : None if several else 1, None]
        visible = (positions >= 0)[:, None] & (key_block <= query_block)
        visible |= key_block == query_block  # a padded query must see something, or it turns into NaN
        self.mask = upload(visible[:, None], self.k.device)  # (batch, 1, queries or 1, keys)

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Writes k and v, then attends. q: (batch, n, heads, c) -> (batch, n, heads * c)."""
        own_keys, own_values, keys, values = self.slots[layer]
        own_keys.copy_(k)
        own_values.copy_(v)
        return attend_to(q, keys, values, self.mask)

    def keep(self, rows: Tensor) -> None:
        """Drops all rows but these (indices on the CPU), when sequences of a batch have come to their end.

        `place` comes next.
        """
        index = upload(rows, self.k.device)
        self.slots = []  # they would keep the old rows in memory
        self.k, self.v = self.k.index_select(1, index), self.v.index_select(1, index)
        self.padding = self.padding[rows]

    @property
    def nbytes(self) -> int:
        return 2 * self.k.numel() * self.k.element_size()

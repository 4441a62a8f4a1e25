"""SlotCache: keys and values of the DiT for sequences of different lengths, each in a slot of its own.

A slot holds the block under way, twice, and then the history from its first position on:

    unguided block (b) | guided block (b) | history (capacity)

The block's places never move, whatever the length of the history, so a step always writes the same memory: that is what
a captured CUDA graph needs. What lies behind a slot's length is masked. The unguided half of a step is the same
sequence seen without its history, so both halves are one attention, whose mask keeps them apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .layers import attend_to

# On a CPU, where a launch costs little, two attentions are faster than one from this many positions of history on: the
# unguided half need not pass over what it may not see. Seen on an AMD EPYC with 4 heads of 64 channels.
LONG_HISTORY = 64


class SlotCache:
    """The slots of a run, the first `rows` of them in use. Preallocated, written in place."""

    def __init__(self, layers: int, heads: int, head_dim: int, rows: int, capacity: int, block_size: int,
                 dtype: torch.dtype, device: torch.device | str):  # fmt: skip
        shape = (layers, rows, heads, 2 * block_size + capacity, head_dim)
        # zeros, since what a mask hides still has to be a number
        self.k = torch.zeros(shape, dtype=dtype, device=device)
        self.v = torch.zeros(shape, dtype=dtype, device=device)
        self.rows, self.block_size = rows, block_size

    @property
    def capacity(self) -> int:
        """Positions of history that a slot can hold."""
        return self.k.shape[3] - 2 * self.block_size

    @property
    def nbytes(self) -> int:
        return 2 * self.k.numel() * self.k.element_size()

    def place(self, positions: Tensor) -> None:
        """The next clean pass is about these positions of each row, (rows, n) on the CPU, whole blocks one after
        another; a position below 0 is none. They see the history up to the end of their own block.
        """
        b, n = self.block_size, positions.shape[1]
        end = int(positions.max()) + 1
        if not 0 < end <= self.capacity:
            raise ValueError(f"position {end - 1} does not lie in a cache of {self.capacity}")
        first = positions[:, 0]
        even = bool((first == first[0]).all()) and int(first[0]) >= 0
        own = slice(2 * b + int(first[0]), 2 * b + end) if even else slice(None)
        self.places: tuple[Tensor, Tensor] | None = None
        self.mask: Tensor | None = None
        if not even:  # what is none is written where the next step writes over it
            slots = torch.where(positions >= 0, positions + 2 * b, torch.arange(n) % b)
            self.places = torch.arange(self.rows)[:, None].to(self.k.device), slots.to(self.k.device)
        if not even or n > b:
            of_rows = positions[:1] if even else positions
            visible = torch.arange(end) // b <= of_rows.clamp(min=0)[..., None] // b
            self.mask = additive(visible[:, None], self.k)  # (rows or 1, 1, n, end)
        # of all layers at once: what the pass writes, and what it sees
        used = self.k[:, : self.rows], self.v[:, : self.rows]
        self.own = [x[:, :, :, own].transpose(2, 3).unbind(0) for x in used]
        self.seen = [x[:, :, :, 2 * b : 2 * b + end].unbind(0) for x in used]

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """The clean pass: writes k and v, then attends. q: (rows, n, heads, c) -> (rows, n, heads * c)."""
        for own, new in zip(self.own, (k, v), strict=True):
            if self.places is None:
                own[layer].copy_(new)
            else:
                own[layer].index_put_(self.places, new)
        keys, values = self.seen
        return attend_to(q, keys[layer], values[layer], self.mask)

    # rows

    def keep(self, rows: Sequence[int]) -> None:
        """The slots in use are these from now on, in this order; only those that change their place are moved."""
        for slot, row in enumerate(rows):
            if slot != row:
                self.k[:, slot].copy_(self.k[:, row])
                self.v[:, slot].copy_(self.v[:, row])
        self.rows = len(rows)

    def join(self, other: SlotCache, capacity: int) -> SlotCache:
        """The cache with the rows of another behind its own and room for `capacity` positions: this one where it has
        the room, else a new one.
        """
        rows, layers, heads = self.rows + other.rows, self.k.shape[0], self.k.shape[2]
        joined = self
        if rows > self.k.shape[1] or capacity > self.capacity:
            slots = max(self.k.shape[1], bucket(rows))
            joined = SlotCache(layers, heads, self.k.shape[4], slots, max(capacity, self.capacity), self.block_size,
                               self.k.dtype, self.k.device)  # fmt: skip
        for part, where in ((self, slice(0, self.rows)), (other, slice(self.rows, rows))):
            end = 2 * self.block_size + min(part.capacity, joined.capacity)
            if part is not joined:
                joined.k[:, where, :, :end] = part.k[:, : part.rows, :, :end]
                joined.v[:, where, :, :end] = part.v[:, : part.rows, :, :end]
        joined.rows = rows
        return joined


def bucket(count: int) -> int:
    """The next power of two: how many slots are kept for so many sequences."""
    return 1 << (count - 1).bit_length()


def additive(visible: Tensor, like: Tensor) -> Tensor:
    """A mask as attention adds it: 0 where visible, minus infinity elsewhere, in the dtype and on the device of `like`.
    Made once, where a mask of booleans is turned into this one in every layer.
    """
    mask = torch.zeros(visible.shape, dtype=like.dtype)
    return mask.masked_fill_(~visible, -torch.inf).to(like.device)


class BlockAttention:
    """Attention of the steps of a block: `attend` for q, k, v (rows, n, heads, c) with the block of every row.

    guided: n is 2 b, the block as the unguided half sees it, alone, and then as the guided half does, with the history;
    otherwise n is b. lengths: (rows,) on the CPU, of the histories. history: positions of it that are looked at, at
    least the greatest length. in_one: whether both halves are one attention. rows: slots, those in use if absent.
    """

    def __init__(self, cache: SlotCache, lengths: Tensor, history: int, guided: bool, in_one: bool = True,
                 rows: int | None = None) -> None:  # fmt: skip
        b, rows = cache.block_size, cache.rows if rows is None else rows
        first, end = 0 if guided else b, 2 * b + history
        # of all layers at once: what a step writes, and what it sees
        self.own_keys, self.own_values = (x[:, :rows, :, first : 2 * b].transpose(2, 3).unbind(0)
                                          for x in (cache.k, cache.v))  # fmt: skip
        self.split = b if guided and not in_one else 0
        first += self.split
        self.keys, self.values = (x[:, :rows, :, first:end].unbind(0) for x in (cache.k, cache.v))
        if self.split:
            self.alone = [x[:, :rows, :, :b].unbind(0) for x in (cache.k, cache.v)]
        self.mask: Tensor | None = None
        if (guided and in_one) or bool((lengths != history).any()):
            self.mask = step_mask(lengths, history, b, guided and in_one, cache.k)

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        own_keys, own_values = self.own(layer)
        own_keys.copy_(k)
        own_values.copy_(v)
        return self.over(layer, q)

    def own(self, layer: int) -> tuple[Tensor, Tensor]:
        """Where the keys and values of the block go, each (rows, n, heads, c)."""
        return self.own_keys[layer], self.own_values[layer]

    def over(self, layer: int, q: Tensor) -> Tensor:
        """Attends, once keys and values are written. q: (rows, n, heads, c) -> (rows, n, heads * c)."""
        if not self.split:
            return attend_to(q, self.keys[layer], self.values[layer], self.mask)
        keys, values = self.alone
        alone = attend_to(q[:, : self.split], keys[layer], values[layer], None)
        return torch.cat((alone, attend_to(q[:, self.split :], self.keys[layer], self.values[layer], self.mask)), 1)


def step_mask(lengths: Tensor, history: int, block_size: int, guided: bool, like: Tensor) -> Tensor:
    """(rows or 1, 1, n, keys), what the positions of a step see of their slot (see `BlockAttention`)."""
    if bool((lengths == lengths[0]).all()):
        lengths = lengths[:1]
    past = torch.arange(history) < lengths[:, None]  # (rows, history)
    rows, b = len(lengths), block_size
    seen = torch.cat((torch.ones(rows, b, dtype=torch.bool), past), 1)[:, None].expand(-1, b, -1)
    if guided:
        alone = torch.cat((torch.ones(b, dtype=torch.bool), torch.zeros(b + history, dtype=torch.bool)))
        seen = torch.cat((torch.zeros(rows, b, b, dtype=torch.bool), seen), 2)
        seen = torch.cat((alone.expand(rows, b, -1), seen), 1)
    return additive(seen[:, None], like)

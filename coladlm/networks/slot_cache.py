"""SlotCache: keys and values of a network for sequences of different lengths, each in a slot of its own.

A slot of the DiT holds the block under way, twice, and then the history from its first position on:

    unguided block (b) | guided block (b) | history (capacity)

Before the blocks there are spare places, so that the history begins at a multiple of `SPAN`.

The block's places never move, whatever the length of the history, so a step always writes the same memory: that is what
a captured CUDA graph needs. What lies behind a slot's length is masked. The unguided half of a step is the same
sequence seen without its history, so both halves are one attention, whose mask keeps them apart. The encoder and the
decoder of the VAE, which have clean passes alone, keep their keys and values in the same way.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..hardware.transfer import upload
from .layers import FEW_ROWS, Attend, attend_to, attend_under

# On a CPU, where a launch costs little, two attentions are faster than one from this many positions of history on: the
# unguided half need not pass over what it may not see. Seen on an AMD EPYC with 4 heads of 64 channels.
LONG_HISTORY = 64
# On a CPU an attention looks at so many places that its sums come in the same order however many are needed, and masks
# the rest: a multiple of SPAN, since its kernels add up what is left over after whole vectors in another order, and,
# after whole pieces, which torch takes one by one, no number between HALVED, where MKL takes a sum in two halves (seen
# with AVX2). So a row has the same velocity to the last bit alone and beside others with a longer history.
SPAN = 16
PIECE = 512
HALVED = (192, 384)
SPACIOUS = 4  # times the memory that is needed, from which on a cache is replaced by a smaller one


class SlotCache:
    """The slots of a run, the first `rows` of them in use. Preallocated, written in place."""

    def __init__(self, layers: int, heads: int, head_dim: int, rows: int, capacity: int, block_size: int,
                 dtype: torch.dtype, device: torch.device | str):  # fmt: skip
        self.steady = torch.device(device).type == "cpu"
        self.rows, self.block_size = rows, block_size
        self.lead = whole(2 * block_size)  # places before the history
        slots = self.lead + max(self.span(capacity), self.span(capacity, self.before(2)))
        keys, queries = rows * heads * slots, rows * heads * 2 * block_size
        # Of each layer one table (places, head_dim) of its keys, its values and the queries of a block: one kernel can
        # write all three. Zeros, since what a mask hides still has to be a number.
        self.tables = torch.zeros(layers, 2 * keys + queries, head_dim, dtype=dtype, device=device)
        shape = (layers, rows, heads, slots, head_dim)
        self.k, self.v = (self.tables[:, first : first + keys].view(shape) for first in (0, keys))
        self.q = self.tables[:, 2 * keys :]
        self._places: dict[tuple[int, int, int], Tensor] = {}

    @property
    def capacity(self) -> int:
        """Positions of history that a slot can hold."""
        return self.k.shape[3] - self.lead

    @property
    def nbytes(self) -> int:
        return self.tables.nbytes

    def before(self, blocks: int) -> int:
        """How many places before the history an attention looks at that sees so many of the blocks under way: on a CPU
        all of them, so that the history begins at the same one in every form of a step.
        """
        return self.lead if self.steady else blocks * self.block_size

    def span(self, history: int, before: int = 0) -> int:
        """How many places of the history an attention looks at, for one of this length and so many places before it."""
        return steady(before + history) - before if self.steady else history

    def alone(self) -> tuple[int, int, slice]:
        """What an attention looks at that sees the unguided block alone: the first place, how many, and which of these
        are the block's: the first of those that both blocks under way look at in one.
        """
        b, start = self.block_size, self.lead - self.before(2)
        own = self.lead - 2 * b - start
        return start, whole(own + b) if self.steady else b, slice(own, own + b)

    def table_places(self, rows: int, first: int, end: int) -> Tensor:
        """(rows * n, 3, heads), where in the table of a layer the queries, keys and values of so many rows belong whose
        keys have the slots from `first` to `end`. Queries come one row after the other, (rows, n, heads).
        """
        if (rows, first, end) not in self._places:
            _, own, heads, slots, _ = self.k.shape
            row, position, head = torch.meshgrid(*map(torch.arange, (rows, end - first, heads)), indexing="ij")
            keys = (row * heads + head) * slots + first + position
            values = keys + own * heads * slots
            queries = 2 * own * heads * slots + (row * (end - first) + position) * heads + head
            places = torch.stack((queries, keys, values), 2).flatten(0, 1)
            self._places[rows, first, end] = places.to(self.tables.device)
        return self._places[rows, first, end]

    def place(self, positions: Tensor) -> None:
        """The next clean passes are about these positions of each row, (rows, n) on the CPU, one after another; a
        position below 0 is none. They see the history up to the end of their own block, or, where that is not whole
        yet, up to the last position of the row. What they write of such a block is to be written anew with the rest.
        """
        b, n = self.block_size, positions.shape[1]
        end = int(positions.max()) + 1
        if not 0 < end <= self.capacity:
            raise ValueError(f"position {end - 1} does not lie in a cache of {self.capacity}")
        first = positions[:, 0]
        even = bool((first == first[0]).all()) and int(first[0]) >= 0
        own = slice(self.lead + int(first[0]), self.lead + end) if even else slice(None)
        self.places: tuple[Tensor, Tensor] | None = None
        self.mask: Tensor | None = None
        if not even:  # what is none is written where the next step writes over it
            slots = torch.where(positions >= 0, positions, torch.arange(n) % b - 2 * b) + self.lead
            rows = torch.arange(self.rows)[:, None]
            self.places = upload(rows, self.k.device), upload(slots, self.k.device)
        span = self.span(end)
        if not even or n > b or span > end:
            of_rows = positions[:1] if even else positions
            seen, last = torch.arange(span), of_rows.amax(1).clamp(min=0)[:, None, None]
            visible = (seen // b <= of_rows.clamp(min=0)[..., None] // b) & (seen <= last)
            self.mask = additive(visible[:, None], self.k)  # (rows or 1, 1, n, span)
        # of all layers at once: what the pass writes, and what it sees
        used = self.k[:, : self.rows], self.v[:, : self.rows]
        self.own = [x[:, :, :, own].transpose(2, 3).unbind(0) for x in used]
        self.seen = [x[:, :, :, self.lead : self.lead + span].unbind(0) for x in used]
        self.here = own, self.lead + span

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """The clean pass: writes k and v, then attends. q: (rows, n, heads, c) -> (rows, n, heads * c)."""
        for own, new in zip(self.own, (k, v), strict=True):
            if self.places is None:
                own[layer].copy_(new)
            else:
                own[layer].index_put_(self.places, new)
        keys, values = self.seen
        return attended(q, keys[layer], values[layer], self.mask)

    def beside(self, rows: Tensor) -> Attend:
        """The clean pass of these rows alone (indices on the cache's device), which writes nothing here: it works on a
        copy of what they see.
        """
        own, end = self.here
        places = None
        if self.places is not None:
            places = torch.arange(len(rows), device=rows.device)[:, None], self.places[1][rows]
        mask = self.mask if self.mask is None or len(self.mask) == 1 else self.mask[rows]

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            copies = [x[layer, :, :, :end].index_select(0, rows) for x in (self.k, self.v)]
            for copy, new in zip(copies, (k, v), strict=True):
                if places is None:
                    copy[:, :, own] = new.transpose(1, 2)
                else:
                    copy.transpose(1, 2).index_put_(places, new)
            keys, values = (copy[:, :, self.lead :] for copy in copies)
            return attended(q, keys, values, mask)

        return attend

    # rows

    def keep(self, rows: Sequence[int]) -> None:
        """The slots in use are these from now on, in this order; only those that change their place are moved."""
        for slot, row in enumerate(rows):
            if slot != row:
                self.k[:, slot].copy_(self.k[:, row])
                self.v[:, slot].copy_(self.v[:, row])
        self.rows = len(rows)

    def repeat(self, rows: Sequence[int]) -> None:
        """Each slot from now on has what this row has, which is none behind it."""
        for slot, row in reversed(list(enumerate(rows))):  # what is written over has been copied
            if slot != row:
                self.k[:, slot].copy_(self.k[:, row])
                self.v[:, slot].copy_(self.v[:, row])
        self.rows = len(rows)

    def join(self, other: SlotCache, capacity: int) -> SlotCache:
        """The cache with the rows of another behind its own and room for `capacity` positions: this one where it has
        the room and not far too much of it, else a new one.
        """
        rows, (layers, slots, heads, places, head_dim) = self.rows + other.rows, self.k.shape
        joined, too_small = self, rows > slots or capacity > self.capacity
        if too_small or slots * places > SPACIOUS * bucket(rows) * (self.lead + self.span(capacity)):
            own = (max(slots, bucket(rows)), max(capacity, self.capacity)) if too_small else (bucket(rows), capacity)
            joined = SlotCache(layers, heads, head_dim, *own, self.block_size, self.k.dtype, self.k.device)
        for part, where in ((self, slice(0, self.rows)), (other, slice(self.rows, rows))):
            end = self.lead + min(part.capacity, joined.capacity)
            if part is not joined:
                joined.k[:, where, :, :end] = part.k[:, : part.rows, :, :end]
                joined.v[:, where, :, :end] = part.v[:, : part.rows, :, :end]
        joined.rows = rows
        return joined


def whole(places: int) -> int:
    """The next multiple of `SPAN`."""
    return -(-places // SPAN) * SPAN


def steady(places: int) -> int:
    """The next number of places over which sums come in the order that they have over more of them."""
    (few, many), rest = HALVED, places % PIECE
    return places - rest + (many if few < rest < many else whole(rest))


def bucket(count: int) -> int:
    """The next power of two: how many slots are kept for so many sequences."""
    return 1 << (count - 1).bit_length()


def additive(visible: Tensor, like: Tensor) -> Tensor:
    """A mask as attention adds it: 0 where visible, minus infinity elsewhere, in the dtype and on the device of `like`.
    Made once, where a mask of booleans is turned into this one in every layer.
    """
    mask = torch.zeros(visible.shape, dtype=like.dtype)
    return upload(mask.masked_fill_(~visible, -torch.inf), like.device)


def only(own: slice, places: int, like: Tensor) -> Tensor | None:
    """A mask as attention adds it that shows these of so many places; None where they are all."""
    visible = torch.zeros(1, 1, 1, places, dtype=torch.bool)
    visible[..., own] = True
    return None if bool(visible.all()) else additive(visible, like)


def attention_alone(cache: SlotCache, rows: int) -> Attend:
    """Attention of the block of so many rows that sees nothing else, outside the cache: the velocity is that of the
    unguided half of a step to the last bit.
    """
    if not cache.steady:
        return attend_under(None)
    _, places, own = cache.alone()
    keys, values = torch.zeros(2, rows, cache.k.shape[2], places, cache.k.shape[4], dtype=cache.k.dtype)
    mask = only(own, places, keys)

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        keys[:, :, own], values[:, :, own] = k.transpose(1, 2), v.transpose(1, 2)
        return attended(q, keys, values, mask)

    return attend


def attended(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """`attend_to`, where a query gets the same sums on a CPU however many others there are: a number of them that
    `FEW_ROWS` divides.
    """
    n = q.shape[1]
    if n % FEW_ROWS == 0 or q.device.type != "cpu":
        return attend_to(q, k, v, mask)
    several = torch.arange(-(-n // FEW_ROWS) * FEW_ROWS) % n  # what is added nobody reads
    if mask is not None and mask.shape[2] == n:
        mask = mask[:, :, several]
    return attend_to(q[:, several], k, v, mask)[:, :n]


class BlockAttention:
    """Attention of the steps of a block: `attend` for q, k, v (rows, n, heads, c) with the block of every row.

    guided: n is 2 b, the block as the unguided half sees it, alone, and then as the guided half does, with the history;
    otherwise n is b. lengths: (rows,) on the CPU, of the histories. history: positions of it that are looked at, at
    least the greatest length, and on a CPU some more. in_one: whether both halves are one attention. rows: slots,
    those in use if absent.
    """

    def __init__(self, cache: SlotCache, lengths: Tensor, history: int, guided: bool, in_one: bool = True,
                 rows: int | None = None) -> None:  # fmt: skip
        b, lead, rows = cache.block_size, cache.lead, cache.rows if rows is None else rows
        first = lead - (2 * b if guided else b)
        self.cache, self.own_slots = cache, (rows, first, lead)
        # of all layers at once: what a step writes, and what it sees
        self.own_keys, self.own_values = (x[:, :rows, :, first:lead].transpose(2, 3).unbind(0)
                                          for x in (cache.k, cache.v))  # fmt: skip
        self.split = b if guided and not in_one else 0
        self.halves = 2 if guided and in_one else 1
        self.before = cache.before(self.halves)
        self.history = cache.span(history, self.before)
        seen = slice(lead - self.before, lead + self.history)
        self.keys, self.values = (x[:, :rows, :, seen].unbind(0) for x in (cache.k, cache.v))
        self.mask: Tensor | None = None
        if self.before > self.halves * b or self.halves == 2 or bool((lengths != self.history).any()):
            self.mask = self.mask_of(lengths, cache.k)
        if self.split:
            start, places, own = cache.alone()
            self.alone = [x[:, :rows, :, start : start + places].unbind(0) for x in (cache.k, cache.v)]
            self.alone_mask = only(own, places, cache.k)

    def mask_of(self, lengths: Tensor, like: Tensor) -> Tensor:
        """(rows or 1, 1, n, keys), what the positions of a step see, for histories of these lengths."""
        if bool((lengths == lengths[0]).all()):
            lengths = lengths[:1]
        b, halves, before = self.cache.block_size, self.halves, self.before
        seen = torch.zeros(len(lengths), halves * b, before + self.history, dtype=torch.bool)
        for half in range(halves):
            own = before - (halves - half) * b
            seen[:, half * b : (half + 1) * b, own : own + b] = True
        seen[:, -b:, before:] = (torch.arange(self.history) < lengths[:, None])[:, None]
        return additive(seen[:, None], like)

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        self.own_keys[layer].copy_(k)
        self.own_values[layer].copy_(v)
        return self.over(layer, q)

    # for those who write queries, keys and values themselves

    @functools.cached_property
    def tables(self) -> tuple[Tensor, ...]:
        """Of each layer, what they are written to (see `SlotCache`)."""
        return self.cache.tables.unbind(0)

    @functools.cached_property
    def places(self) -> Tensor:
        """Where in each of them, (rows * n, 3, heads)."""
        return self.cache.table_places(*self.own_slots)

    @functools.cached_property
    def queries(self) -> tuple[Tensor, ...]:
        """Of each layer, what is written of queries, (rows, n, heads, c)."""
        rows, first, end = self.own_slots
        shape = (rows, end - first, self.cache.k.shape[2])
        return self.cache.q[:, : math.prod(shape)].unflatten(1, shape).unbind(0)

    def over(self, layer: int, q: Tensor) -> Tensor:
        """Attends, once keys and values are written. q: (rows, n, heads, c) -> (rows, n, heads * c)."""
        if not self.split:
            return attended(q, self.keys[layer], self.values[layer], self.mask)
        keys, values = self.alone
        alone = attended(q[:, : self.split], keys[layer], values[layer], self.alone_mask)
        return torch.cat((alone, attended(q[:, self.split :], self.keys[layer], self.values[layer], self.mask)), 1)

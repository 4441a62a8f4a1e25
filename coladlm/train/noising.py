"""How rows of latents become what the DiT is to denoise: sizes of blocks, times, noise, positions that stand clean."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from .dit_objective import DiTObjective

WIDE = (2, 4)  # times the network's own block size: other sizes that rows may have
WIDE_LAG = 0.5  # of the time grid, at most, in those: with a longer one hardly a position of a block is under way


@dataclasses.dataclass(frozen=True)
class Noised:
    """What a batch of rows becomes: the networks' inputs and what is to be predicted. Times are in [0, 1]."""

    clean: Tensor  # (B, n, d), the history
    noisy: Tensor  # (C B, n, d), C noisy copies of all rows, one after another
    velocity: Tensor  # (C B, n, d), the target
    times: Tensor  # (T,), times[0] = 0
    index: Tensor  # (C B, n), the time of each position of the noisy copies
    free: Tensor  # (C B, n), true where the loss counts
    history: Tensor  # (C B,), false where the noisy blocks see themselves alone
    sizes: Tensor | None = None  # (B,), positions of a block in each row; None: everywhere those of the network


def noised_rows(z: Tensor, objective: DiTObjective, block_size: int, generator: torch.Generator) -> Noised:
    """Draws block sizes, times, noise, pinned positions and rows without a history for latents z (B, n, d).

    block_size: the network's own. Raises ValueError for rows that the widest blocks do not divide.
    """
    o, b, device = objective, block_size, z.device
    size = o.history_noise * torch.rand(len(z), 1, 1, generator=generator, device=device)
    clean = z + size * torch.randn(z.shape, generator=generator, device=device)
    z = z.repeat(o.copies, 1, 1)
    rows, n, d = z.shape
    blocks = n // b

    count = min(o.times, rows * blocks)
    strata = torch.arange(count, device=device) + torch.rand(count, generator=generator, device=device)
    normal = torch.special.ndtri((strata / count).double().clamp(1e-6, 1 - 1e-6)).float()
    location = 1 + 0.5 * math.log(d / 16) if o.time_location is None else o.time_location
    drawn = torch.sigmoid(location + o.time_scale * normal)
    times = torch.cat((normal.new_zeros(1), drawn, normal.new_ones(1)))  # rising
    chosen = 1 + torch.randperm(rows * n, generator=generator, device=device).view(rows, n) % count
    index, in_line = _staggered(o, b, times, chosen.unflatten(1, (blocks, b)), generator)
    kind = torch.rand(len(clean), generator=generator, device=device)
    single = (kind < o.single_rows).repeat(o.copies)[:, None]
    index, in_line = torch.where(single, chosen, index), in_line | single
    pinned = _pinned(o, rows, blocks, b, generator, device) & ~single
    sizes = _sizes(o, b, kind, n)
    if sizes is not None:
        each = sizes.repeat(o.copies)[:, None]
        for size in (times_wider * b for times_wider in WIDE if o.wide_rows > 0):
            wide_index, wide_line = _staggered(o, b, times, chosen.unflatten(1, (-1, size)), generator)
            here, wide_pinned = each == size, _pinned(o, rows, n // size, size, generator, device)
            index, in_line = torch.where(here, wide_index, index), torch.where(here, wide_line, in_line)
            pinned = torch.where(here, wide_pinned, pinned)

    index = index.masked_fill(pinned, 0)
    free = (index > 0) & in_line
    target = torch.randn(z.shape, generator=generator, device=device)
    t = times[index][..., None]
    history = torch.rand(rows, generator=generator, device=device) >= o.history_dropped
    return Noised(clean, (1 - t) * z + t * target, target - z, times, index, free, history, sizes)


def _sizes(o: DiTObjective, b: int, kind: Tensor, n: int) -> Tensor | None:
    """(B,), positions of a block in each row of n, by a uniform draw for each; None where all are the network's.

    Raises ValueError for rows that cannot be divided.
    """
    if o.single_rows == 0 and o.wide_rows == 0:
        return None
    if o.wide_rows > 0 and n % (b * max(WIDE)):
        raise ValueError(f"rows are of {n} tokens, expected a multiple of {b * max(WIDE)}, the widest block")
    sizes = torch.where(kind < o.single_rows, 1, b)
    for i, times_wider in enumerate(WIDE):
        from_here = 1 - o.wide_rows * (1 - i / len(WIDE))
        sizes = torch.where(kind >= from_here, times_wider * b, sizes)
    return sizes


def _staggered(
    o: DiTObjective, own: int, times: Tensor, chosen: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Indices into the rising `times` for each position (rows, n), and where the sampler needs a velocity.

    chosen: (rows, blocks, b), indices of which the first of a block counts. One position of a block has it. In some
    blocks all others have it too; in the rest each is a lag of the time grid behind the one before it, from 0 to
    the whole grid (`WIDE_LAG` in wide blocks), so those before it may be finished and those after it may wait at
    noise. Of the waiting ones the first is learned.
    """
    b, device, chosen = chosen.shape[-1], times.device, chosen[..., :1]
    everywhere = chosen.expand(-1, -1, b)
    if b == 1 or o.staggered_blocks == 0:
        return everywhere.flatten(1), torch.ones_like(everywhere, dtype=torch.bool).flatten(1)

    def uniform() -> Tensor:
        return torch.rand(chosen.shape, generator=generator, device=device)

    most = WIDE_LAG if b > own else 1.0
    lag, place = most * uniform(), (uniform() * b).long()
    t = times[chosen]
    share = t / (o.stagger_shift - (o.stagger_shift - 1) * t)  # where on the grid, see flow.shifted
    share = share + (torch.arange(b, device=device) - place) * lag
    limited = share.clamp(0, 1)
    t = o.stagger_shift * limited / (1 + (o.stagger_shift - 1) * limited)
    index = torch.bucketize(t, (times[1:] + times[:-1]) / 2)  # the nearest time
    staggered = uniform() < o.staggered_blocks
    needed = ~staggered | (share < 1 + lag)
    return torch.where(staggered, index, everywhere).flatten(1), needed.flatten(1)


def _pinned(
    o: DiTObjective, rows: int, blocks: int, b: int, generator: torch.Generator, device: torch.device
) -> Tensor:
    """(rows, blocks * b): in some blocks a clean start (a prompt's left-over), or any clean subset (an edit)."""
    if b == 1:
        return torch.zeros(rows, blocks, dtype=torch.bool, device=device)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, device=device)

    length = 1 + (uniform(rows, blocks, 1) * (b - 1)).long()  # 1 to b - 1 positions
    places = torch.arange(b, device=device)
    order = uniform(rows, blocks, b).argsort(-1)
    kind = uniform(rows, blocks, 1)
    start, end, subset = places < length, places >= b - length, order < length
    chosen = torch.where(kind < 0.3, start, torch.where(kind < 0.5, end, subset))
    return (chosen & (uniform(rows, blocks, 1) < o.pinned_blocks)).flatten(1)

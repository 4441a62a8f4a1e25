"""What validation measures of the DiT: velocity error and the head's cross-entropy by time, on held-out rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .noising import WIDE, Noised

if TYPE_CHECKING:
    from .dit import DiTStage

TIME_BINS = (0.1, 0.3, 0.5, 0.7, 0.9)  # at which validation looks
BIN_HALF_WIDTH = 0.1
TIMES_A_BIN = 16


def learned_nothing(t: float) -> float:
    """Velocity error per channel of the best guess that knows only z_t, for data of unit variance without structure."""
    return 1.0 / ((1 - t) ** 2 + t**2)


class Look(NamedTuple):
    """One way to look at a batch. kind: how its numbers are called. seen: are the blocks before a noisy one? index:
    (B, n), the time of each position. counted: (B, n), true where the error counts. bins: (B, n), of TIME_BINS. sizes:
    of the blocks, see `Noised`.
    """

    kind: str
    seen: bool
    index: Tensor
    counted: Tensor
    bins: Tensor
    sizes: Tensor | None = None


def measured(stage: DiTStage, batches: list[Tensor], generator: torch.Generator) -> dict[str, float]:
    """Velocity error and the head's cross-entropy on real tokens by time: `flow` and `head` with the history,
    `alone` without, `line` and `line_head` of positions whose block is finished before them and noise after them;
    `next`, the cross-entropy of the token after each block by the next-token head; `wide` and `wide_head` as `flow` and
    `head` in the widest blocks, where some rows have them. A time that no position of the batches has is left out.

    Block k of a row stands in the time bin (k + row) mod 5, so that every bin sees every place in a story.
    """
    sums: dict[str, list[float]] = {}

    def count(name: str, values: Tensor) -> None:
        entry = sums.setdefault(name, [0.0, 0.0])
        entry[0], entry[1] = entry[0] + values.sum().item(), entry[1] + values.numel()

    b = stage.dit.config.block_size
    for ids in batches:
        z = stage.latents(ids)
        spread = BIN_HALF_WIDTH * (2 * torch.rand(TIMES_A_BIN, generator=generator, device=z.device) - 1)
        times = (torch.tensor(TIME_BINS, device=z.device)[:, None] + spread).flatten()
        times = torch.cat((times.new_zeros(1), times, times.new_ones(1)))
        which = _times_within(ids, b, generator)
        target = torch.randn(z.shape, generator=generator, device=z.device)
        for kind, seen, index, counted, bins, sizes in _looks(stage, ids, which, len(times) - 1, generator):
            history = torch.full((len(z),), seen, device=z.device)
            t = times[index][..., None]
            noised = Noised(z, (1 - t) * z + t * target, target - z, times, index, counted, history, sizes)
            predicted = stage.predict(noised)
            velocity, clean = stage.velocity(predicted, noised), predicted.clean
            if stage.next_head is not None and kind == "flow":
                after = ids[:, b::b]
                entropy = F.cross_entropy(stage.next_logits(clean[:, b - 1 : -1 : b]).mT, after, reduction="none")
                count("next", entropy[after != stage.pad])
            error = (velocity - noised.velocity).square().mean(-1)
            for number, time in enumerate(TIME_BINS):
                chosen = counted & (bins == number)
                count(f"{kind}_{time}", error[chosen])
                if stage.names_tokens and seen:
                    logits = stage.token_logits(predicted, noised, chosen.flatten().nonzero()[:, 0])
                    entropy = F.cross_entropy(logits, ids[chosen], reduction="none")
                    count(f"{'head' if kind == 'flow' else kind + '_head'}_{time}", entropy)
    means = {name: total / number for name, (total, number) in sums.items() if number}
    for kind in ("flow", "alone", "head", "line", "line_head", "wide", "wide_head"):
        values = [means[f"{kind}_{time}"] for time in TIME_BINS if f"{kind}_{time}" in means]
        if values:
            means[kind] = sum(values) / len(values)
    return means


def _looks(
    stage: DiTStage, ids: Tensor, which: Tensor, last: int, generator: torch.Generator
) -> Iterator[Look]:  # fmt: skip
    """The looks at a batch ids (B, n). which: (B, n), of the times of its bin. last: the index of pure noise."""
    b, free = stage.dit.config.block_size, ids != stage.pad
    blocks, bins = _blocks_and_bins(ids, b)
    index = 1 + bins * TIMES_A_BIN + which
    places = (blocks // len(TIME_BINS)).repeat_interleave(b, 1) % b
    behind = torch.arange(ids.shape[1], device=ids.device) % b - places
    in_line = index.masked_fill(behind < 0, 0).masked_fill(behind > 0, last)
    yield Look("flow", True, index, free, bins)
    yield Look("alone", False, index, free, bins)
    yield Look("line", True, in_line, free & (behind == 0), bins)
    if stage.objective.wide_rows > 0:
        size = b * max(WIDE)
        _, bins = _blocks_and_bins(ids, size)
        index = 1 + bins * TIMES_A_BIN + _times_within(ids, size, generator)
        yield Look("wide", True, index, free, bins, torch.full((len(ids),), size, device=ids.device))


def _blocks_and_bins(ids: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Of rows ids (B, n) in blocks of `size`: (B, blocks), block k + row, and (B, n), the time bin of each position."""
    rows, n = ids.shape
    blocks = torch.arange(n // size, device=ids.device) + torch.arange(rows, device=ids.device)[:, None]
    return blocks, (blocks % len(TIME_BINS)).repeat_interleave(size, 1)


def _times_within(ids: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """(B, n), drawn for each block: which of the times of its bin it has."""
    rows, n = ids.shape
    return torch.randint(TIMES_A_BIN, (rows, n // size), generator=generator, device=ids.device).repeat_interleave(
        size, 1
    )

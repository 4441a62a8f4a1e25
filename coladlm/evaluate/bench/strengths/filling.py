"""Both models fill patterns of pinned and free tokens that stand after others.

The Cola-DLM by its own hole filling (latent/fill.py): pinned tokens are pinned latents, and what is free sees the
blocks before it and all of its own block. The transformer token by token from the left: a pinned token is put in its
place whatever it would have said, so that nothing before it could know of it; or it makes several guesses and takes
the one under which the whole pattern is likeliest.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from ....baseline.baseline import Baseline
from ....latent.fill import HoledText, plan
from ....latent.fit import unlikelihoods
from ....model import ColaDLM
from ....sampling.events import Finished
from ....sampling.randomness import token_uniforms
from ....sampling.tokens import NO_TOKEN, choose
from ....settings import SamplerSettings
from ..measuring import Measuring
from .passages import Passage

Pattern = tuple[Sequence[int], Sequence[int]]  # token ids before, and the pattern


@dataclasses.dataclass(frozen=True)
class Filled:
    """For each passage the ids of its whole pattern, filled in, and the processor seconds that it took."""

    ids: list[list[int]]
    seconds: list[float]


def filled(measuring: Measuring, what: str, passages: Sequence[Passage], batch: int,
           fill: Callable[[Sequence[Passage], int], list[list[int]]]) -> Filled:  # fmt: skip
    """What `fill(passages, number of the first)` makes of batches of passages, from the log or anew."""
    ids: list[list[int]] = []
    seconds: list[float] = []
    for start in range(0, len(passages), batch):
        part = passages[start : start + batch]

        def measure(part: Sequence[Passage] = part, start: int = start) -> Any:
            begun = time.process_time()
            found = fill(part, start)
            return [found, (time.process_time() - begun) / len(part)]

        found, each = measuring.item(f"{what}, {start}", measure)
        ids, seconds = ids + found, seconds + [each] * len(part)
        measuring.progress(what, len(ids), len(passages))
    return Filled(ids, seconds)


# the Cola-DLM


def fill_by_flow(model: ColaDLM, patterns: Sequence[Pattern], keys: Sequence[int],
                 settings: SamplerSettings) -> list[list[int]]:  # fmt: skip
    """Fills all patterns as one batch; keys: of the noise of each."""
    settings = dataclasses.replace(settings, stop_at_end=False, whole_sentences=False)
    plans = []
    for (before, pattern), key in zip(patterns, keys, strict=True):
        holed = _holed(before, pattern)
        plans.append(dataclasses.replace(plan(model, holed, 0, 1), sequence=key))
    for event in model.run_plans(plans, settings):
        if isinstance(event, Finished):
            leads = [next(i for i, token in enumerate(pattern) if token == NO_TOKEN) for _, pattern in patterns]
            return [[*pattern[:lead], *ids] for (_, pattern), lead, ids
                    in zip(patterns, leads, event.token_ids, strict=True)]  # fmt: skip
    raise RuntimeError("the sampler ended without a result")


def _holed(before: Sequence[int], pattern: Sequence[int]) -> HoledText:
    """The pattern as a text in which every free token is a hole of its own."""
    pieces = [list(before)]
    for token in pattern:
        if token == NO_TOKEN:
            pieces.append([])
        else:
            pieces[-1].append(token)
    return HoledText(tuple(map(tuple, pieces)), "", (False,) * (len(pieces) - 1))


def to_block_end(model: ColaDLM, passage: Passage) -> Pattern:
    """The passage up to the end of the block of its last free token: the flow sees no further."""
    last = max(i for i, token in enumerate(passage.pattern) if token == NO_TOKEN)
    end = -(-(len(passage.before) + last + 1) // model.block_size) * model.block_size - len(passage.before)
    return passage.before, passage.pattern[:end]


def fill_passages(model: ColaDLM, passages: Sequence[Passage], first: int, settings: SamplerSettings,
                  candidates: int = 1) -> list[list[int]]:  # fmt: skip
    """Fills passages by the flow. candidates: for each; the one with the least error of the velocity over the whole
    passage is taken (as `fill` ranks its own). first: the number of the first, which is the key of its noise.
    """
    patterns = [to_block_end(model, passage) for passage in passages for _ in range(candidates)]
    keys = range(first * candidates, (first + len(passages)) * candidates)
    short = fill_by_flow(model, patterns, list(keys), settings)
    found = []
    for number, passage in enumerate(passages):
        own = short[number * candidates : (number + 1) * candidates]
        whole = [[*ids, *passage.pattern[len(ids) :]] for ids in own]
        found.append(whole[0] if candidates == 1 else _best_fit(model, passage, whole, settings.seed))
    return found


def _best_fit(model: ColaDLM, passage: Passage, whole: Sequence[list[int]], seed: int) -> list[int]:
    """The candidate that fits best, measured from the block of the first free token on."""
    start = (len(passage.before) + passage.pattern.index(NO_TOKEN)) // model.block_size * model.block_size
    start = min(start, len(passage.before))
    tails = [[*passage.before[start:], *ids] for ids in whole]
    misfits = unlikelihoods(model, tails, passage.before[:start], seed)
    return whole[min(range(len(whole)), key=misfits.__getitem__)]


# the transformer


@torch.inference_mode()
def guess(baseline: Baseline, before: Sequence[int], pattern: Sequence[int], guesses: int, seed: int,
          key: int) -> tuple[list[list[int]], list[float]]:  # fmt: skip
    """Guesses at a pattern, and log p of each whole one, in nats: the first takes the likeliest token of each free
    place, the others draw theirs. key: of the draws.
    """
    network, n = baseline.network, len(before) + 1
    cache = network.cache(n + len(pattern), torch.zeros(guesses, dtype=torch.long))
    ids = torch.tensor([[baseline.start_id, *before]]).repeat(guesses, 1)
    rows: list[torch.Tensor] = []
    total, start = torch.zeros(guesses, dtype=torch.float64), 0
    for index, token in enumerate(pattern):
        end = n + index
        cache.place(start, end)
        positions = torch.arange(start, end).expand(guesses, -1)
        hidden = network.hidden(ids.to(baseline.device), positions.to(baseline.device), cache)[:, -1:]
        logits = network.logits(hidden).float().cpu()
        chosen = torch.full((guesses,), token) if token != NO_TOKEN else _drawn(logits, seed, key, index)
        total += logits[:, 0].log_softmax(-1).gather(-1, chosen[:, None])[:, 0].double()
        rows.append(chosen)
        ids, start = chosen[:, None], end
    return torch.stack(rows, 1).tolist(), total.tolist()


def _drawn(logits: torch.Tensor, seed: int, key: int, index: int) -> torch.Tensor:
    """The likeliest token of the first row, and drawn ones of the others, from logits (rows, 1, vocab)."""
    rows = len(logits)
    uniforms = token_uniforms([(seed, key * rows + row, index) for row in range(rows)], 1)
    drawn = choose(logits, uniforms, 1.0, 0, 1.0)[:, 0]
    drawn[0] = logits[0, 0].argmax()
    return drawn


def likeliest(baseline: Baseline, passages: Sequence[Passage], first: int, guesses: int,
              seed: int) -> list[list[int]]:  # fmt: skip
    """Of each passage the guess under which the whole of it is likeliest; with one guess, the greedy one."""
    found = []
    for number, passage in enumerate(passages, first):
        ids, totals = guess(baseline, passage.before, passage.pattern, guesses, seed, number)
        found.append(ids[max(range(len(ids)), key=totals.__getitem__)])
    return found

"""One bracket in the middle is missing: who sees what stands after it?

A word of brackets with a hole is cut at the end of the hole's block, the last that the Cola-DLM sees beside the blocks
before. It gets what stands on both sides as pinned latents; the transformer reads from the left, or, at the price of a
pass for each bracket that could stand there, scores the whole text with each of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from random import Random

import torch

from ....baseline.baseline import BaselineSettings
from ....latent.fill import HoledText, plan
from ....sampling.events import Finished
from ....structured.generators import balanced_word
from ....structured.validators import KINDS_OF
from ....structured.vocabulary import decode, encode
from .writers import Pair

KINDS, SIZE = 3, 32


@dataclasses.dataclass(frozen=True)
class Hole:
    """before, after: the text around a bracket that is missing, to the end of its block. bracket: the one that
    stood there, and the only one that balances the word. place: of the hole in its block.
    """

    before: str
    after: str
    bracket: str
    place: int


def draw_holes(count: int, block: int, seed: int) -> list[Hole]:
    """Holes for each place in a block in turn, in words of all kinds of brackets, of the form of the free task."""
    random, start = Random(f"holes {block} {seed}"), f"F{KINDS}:{SIZE}="
    holes = []
    for number in range(count * block):
        text, place = start + balanced_word(random, KINDS, SIZE), number % block
        at = random.choice([i for i in range(len(start), len(text) // block * block) if i % block == place])
        holes.append(Hole(text[:at], text[at + 1 : at - place + block], text[at], place))
    return holes


def fill(pair: Pair, holes: Sequence[Hole]) -> Mapping[str, list[str]]:
    """What each way puts into each hole."""
    return {
        "cola": _fill_by_flow(pair, holes),
        "transformer": _read_from_the_left(pair, holes),
        "transformer_scores": _score_each(pair, holes),
    }


def _fill_by_flow(pair: Pair, holes: Sequence[Hole]) -> list[str]:
    settings = dataclasses.replace(pair.settings, stop_at_end=False)
    plans = []
    for row, hole in enumerate(holes):
        pieces = (tuple(encode(hole.before)), tuple(encode(hole.after)))
        plans.append(plan(pair.cola, HoledText(pieces, hole.before, (False,)), row, 1))
    with torch.inference_mode():
        for event in pair.cola.run_plans(plans, settings):
            if isinstance(event, Finished):
                return [decode(ids[:1]) for ids in event.token_ids]
    raise RuntimeError("the sampler ended without a result")


def _read_from_the_left(pair: Pair, holes: Sequence[Hole]) -> list[str]:
    settings = BaselineSettings(1, temperature=0.0, top_p=1.0, stop_at_end=False)
    return pair.transformer.generate([hole.before for hole in holes], settings)


def _score_each(pair: Pair, holes: Sequence[Hole]) -> list[str]:
    brackets = KINDS_OF[str(KINDS)]
    texts = [hole.before + bracket + hole.after for hole in holes for bracket in brackets]
    totals = [found.total for found in pair.transformer.log_likelihood(texts)]
    rows = [totals[i : i + len(brackets)] for i in range(0, len(totals), len(brackets))]
    return [brackets[max(range(len(row)), key=row.__getitem__)] for row in rows]

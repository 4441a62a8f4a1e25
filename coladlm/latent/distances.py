"""How far texts lie apart, in tokens and in latents, and which tokens of a text are new against another."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from ..model import ColaDLM
from .layout import LatentSpace, blocks_for, lay_out


def token_distance(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens must be put in, left out or replaced to make one text of the other (Levenshtein 1966)."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
    return row[-1]


def changed_tokens(before: Sequence[int], after: Sequence[int]) -> tuple[bool, ...]:
    """For each token of `after`, is it new against `before` (longest common blocks, difflib)?"""
    changed = [True] * len(after)
    for block in difflib.SequenceMatcher(None, before, after, autojunk=False).get_matching_blocks():
        changed[block.b : block.b + block.size] = [False] * block.size
    return tuple(changed)


def text_distances(
    model: ColaDLM, texts: Sequence[Sequence[int]], others: Sequence[Sequence[int]]
) -> list[list[float]]:
    """The mean distance of the latents of texts from those of others, (texts, others); all are encoded in one pass.

    The mean runs over the positions of the longer of two texts; after its end a text has its end token and padding.
    """
    space, everything = LatentSpace(model.vae.config), [*texts, *others]
    blocks = max(blocks_for(model, len(ids)) for ids in everything)
    laid_out = lay_out(model, everything, blocks)
    lengths = [max(1, -(-len(ids) // model.patch_size)) for ids in everything]
    rows = []
    for layout, n in zip(laid_out[: len(texts)], lengths, strict=False):
        row = []
        for other, m in zip(laid_out[len(texts) :], lengths[len(texts) :], strict=True):
            longer = max(n, m)
            row.append(float(space.distance(layout.latents[:longer], other.latents[:longer]).mean()))
        rows.append(row)
    return rows

"""One word of every block must stay where it is; the others are written around them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from ....baseline.baseline import Baseline
from ....model import ColaDLM
from ....sampling.tokens import NO_TOKEN
from ..cost import per_word
from ..intervals import mean_interval, mean_share_interval
from ..measuring import Measuring
from ..results import Cell, Table
from .filling import Filled, fill_passages, filled, likeliest
from .passages import Passage, Request
from .verdicts import Reader, Readers, Verdict, of_perplexities


def names(request: Request) -> dict[str, str]:
    """The ways as the table calls them, by their keys."""
    return {
        "free": "Cola-DLM, nothing pinned", "pinned": "Cola-DLM, pinned",
        "best": f"Cola-DLM, pinned, the best of {request.candidates} fits",
        "transformer_free": "transformer, nothing pinned", "forced": "transformer, put in their places",
        "likeliest": f"transformer, put in their places, the likeliest of {request.guesses}",
    }  # fmt: skip


def write_around(model: ColaDLM, baseline: Baseline, passages: Sequence[Passage], request: Request,
                 measuring: Measuring) -> dict[str, Filled]:  # fmt: skip
    """What each way writes, by the keys of `names`."""
    own = dataclasses.replace(model.defaults, seed=request.seed)
    free = [dataclasses.replace(p, pattern=(NO_TOKEN,) * len(p.pattern)) for p in passages]
    ways = {
        "free": (free, lambda part, first: fill_passages(model, part, first, own)),
        "pinned": (passages, lambda part, first: fill_passages(model, part, first, own)),
        "best": (passages, lambda part, first: fill_passages(model, part, first, own, request.candidates)),
        "transformer_free": (free, lambda part, first: likeliest(baseline, part, first, 1, request.seed)),
        "forced": (passages, lambda part, first: likeliest(baseline, part, first, 1, request.seed)),
        "likeliest": (passages, lambda part, first: likeliest(baseline, part, first, request.guesses, request.seed)),
    }
    return {key: filled(measuring, f"pins, {key}", asked, request.batch, fill) for key, (asked, fill) in ways.items()}


def kept(passages: Sequence[Passage], found: Filled) -> list[float]:
    """For each passage how many of its pinned words stand in their places, in per cent."""
    shares = []
    for passage, ids in zip(passages, found.ids, strict=True):
        pins = [(token, own) for token, own in zip(passage.pattern, ids, strict=True) if token != NO_TOKEN]
        shares.append(100 * sum(token == own for token, own in pins) / len(pins))
    return shares


def new(passages: Sequence[Passage], found: Filled) -> list[float]:
    """For each passage how many of its free tokens are others than the story has, in per cent."""
    shares = []
    for passage, ids in zip(passages, found.ids, strict=True):
        free = [a != b for token, a, b in zip(passage.pattern, passage.truth, ids, strict=True) if token == NO_TOKEN]
        shares.append(100 * sum(free) / len(free))
    return shares


def pin_table(model: ColaDLM, passages: Sequence[Passage], ways: Mapping[str, Filled], request: Request,
              readers: Readers) -> Table:  # fmt: skip
    """A row for each way and one for the story."""
    rows: list[list[Cell]] = []
    for key, name in {"real": "the story", **names(request)}.items():
        found = Filled([list(p.truth) for p in passages], []) if key == "real" else ways[key]
        judged = [per_word(likelihoods(model, passages, found, reader)) for reader in readers.values()]
        shares: list[Cell] = [mean_share_interval(x, 100.0) for x in (kept(passages, found), new(passages, found))]
        if key == "real":  # by what the words mean, and not as a finding
            shares = [100.0, 0.0]
        rows.append([name, shares[0], *judged, shares[1], None if key == "real" else mean_interval(found.seconds)])
    return Table(
        "Words that must stay",
        f"{request.stretch} tokens of held-out stories are written anew, but one of every {model.block_size} stays in "
        "its place. The Cola-DLM pins its latent, and what is free in the same block sees it from both sides; the "
        "transformer says whatever is likeliest from the left until the word is put in its place. Perplexity is that "
        "of what came out, after what stands before it.",
        ["who", "pinned words in their places, %", *(f"perplexity a word, read by {name}" for name in readers),
         "free tokens that are new, %", "processor seconds"], rows,
    )  # fmt: skip


def likelihoods(model: ColaDLM, passages: Sequence[Passage], found: Filled, reader: Reader) -> Sequence[Any]:
    """Of what was written, after what stands before it."""
    return reader.log_likelihood([model.read(ids) for ids in found.ids], [model.read(p.before) for p in passages])


def pin_verdicts(model: ColaDLM, passages: Sequence[Passage], ways: Mapping[str, Filled],
                 readers: Readers) -> list[Verdict]:  # fmt: skip
    """How well what is around the words fits. Both keep all of them, each in its own way."""
    found = []
    for name, reader in readers.items():
        for what, cola, other in (("one go", "pinned", "forced"), ("the best of several", "best", "likeliest")):
            found.append(of_perplexities(
                f"written around words that stay, {what}, perplexity read by {name}",
                likelihoods(model, passages, ways[cola], reader), likelihoods(model, passages, ways[other], reader),
            ))  # fmt: skip
    return found

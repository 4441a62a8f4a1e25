"""Directions in latent space: the difference of the mean latents of two lists of sentences, and principal components.

A few directions ship with the app as pairs of sentences (`assets/directions/*.json`), some to fit them and some held
out to see what they turn; users make their own from two lists. Words that both lists use alike cancel in the
difference of means, so what is left is what the lists do not share.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

import torch
from torch import Tensor

from ..assets import ASSETS
from ..model import ColaDLM
from .layout import LatentSpace

FOLDER = ASSETS / "directions"
MIN_SENTENCES = 2
MAX_SENTENCES = 256  # in a list


class DirectionError(ValueError):
    """A direction cannot be made or found; the message says what was found and what was wanted."""


@dataclasses.dataclass(frozen=True)
class SentencePairs:
    """A shipped direction before any model has seen it. Each pair says the same at the first and at the second end."""

    name: str
    title: str
    first: str
    second: str
    fit: tuple[tuple[str, str], ...]
    held_out: tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Direction:
    """A direction of unscaled latents. vector: (d,), of length 1, on the CPU. length: of the difference of means that
    it comes from, in radii (sqrt(d)); a small one says that the lists hardly differ. sentences: in each list.
    """

    vector: Tensor
    length: float
    sentences: tuple[int, int]


def shipped() -> tuple[str, ...]:
    """The names of the directions that ship with the app."""
    return tuple(sorted(file.stem for file in FOLDER.glob("*.json")))


def load_pairs(name: str) -> SentencePairs:
    """A shipped direction by its name. Raises DirectionError."""
    if name not in shipped():
        raise DirectionError(f"direction is {name!r}, expected one of {', '.join(shipped())}")
    file = FOLDER / f"{name}.json"
    data = json.loads(file.read_text(encoding="utf-8"))
    pairs = {part: tuple((first, second) for first, second in data[part]) for part in ("fit", "held_out")}
    return SentencePairs(name, data["title"], data["first"], data["second"], **pairs)


@torch.inference_mode()
def build(model: ColaDLM, first: Sequence[str], second: Sequence[str]) -> Direction:
    """The direction from the mean latent of the first list of sentences to that of the second.

    Every token counts the same. Raises DirectionError for lists that make no direction, PromptError for a sentence that
    is no text.
    """
    lists = {"first": first, "second": second}
    for which, sentences in lists.items():
        if isinstance(sentences, str) or not MIN_SENTENCES <= len(sentences) <= MAX_SENTENCES:
            found = "a single text" if isinstance(sentences, str) else f"{len(sentences)} sentences"
            wanted = f"{MIN_SENTENCES} to {MAX_SENTENCES}"
            if isinstance(sentences, str) or len(sentences) < MIN_SENTENCES:
                wanted += ": a single one says more about its own words than about a way"
            raise DirectionError(f"the {which} list has {found}, expected {wanted}")
    encoded = model.encode_texts([*first, *second])
    for index, text in enumerate(encoded):
        if not len(text.latents):
            which, at = ("first", index) if index < len(first) else ("second", index - len(first))
            raise DirectionError(f"sentence {at + 1} of the {which} list is empty, expected some words")
    space = LatentSpace(model.vae.config)
    latents = [space.unscaled(text.latents.double()) for text in encoded]
    difference = torch.cat(latents[len(first) :]).mean(0) - torch.cat(latents[: len(first)]).mean(0)
    length = float(difference.norm()) / model.latent_dim**0.5
    if length < 1e-6:
        raise DirectionError("the two lists have the same mean latent, expected sentences that differ")
    return Direction((difference / difference.norm()).float(), length, (len(first), len(second)))


def build_shipped(model: ColaDLM, name: str) -> Direction:
    """A shipped direction for this model, from its sentences that are not held out. Raises DirectionError."""
    pairs = load_pairs(name)
    return build(model, [first for first, _ in pairs.fit], [second for _, second in pairs.fit])


@dataclasses.dataclass(frozen=True, eq=False)
class Components:
    """Principal components of unscaled latents. vectors: (d, d), a unit vector in each row, the one of the largest
    variance first; the sign is such that the channel of the largest size is positive. shares: (d,) of the variance.
    """

    vectors: Tensor
    shares: Tensor


@torch.inference_mode()
def principal_components(model: ColaDLM, sentences: Sequence[str] | None = None) -> Components:
    """Principal components of the latents of sentences; those of all shipped directions if absent.

    On the sphere there are d - 1 of them: the last is the direction in which nothing varies. Raises DirectionError.
    """
    if sentences is None:
        sentences = reference_sentences()
    latents = [text.latents for text in model.encode_texts(sentences)]
    points = LatentSpace(model.vae.config).unscaled(torch.cat(latents).double())
    if len(points) < 2:
        raise DirectionError(f"there are {len(points)} latents, expected at least 2 for principal components")
    few = len(points) < model.latent_dim  # then there are directions in which nothing varies; else they are all there
    _, sizes, vectors = torch.linalg.svd(points - points.mean(0), full_matrices=few)
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    variance = torch.zeros(model.latent_dim, dtype=torch.float64)
    variance[: len(sizes)] = sizes.square()
    return Components((vectors * largest.sign()).float(), (variance / variance.sum().clamp(min=1e-300)).float())


def reference_sentences() -> list[str]:
    """All sentences of the shipped directions that are not held out, each once."""
    pairs = [pair for name in shipped() for pair in load_pairs(name).fit]
    return list(dict.fromkeys(sentence for pair in pairs for sentence in pair))

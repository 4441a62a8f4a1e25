"""What is asked: pieces of held-out stories with tokens to be filled in, drawn by a seed alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from ....baseline.baseline import Baseline
from ....model import ColaDLM
from ....sampling.tokens import NO_TOKEN
from ...stories import EvaluationError

FEWEST, MOST = 16, 96  # tokens before what is filled in
ENDS = ".!?"


@dataclasses.dataclass(frozen=True)
class Request:
    """How much is asked. holes: of one word and of `span` words each. candidates: of the Cola-DLM, guesses: of the
    transformer, where one out of several is taken. prompts: for drafts, of `tokens` tokens. edits: candidates for each
    sentence that a direction turns. passages: of `stretch` tokens with pinned words. batch: of texts at once.
    """

    holes: int = 64
    span: int = 3
    candidates: int = 8
    guesses: int = 32
    prompts: int = 24
    tokens: int = 32
    edits: int = 2
    passages: int = 40
    stretch: int = 16
    seed: int = 0
    batch: int = 16

    def __post_init__(self) -> None:
        for name, least in (("holes", 2), ("span", 2), ("candidates", 1), ("guesses", 1), ("prompts", 2),
                            ("tokens", 4), ("edits", 1), ("passages", 2), ("stretch", 4), ("batch", 1)):  # fmt: skip
            if getattr(self, name) < least:
                raise EvaluationError(f"{name} is {getattr(self, name)}, expected {least} or more")


@dataclasses.dataclass(frozen=True)
class Passage:
    """before: token ids of a story. truth: how it goes on. pattern: the same with NO_TOKEN where a model has to fill
    in. place: in its block, of the first free token.
    """

    before: tuple[int, ...]
    truth: tuple[int, ...]
    pattern: tuple[int, ...]
    place: int

    @property
    def free(self) -> int:
        """How many tokens are to be filled in."""
        return self.pattern.count(NO_TOKEN)


class Words:
    """Which tokens of a vocabulary are words: with a space before them, and letters alone."""

    def __init__(self, model: ColaDLM):
        texts = [model.read([token]) for token in range(model.vae.config.vocab_size)]
        self.whole = [len(text) > 1 and text[0] == " " and text[1:].isalpha() for text in texts]
        self.goes_on = [text[:1].isalnum() or text[:1] == "'" for text in texts]
        self.ends = [any(mark in text for mark in ENDS) for text in texts]

    def are(self, ids: Sequence[int], start: int, count: int) -> bool:
        """Are these so many words, whole ones?"""
        words = ids[start : start + count]
        return all(self.whole[token] for token in words) and not self.goes_on[ids[start + count]]

    def sentence_end(self, ids: Sequence[int], start: int) -> int:
        """The place after the mark that ends the sentence of `start`, or after the last token."""
        return next((i + 1 for i in range(start, len(ids)) if self.ends[ids[i]]), len(ids))


def holes(model: ColaDLM, baseline: Baseline, stories: Sequence[str], count: int, span: int,
          seed: int) -> list[Passage]:  # fmt: skip
    """So many holes of `span` words, one a story, at each place of a block in turn. The pattern goes on to the end of
    the sentence. Raises EvaluationError where too few stories have one.
    """
    words, found = Words(model), []
    for random, ids in _in_order(model, baseline, stories, seed):
        places = [i for i in range(FEWEST, min(MOST, len(ids) - span - 1) + 1)
                  if i % model.block_size == len(found) % model.block_size and words.are(ids, i, span)]  # fmt: skip
        if not places:
            continue
        start = places[int(random.integers(len(places)))]
        end = words.sentence_end(ids, start + span)
        pattern = (*[NO_TOKEN] * span, *ids[start + span : end])
        if not _fits(baseline, ids[:end]) or not _read_alike(model, baseline, ids[:start]):
            continue
        found.append(Passage(tuple(ids[:start]), tuple(ids[start:end]), pattern, start % model.block_size))
        if len(found) == count:
            return found
    raise EvaluationError(f"{len(found)} stories have a hole of {span} words, expected {count}")


def pinned(model: ColaDLM, baseline: Baseline, stories: Sequence[str], count: int, stretch: int,
           seed: int) -> list[Passage]:  # fmt: skip
    """So many passages of whole blocks in which one token of each block, at any place of it, is pinned and the others
    are free. Raises EvaluationError where too few stories are long enough.
    """
    b, found = model.block_size, []
    stretch = -(-stretch // b) * b
    for random, ids in _in_order(model, baseline, stories, seed + 1):
        starts = range(-(-FEWEST // b) * b, min(MOST, len(ids) - stretch) + 1, b)
        if not starts:
            continue
        start = starts[int(random.integers(len(starts)))]
        if not _fits(baseline, ids[: start + stretch]) or not _read_alike(model, baseline, ids[:start]):
            continue
        truth, pattern = ids[start : start + stretch], [NO_TOKEN] * stretch
        for block in range(0, stretch, b):
            kept = block + int(random.integers(b))
            pattern[kept] = truth[kept]
        place = next(i for i, token in enumerate(pattern) if token == NO_TOKEN)
        found.append(Passage(tuple(ids[:start]), tuple(truth), tuple(pattern), place % b))
        if len(found) == count:
            return found
    raise EvaluationError(f"{len(found)} stories have {stretch} tokens after {FEWEST}, expected {count}")


def _in_order(model: ColaDLM, baseline: Baseline, stories: Sequence[str],
              seed: int) -> Iterator[tuple[np.random.Generator, list[int]]]:  # fmt: skip
    """The token ids of stories in an order that only the seed decides."""
    random = np.random.default_rng(seed)
    for number, index in enumerate(random.permutation(len(stories))):
        text = stories[index].strip()
        ids = model.tokenize(text)
        if number == 0 and baseline.tokenize(text) != ids:
            raise EvaluationError("the two models have different tokenizers, expected the same for the same tokens")
        yield random, ids


def _fits(baseline: Baseline, ids: Sequence[int]) -> bool:
    return len(ids) <= baseline.network.config.max_tokens


def _read_alike(model: ColaDLM, baseline: Baseline, ids: Sequence[int]) -> bool:
    """Does the text of these tokens become the same tokens again?"""
    return baseline.tokenize(model.read(ids)) == list(ids)

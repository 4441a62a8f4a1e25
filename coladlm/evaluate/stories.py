"""Held-out stories as the measures want them: cut, split into prompt and rest, tokenised, batched. Knows no network."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

SENTENCE = re.compile(r".*?[.!?][\"'”’)]*(?=\s)", re.DOTALL)


class EvaluationError(ValueError):
    """The stories or the model do not allow this evaluation; the message says what was found and wanted."""


@dataclasses.dataclass(frozen=True)
class Excerpt:
    """A prompt, and what the story goes on with: at most so many tokens. ended: the story's end lies within them."""

    prompt: str
    text: str
    ended: bool


def first_sentence(story: str) -> tuple[str, str]:
    """The first sentence, with its closing quote, and the rest with the space before it; ("", story) without one."""
    found = SENTENCE.match(story)
    return (story[: found.end()], story[found.end() :]) if found else ("", story)


def excerpts(stories: Sequence[str], tokenizer: Tokenizer, count: int, tokens: int, prompted: bool, longest: int,
             seed: int = 0) -> list[Excerpt]:  # fmt: skip
    """`count` stories in an order that only the seed decides, cut to `tokens` tokens after their prompts.

    prompted: by the first sentence, else by nothing. longest: the most tokens of prompt and text; stories whose first
    sentence leaves fewer than `tokens` tokens are skipped. Raises EvaluationError where too few stories are left.
    """
    found = []
    for index in np.random.default_rng(seed).permutation(len(stories)):
        story = stories[index].strip()
        prompt, rest = first_sentence(story) if prompted else ("", story)
        if prompted and (not prompt or len(encode(tokenizer, prompt)) + tokens > longest):
            continue
        ids = encode(tokenizer, rest)
        text = tokenizer.decode(ids[:tokens])
        found.append(Excerpt(prompt, text, len(ids) < tokens))
        if len(found) == count:
            return found
    what = f"begin with a sentence of at most {longest - tokens} tokens" if prompted else "are there"
    raise EvaluationError(f"{len(found)} stories {what}, expected {count}")


def excerpts_of_words(stories: Sequence[str], count: int, given: int, words: int, seed: int = 0) -> list[Excerpt]:
    """`count` stories in an order that only the seed decides: their first `given` words and the `words` after them.

    Stories that are shorter are passed over. Raises EvaluationError where too few are left.
    """
    found = []
    for index in np.random.default_rng(seed).permutation(len(stories)):
        story = stories[index].strip()
        ends = [match.end() for match in re.finditer(r"\S+", story)]
        if len(ends) >= given + words:
            found.append(Excerpt(story[: ends[given - 1]], story[ends[given - 1] : ends[given + words - 1]], False))
        if len(found) == count:
            return found
    raise EvaluationError(f"{len(found)} stories have {given + words} words, expected {count}")


def encode(tokenizer: Tokenizer, text: str) -> list[int]:
    """Text -> token ids, nothing added."""
    return tokenizer.encode(text, add_special_tokens=False).ids


def batches(stories: Sequence[Sequence[int]], pad: int, multiple: int,
            tokens: int = 4096) -> Iterator[tuple[list[int], Tensor]]:  # fmt: skip
    """Token ids of stories in batches of similar length: which stories, and (rows, n) int64 padded to whole blocks.

    multiple: tokens of a block. tokens: about how many a batch has.
    """
    order = sorted(range(len(stories)), key=lambda i: len(stories[i]))
    while order:
        n = -(-max(1, len(stories[order[-1]])) // multiple) * multiple
        rows, order = order[-max(1, tokens // n) :], order[: -max(1, tokens // n)]
        ids = torch.full((len(rows), n), pad)
        for row, story in enumerate(rows):
            ids[row, : len(stories[story])] = torch.tensor(stories[story], dtype=torch.long)
        yield rows, ids

"""The log-probability of each token of a prompt, where `echo` and `logprobs` ask for it: bounds, see `token_scores`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from coladlm import ColaDLM
from coladlm.evaluate.token_scores import SCORING, TokenScores, token_score_steps

MOST_TOKENS = 1024  # of all prompts of a request: a minute or two of two cores with the bundled model


def score_steps(
    model: ColaDLM, prompts: Sequence[Sequence[int]], seed: int
) -> Iterator[int | list[TokenScores | None]]:
    """The scores of prompts, None for one without a token to score, after numbers between which others may come.

    An end token at the beginning is not scored: clients that want a token before every text put one there.
    """
    settings, found = dataclasses.replace(SCORING, seed=seed), []
    for ids in prompts:
        left, scores = ids[len(opening(model, ids)) :], None
        for step in token_score_steps(model, left, (), settings) if left else ():
            if isinstance(step, TokenScores):
                scores = step
            else:
                yield step
        found.append(scores)
    yield found


def opening(model: ColaDLM, ids: Sequence[int]) -> Sequence[int]:
    """The end token that stands for the beginning of a text, if there is one."""
    return ids[:1] if ids and ids[0] in model.end_ids else ids[:0]

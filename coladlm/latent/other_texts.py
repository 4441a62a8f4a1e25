"""The options of `generate` that bring in another text: one that the answer is drawn towards, or away from (see
`sampling/pull.py`), and a negative prompt, which guidance leads away from (see `sampling/velocity.py`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from ..model import ColaDLM
from ..recipe import Described, Option, RecipeError
from ..sampling.flow import NOISE_TIME
from ..sampling.plan import Plan
from ..sampling.pull import Pull

MAX_TOKENS = 512
BLOCKS = 8  # a shorter text is repeated until it fills so many: a word or two alone say little

PULL = (
    Option("towards", str, None, "A text that the answer is drawn towards.", low=1, high=8000),
    Option("pull", float, 1.0, "How much; 0 not at all, below 0 away from it.", low=-4, high=4),
    Option("pull_low", float, 0.0, "The pull acts from this time on, of 1000.", low=0, high=NOISE_TIME),
    Option("pull_high", float, NOISE_TIME, "And up to this one.", low=0, high=NOISE_TIME),
)
NEGATIVE = Option("negative", str, None, "A negative prompt: guidance leads away from this text in place of from "
                  "nothing. It does nothing at guidance 1.", low=1, high=8000)  # fmt: skip
OPTIONS = (*PULL, NEGATIVE)


def with_other_texts(model: ColaDLM, plans: Sequence[Plan], options: Mapping[str, Any]) -> list[Plan]:
    """The plans with the other texts that options (see OPTIONS; absent ones have their defaults) describe, the same for
    all. Raises RecipeError, PromptError.
    """
    pull, negative = pull_of(model, options), negative_of(model, options)
    return [dataclasses.replace(plan, pull=pull, negative=negative) for plan in plans]


def pull_of(model: ColaDLM, options: Mapping[str, Any]) -> Pull | None:
    """The pull that options describe, None where there is none. Raises RecipeError, PromptError."""
    text, strength, low, high = (options.get(option.name, option.default) for option in PULL)
    if low > high:
        raise RecipeError("options.pull_low", low, f"at most options.pull_high, {high:g}")
    if text is None or strength == 0:
        return None
    return Pull(_read(model, text, "options.towards"), strength, low, high)


def negative_of(model: ColaDLM, options: Mapping[str, Any]) -> Tensor | None:
    """The latents (n, d) of the negative prompt of options, whole blocks, None where there is none. Raises RecipeError,
    PromptError.
    """
    text = options.get(NEGATIVE.name)
    return None if text is None else _read(model, text, "options.negative")


def _read(model: ColaDLM, text: str, name: str) -> Tensor:
    """The latents (n, d) of a text, scaled, as many whole blocks as it fills."""
    tokens = len(model.tokenize(text))
    if not text.strip() or not tokens:
        raise RecipeError(name, Described("empty"), "a text with some words")
    if tokens > MAX_TOKENS:
        raise RecipeError(name, Described(f"{tokens:,} tokens long"), f"at most {MAX_TOKENS}")
    missing = BLOCKS * model.block_size * model.patch_size - tokens
    if missing > 0:
        more = " " + text.strip()
        text += more * -(-missing // len(model.tokenize(more)))
    latents = model.encode_texts([text])[0].latents
    return latents[: len(latents) // model.block_size * model.block_size]

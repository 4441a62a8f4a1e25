"""The options of `generate` by which a text is drawn towards another one, or away from it (see `sampling/pull.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..model import ColaDLM
from ..recipe import Described, Option, RecipeError
from ..sampling.flow import NOISE_TIME
from ..sampling.pull import Pull

MAX_TOKENS = 512
BLOCKS = 8  # a shorter text is repeated until it fills so many: a word or two alone say little

OPTIONS = (
    Option("towards", str, None, "A text that the answer is drawn towards.", low=1, high=8000),
    Option("pull", float, 1.0, "How much; 0 not at all, below 0 away from it.", low=-4, high=4),
    Option("pull_low", float, 0.0, "The pull acts from this time on, of 1000.", low=0, high=NOISE_TIME),
    Option("pull_high", float, NOISE_TIME, "And up to this one.", low=0, high=NOISE_TIME),
)


def pull_of(model: ColaDLM, options: Mapping[str, Any]) -> Pull | None:
    """The pull that options (see OPTIONS; absent ones have their defaults) describe, None where there is none.

    Raises RecipeError, PromptError.
    """
    given = {option.name: options.get(option.name, option.default) for option in OPTIONS}
    text, strength, low, high = given.values()
    if low > high:
        raise RecipeError("options.pull_low", low, f"at most options.pull_high, {high:g}")
    if text is None or strength == 0:
        return None
    tokens = len(model.tokenize(text))
    if not text.strip() or not tokens:
        raise RecipeError("options.towards", Described("empty"), "a text with some words")
    if tokens > MAX_TOKENS:
        raise RecipeError("options.towards", Described(f"{tokens:,} tokens long"), f"at most {MAX_TOKENS}")
    missing = BLOCKS * model.block_size * model.patch_size - tokens
    if missing > 0:
        more = " " + text.strip()
        text += more * -(-missing // len(model.tokenize(more)))
    latents = model.encode_texts([text])[0].latents
    return Pull(latents[: len(latents) // model.block_size * model.block_size], strength, low, high)

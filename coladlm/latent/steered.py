"""Steering: an answer that has a beginning already, up to a word that was put into it, and goes on from there.

The recipe's option `steered` is that beginning. The sampler reads it as the end of the prompt; who shows the run can
tell the two apart.
"""

from __future__ import annotations

from ..recipe import Option, Recipe

OPTION = Option("steered", str, None, "What the answer has already, up to a word that was put into it: it goes on from "
                "there, after every text.", low=1, high=20_000)  # fmt: skip


def prompts_of(recipe: Recipe) -> list[str]:
    """What stands before the new tokens of each sequence of a recipe of `generate`, in the order of the batch."""
    steered = recipe.options.get(OPTION.name) or ""
    return [text + steered for text, _ in recipe.sequences()]

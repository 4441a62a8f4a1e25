"""The options of `generate` and `fill` that bring in another text: one that the answer is drawn towards, or away from
(see `sampling/pull.py`), a negative prompt, which guidance leads away from (see `sampling/velocity.py`), and a
direction, whose sentences at one end it is turned to from those at the other (see `sampling/dial.py`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from ..model import ColaDLM
from ..recipe import Described, Option, RecipeError
from ..sampling.dial import Dial
from ..sampling.flow import NOISE_TIME
from ..sampling.plan import Plan
from ..sampling.pull import Pull
from . import directions

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
DIAL = (
    Option("direction", str, None, "The name of a direction that ships with the app: the answer is turned to its "
           "second end.", low=1, high=64),
    Option("direction_first", str, None, "A direction of your own: sentences at its first end.", high=2000,
           many=(1, directions.MAX_SENTENCES)),
    Option("direction_second", str, None, "A direction of your own: sentences at its second end.", high=2000,
           many=(1, directions.MAX_SENTENCES)),
    Option("direction_strength", float, 1.0, "How far the direction turns it; 0 not at all, below 0 to its first end.",
           low=-4, high=4),
    Option("direction_low", float, 0.0, "The direction acts from this time on, of 1000.", low=0, high=NOISE_TIME),
    Option("direction_high", float, NOISE_TIME, "And up to this one.", low=0, high=NOISE_TIME),
)  # fmt: skip
OPTIONS = (*PULL, NEGATIVE, *DIAL)


def with_other_texts(model: ColaDLM, plans: Sequence[Plan], options: Mapping[str, Any]) -> list[Plan]:
    """The plans with the other texts that options (see OPTIONS; absent ones have their defaults) describe, the same for
    all. Raises RecipeError, PromptError.
    """
    pull, negative, dial = pull_of(model, options), negative_of(model, options), dial_of(model, options)
    return [dataclasses.replace(plan, pull=pull, negative=negative, dial=dial) for plan in plans]


def pull_of(model: ColaDLM, options: Mapping[str, Any]) -> Pull | None:
    """The pull that options describe, None where there is none. Raises RecipeError, PromptError."""
    text, strength, low, high = (options.get(option.name, option.default) for option in PULL)
    if low > high:
        raise RecipeError("options.pull_low", low, f"at most options.pull_high, {high:g}")
    if text is None:
        _refuse_without(options, PULL[1:], "options.towards", "a text that the answer is drawn towards")
    if text is None or strength == 0:
        return None
    return Pull(_read(model, text, "options.towards"), strength, low, high)


def negative_of(model: ColaDLM, options: Mapping[str, Any]) -> Tensor | None:
    """The latents (n, d) of the negative prompt of options, whole blocks, None where there is none. Raises RecipeError,
    PromptError.
    """
    text = options.get(NEGATIVE.name)
    return None if text is None else _read(model, text, "options.negative")


def dial_of(model: ColaDLM, options: Mapping[str, Any]) -> Dial | None:
    """The dial that options describe, None where there is none. Raises RecipeError, PromptError."""
    name, *lists, strength, low, high = (options.get(option.name, option.default) for option in DIAL)
    if low > high:
        raise RecipeError("options.direction_low", low, f"at most options.direction_high, {high:g}")
    ends = _ends(name, *lists)
    if ends is None:
        _refuse_without(options, DIAL[3:], "options.direction", "a direction, or sentences at both ends of one")
    if ends is None or strength == 0:
        return None
    first, second = (" ".join(end) for end in ends)
    return Dial(_read(model, first, "options.direction_first"), _read(model, second, "options.direction_second"),
                strength, low, high)  # fmt: skip


def _refuse_without(options: Mapping[str, Any], those: Sequence[Option], missing: str, wanted: str) -> None:
    """Raises RecipeError where one of those options, which say how another one acts, is not what it is by default: the
    other one, `missing`, has been forgotten.
    """
    for option in those:
        value = options.get(option.name, option.default)
        if value != option.default:
            raise RecipeError(missing, Described("missing"), f"{wanted}, since options.{option.name} is {value:g}")


def _ends(
    name: str | None, first: Sequence[str] | None, second: Sequence[str] | None
) -> tuple[Sequence[str], Sequence[str]] | None:
    """The sentences at both ends of a direction, None where there is none. Raises RecipeError."""
    if name is not None and (first is not None or second is not None):
        raise RecipeError(
            "options.direction", Described(f"{name!r} together with lists of sentences"), "one of the two"
        )
    if name is not None:
        try:
            fit = directions.load_pairs(name).fit
        except directions.DirectionError as error:
            raise RecipeError("options.direction", name, "a direction", str(error)) from error
        return [first for first, _ in fit], [second for _, second in fit]
    if first is None and second is None:
        return None
    for which, sentences in (("first", first), ("second", second)):
        field = f"options.direction_{which}"
        if sentences is None:
            raise RecipeError(field, Described("missing"), "sentences at each of both ends")
        for index, sentence in enumerate(sentences):
            if not sentence.strip():
                raise RecipeError(f"{field}[{index}]", Described("empty"), "a sentence with some words")
    assert first is not None and second is not None
    return first, second


def _read(model: ColaDLM, text: str, name: str) -> Tensor:
    """The latents (n, d) of a text, scaled, as many whole blocks as it fills."""
    tokens = len(model.tokenize(text, limited=False))
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

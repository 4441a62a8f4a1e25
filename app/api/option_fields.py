"""Options of the operations behind OpenAI's API, as fields of a body under their own names: one that an operation is
given is a field here, too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from coladlm.recipe import Option, Recipe, RecipeError, describe
from coladlm.run import OPERATIONS

from .errors import ApiError, option_error

HERE = ("generate", "fill")
SAID_OTHERWISE = ("longest", "steered")  # by `max_tokens`, and by the end of the prompt


def options_of(operation: str) -> dict[str, Option]:
    """The options of an operation that are fields, by their names."""
    return {option.name: option for option in OPERATIONS[operation].options if option.name not in SAID_OTHERWISE}


def option_fields() -> tuple[str, ...]:
    """The names of all these fields."""
    return tuple(dict.fromkeys(name for operation in HERE for name in options_of(operation)))


def with_options(recipe: Recipe, data: Mapping[str, Any]) -> Recipe:
    """The recipe with the options that a body has as fields. Raises ApiError."""
    known, given = options_of(recipe.operation), {name: data[name] for name in option_fields() if name in data}
    for name in given:
        if name not in known:
            raise ApiError(f"{name} is {describe(given[name])}, which does not go with the operation "
                           f"{recipe.operation!r}", name, "unsupported")  # fmt: skip
    try:
        plain = dataclasses.replace(recipe, options={**recipe.options, **given}).options
        checked = {name: known[name].check(plain[name]) for name in given}
        return dataclasses.replace(recipe, options={**recipe.options, **checked})
    except RecipeError as error:
        raise option_error(error) from error

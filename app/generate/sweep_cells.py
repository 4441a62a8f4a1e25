"""What a sweep is: up to three axes, each with values of a setting or prompts, and a cell for every combination."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from coladlm import SamplerSettings
from coladlm.latent import has_holes
from coladlm.recipe import Described, Recipe, RecipeError
from coladlm.settings import HISTORIES, SOLVERS, TIME_GRIDS

from ..shared.settings_panel import SETTINGS, check_limits

MOST_CELLS = 36
MOST_TOKENS = 4096  # of all cells together
CHOICES = {"solver": SOLVERS, "time_grid": TIME_GRIDS, "history": HISTORIES}
PROMPT, NOTHING = "prompt", "none"
SWEPT = [("Seed", "seed"), *((s.label, s.name) for s in SETTINGS if not s.name.startswith("guidance_")
                             and s.name != "stop_at_end"), ("Prompt", PROMPT)]  # fmt: skip
LABELS = {name: label for label, name in SWEPT}
LONGEST_LABEL = 60  # characters of a prompt at the side of a grid


@dataclasses.dataclass(frozen=True)
class Axis:
    """A setting, or the prompt, and the values that it takes along one side of the grid."""

    name: str
    values: tuple[Any, ...]

    def labels(self) -> list[str]:
        """What stands at the side of the grid for each value."""
        if self.name == PROMPT:
            return [_shortened(text) for text in self.values]
        return [f"{LABELS[self.name]} {value}" for value in self.values]


@dataclasses.dataclass
class Outcome:
    """What a cell has come to. seconds: its share of the time of its batch. numbers: see `differences.numbers`."""

    text: str
    ended: bool
    tokens: int
    seconds: float
    numbers: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Cell:
    """A text of the grid: what it is made of, what there is of it so far, and what it has come to in the end."""

    recipe: Recipe
    text: str = ""
    outcome: Outcome | None = None
    measures: str = ""

    @property
    def prompt(self) -> str:
        return self.recipe.texts[0]

    @property
    def settings(self) -> SamplerSettings:
        return self.recipe.settings


def axis_of(control: Any) -> Axis | None:
    """The axis that a control {"setting": name, "values": in words} describes; None for NOTHING. Raises RecipeError."""
    if not isinstance(control, Mapping):
        raise RecipeError("the sweep", Described("without a setting"), "a setting and its values")
    name = control.get("setting", "")
    return None if name == NOTHING else Axis(name, tuple(values_from(name, control.get("values", ""))))


def values_from(name: str, text: Any) -> list[Any]:
    """The values of a setting, one a line or separated by commas; prompts one a line. Raises RecipeError."""
    label = LABELS.get(name) if isinstance(name, str) else None
    if label is None:
        raise RecipeError("the setting", name, "one of the list")
    if not isinstance(text, str):
        raise RecipeError(label, text, "values, one a line")
    parts = re.split(r"[\r\n]+" if name == PROMPT else r"[,\r\n]+", text)
    found = [_value(name, label, part.strip()) for part in parts if part.strip()]
    if not found:
        raise RecipeError(label, Described("without a value"), "at least one")
    if len(set(found)) < len(found):
        raise RecipeError(label, Described("a value that comes twice"), "different values")
    return found


def _value(name: str, label: str, part: str) -> Any:
    if name == PROMPT:
        return part
    if name in CHOICES:
        if part not in CHOICES[name]:
            raise RecipeError(label, part, f"one of {', '.join(CHOICES[name])}")
        return part
    try:
        value = float(part)
    except ValueError as error:
        raise RecipeError(label, part, "numbers, one a line or separated by commas") from error
    return int(value) if value.is_integer() else value


def cells_of(
    base: SamplerSettings, prompt: Any, axes: Sequence[Axis], model: str = "",
    options: Mapping[str, Any] = MappingProxyType({}),
) -> list[Cell]:  # fmt: skip
    """The cells, the values of the last axis next to each other. prompt: of all of them, where no axis has prompts.

    model: its fingerprint. options: of all recipes. Raises RecipeError and SettingsError, also for more than this page
    runs and for prompts with holes, which have no length to be swept.
    """
    names = [axis.name for axis in axes]
    for name in names:
        if names.count(name) > 1:
            raise RecipeError(LABELS[name], Described("chosen twice"), "another setting for each side of the grid")
    count = math.prod(len(axis.values) for axis in axes)
    if count > MOST_CELLS:
        raise RecipeError("the sweep", Described(f"{count} texts"), f"at most {MOST_CELLS} on this page")
    cells = []
    for values in itertools.product(*(axis.values for axis in axes)):
        chosen = {axis.name: value for axis, value in zip(axes, values, strict=True)}
        text = chosen.pop(PROMPT, prompt)
        settings = SamplerSettings.from_dict(chosen, base=base)
        check_limits(settings)
        if isinstance(text, str) and has_holes(text):
            raise RecipeError("The prompt", Described("one with holes"), "one to go on from: a sweep fills no holes")
        cells.append(Cell(Recipe("generate", (text,), settings, options=dict(options), model=model)))
    tokens = sum(cell.settings.max_new_tokens for cell in cells)
    if tokens > MOST_TOKENS:
        raise RecipeError(
            "the sweep", Described(f"{tokens:,} tokens"), f"at most {MOST_TOKENS:,}: take fewer values or tokens"
        )
    return cells


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_LABEL else text[: LONGEST_LABEL - 2].rstrip() + " …"

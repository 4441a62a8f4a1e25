"""What the controls of the latent operations share: sliders that leave checks to the recipe, per cent, sentences."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from coladlm.recipe import Described, RecipeError

from .settings_panel import SettingSlider, in_labels


def sliders(*rows: tuple[str, str, tuple[float, float, float], float, str]) -> list[SettingSlider]:
    """A slider for each (label, hint, (low, high, step), value, further classes)."""
    return [
        SettingSlider(
            low,
            high,
            value,
            step=step,
            label=label,
            info=hint,
            buttons=["reset"],
            elem_classes=f"setting {more}".split(),
        )
        for label, hint, (low, high, step), value, more in rows
    ]


def group(controls: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The controls whose names begin with `name` and a dot, without that. Raises RecipeError."""
    found = controls.get(name)
    if not isinstance(found, Mapping):
        raise RecipeError(f"controls.{name}", found, "values by the names of the controls")
    return found


def number(value: Any, name: str) -> float:
    """A number of a control. Raises RecipeError that calls it by `name`."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
        raise RecipeError(name, Described("empty") if value is None else value, "a number")
    return float(value)


def whole(value: Any, name: str) -> int:
    """A whole number of a control. Raises RecipeError."""
    if not number(value, name).is_integer():
        raise RecipeError(name, value, "a whole number")
    return int(value)


def share(value: Any, name: str) -> float:
    """Per cent of a control as a share from 0 to 1. Raises RecipeError."""
    found = number(value, name)
    if not 0 <= found <= 100:
        raise RecipeError(name, Described(f"{found:g} %"), "from 0 to 100 %")
    return found / 100


def percent(value: float) -> float:
    """A share from 0 to 1 in per cent, without the dust of floating point."""
    return round(100 * value, 6)


def in_words(note: str, words: Mapping[str, str], start: bool = True) -> str:
    """A sentence about fields of a recipe with the words of their controls. start: is it the start of a sentence."""
    for field, word in words.items():
        note = note.replace(field, word)
    return in_labels(note) if start else note

"""The settings that a model starts with, in words."""

from __future__ import annotations

import dataclasses
from typing import Any

from coladlm import SamplerSettings
from coladlm.settings import DESCRIPTIONS, Description

MAIN = ("steps", "guidance", "stochasticity", "stagger", "temperature")  # are said whatever they are


def settings_line(settings: SamplerSettings) -> str:
    """The main settings, and all others that differ from the published sampler's."""
    published = SamplerSettings()
    names = [field.name for field in dataclasses.fields(settings)]
    differ = [name for name in names if getattr(settings, name) != getattr(published, name)]
    shown = [*MAIN, *(name for name in differ if name not in MAIN)]
    line = ", ".join(_words(DESCRIPTIONS[name], getattr(settings, name)) for name in shown)
    return line + "; all others as published"


def _words(about: Description, value: Any) -> str:
    label = about.label[0].lower() + about.label[1:]
    if about.choices is not None:
        return f"{label}: {about.choices[value]}"
    if isinstance(value, bool):
        return f"{label} {'on' if value else 'off'}"
    if isinstance(value, tuple):
        return f"{label} {value[0]:.12g} to {value[1]:.12g}"
    return f"{label} {value if isinstance(value, int) else f'{value:.12g}'}"

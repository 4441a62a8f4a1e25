"""Another text that the answer is drawn towards, or away from: its controls, and what they and a recipe say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import gradio as gr

from coladlm.latent.towards import OPTIONS
from coladlm.recipe import RecipeError
from coladlm.sampling.flow import NOISE_TIME

from ..shared.operation_controls import number, percent, share
from ..shared.settings_panel import SettingSlider

STRONGEST = 2.0  # either way on this page; stronger ones break the words
PULL_INFO = "How strongly. Below 0 that text is a negative prompt: the answer is driven away from what it is about."
DEFAULTS = {option.name: option.default for option in OPTIONS}


class Towards(NamedTuple):
    """The controls, in the order of `values_of`."""

    text: gr.Textbox
    pull: SettingSlider
    start: SettingSlider
    end: SettingSlider

    @property
    def by_name(self) -> dict[str, gr.components.Component]:
        return {f"towards.{name}": control for name, control in self._asdict().items()}


def build() -> Towards:
    """Lays the controls out where they are made."""
    text = gr.Textbox(
        label="Towards another text",
        info="The answer is drawn towards what this is about, or away from it with a pull below 0. For example: There "
        "was a dog. The dog was big.",
        lines=2,
        max_lines=5,
        elem_classes="setting set-towards ask",
        html_attributes=gr.InputHTMLAttributes(spellcheck=False),
    )
    low, high, step = 0, 100, 1
    return Towards(
        text,
        _slider(-STRONGEST, STRONGEST, 0.1, 1.0, "Pull", PULL_INFO),
        _slider(low, high, step, high, "Pull from noise (%)", "It acts once the noise has fallen to this."),
        _slider(low, high, step, low, "Pull to noise (%)", "And until here."),
    )


def _slider(low: float, high: float, step: float, value: float, label: str, info: str) -> SettingSlider:
    about = {"label": label, "info": info, "elem_classes": "setting set-towards"}
    return SettingSlider(low, high, value, step=step, buttons=["reset"], **about)


def options_of(controls: Any) -> dict[str, Any]:
    """The options of a recipe for the values of the controls by name; none without a text. Raises RecipeError."""
    controls = controls if isinstance(controls, Mapping) else {}
    text = controls.get("text")
    if text is None or (isinstance(text, str) and not text.strip()):
        return {}
    pull = number(controls.get("pull"), "Pull")
    if abs(pull) > STRONGEST:
        raise RecipeError("Pull", pull, f"from {-STRONGEST:g} to {STRONGEST:g} on this page")
    high = NOISE_TIME * share(controls.get("start"), "Pull from noise (%)")
    low = NOISE_TIME * share(controls.get("end"), "Pull to noise (%)")
    if low > high:
        found = f"{high / 10:g}"
        raise RecipeError("Pull from noise (%)", float(found), f"at least as much as pull to noise, {low / 10:g}")
    given = {"towards": text, "pull": pull, "pull_low": round(low, 6), "pull_high": round(high, 6)}
    return {name: value for name, value in given.items() if name == "towards" or value != DEFAULTS[name]}


def values_of(options: Mapping[str, Any]) -> list[Any]:
    """The values of the controls for the options of a recipe."""
    given = {**DEFAULTS, **{name: value for name, value in options.items() if name in DEFAULTS}}
    high, low = (percent(given[name] / NOISE_TIME) for name in ("pull_high", "pull_low"))
    return [given["towards"] or "", given["pull"], high, low]

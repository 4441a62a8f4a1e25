"""Other texts than the prompt: one that the answer is drawn towards, a negative prompt, and the sentences at both ends
of a direction. Their controls, and what these and a recipe say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import gradio as gr

from coladlm.latent.other_texts import OPTIONS
from coladlm.recipe import Recipe, RecipeError
from coladlm.sampling.flow import NOISE_TIME

from ..components import ChoiceBox
from ..shared.operation_controls import number, percent, share
from ..shared.settings_panel import SettingSlider
from . import direction_dial

STRONGEST = 2.0  # either way on this page; stronger ones break the words
DEFAULTS = {option.name: option.default for option in OPTIONS}
WORDS = {"texts[0]": "The prompt", "options.towards": "The text to be drawn towards",
         "options.negative": "The negative prompt", **direction_dial.WORDS}  # fmt: skip


class OtherTexts(NamedTuple):
    """The controls, in the order of `values_of`. text to end: of the text that the answer is drawn towards. From
    direction on: those of a DirectionDial.
    """

    text: gr.Textbox
    pull: SettingSlider
    start: SettingSlider
    end: SettingSlider
    negative: gr.Textbox
    direction: ChoiceBox
    strength: SettingSlider
    strength_start: SettingSlider
    strength_end: SettingSlider
    first: gr.Textbox
    second: gr.Textbox

    @property
    def by_name(self) -> dict[str, gr.components.Component]:
        return {f"others.{name}": control for name, control in self._asdict().items()}


def build() -> OtherTexts:
    """Lays the controls out where they are made."""
    text = _text(
        "Towards another text",
        "The answer is drawn towards what this is about, or away from it with a pull below 0. For example: There was a "
        "dog. The dog was big.",
        "set-towards",
    )
    low, high, step = 0, 100, 1
    return OtherTexts(
        text,
        _slider(-STRONGEST, STRONGEST, 0.1, 1.0, "Pull", "How strongly. Below 0 the answer is driven away from it."),
        _slider(low, high, step, high, "Pull from noise (%)", "It acts once the noise has fallen to this."),
        _slider(low, high, step, low, "Pull to noise (%)", "And until here."),
        _text(
            "Negative prompt",
            "Guidance leads away from this text, in place of away from what the model writes after nothing: the higher "
            "the guidance, the farther. At guidance 1 it does nothing.",
            "set-negative",
        ),
        *direction_dial.build(),
    )


def _text(label: str, info: str, name: str) -> gr.Textbox:
    return gr.Textbox(
        label=label,
        info=info,
        lines=2,
        max_lines=5,
        elem_classes=f"setting {name} ask",
        html_attributes=gr.InputHTMLAttributes(spellcheck=False),
    )


def _slider(low: float, high: float, step: float, value: float, label: str, info: str) -> SettingSlider:
    about = {"label": label, "info": info, "elem_classes": "setting set-towards"}
    return SettingSlider(low, high, value, step=step, buttons=["reset"], **about)


def options_of(controls: Any) -> dict[str, Any]:
    """The options of a recipe for the values of the controls by name; none without a text or a direction. Raises
    RecipeError.
    """
    controls = controls if isinstance(controls, Mapping) else {}
    negative = {} if _is_empty(controls.get("negative")) else {"negative": controls["negative"]}
    return {**_pull_of(controls), **negative, **direction_dial.options_of(controls)}


def check_negative(recipe: Recipe) -> None:
    """Raises RecipeError for a negative prompt that would do nothing."""
    if recipe.options.get("negative") and recipe.settings.guidance == 1:
        sentence = "A negative prompt does nothing at guidance 1; with guidance 2 or more it leads away from its text"
        raise RecipeError("settings.guidance", 1, "above 1", sentence)


def with_controls(options: Mapping[str, Any], controls: Any) -> dict[str, Any]:
    """The options of a recipe with other texts as the controls by name have them; as they are, without controls. Raises
    RecipeError.
    """
    if controls is None:
        return dict(options)
    return {**{name: value for name, value in options.items() if name not in DEFAULTS}, **options_of(controls)}


def _pull_of(controls: Mapping[str, Any]) -> dict[str, Any]:
    text = controls.get("text")
    if _is_empty(text):
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


def _is_empty(text: Any) -> bool:
    return text is None or (isinstance(text, str) and not text.strip())


def values_of(options: Mapping[str, Any]) -> list[Any]:
    """The values of the controls for the options of a recipe."""
    given = {**DEFAULTS, **{name: value for name, value in options.items() if name in DEFAULTS}}
    high, low = (percent(given[name] / NOISE_TIME) for name in ("pull_high", "pull_low"))
    dial = direction_dial.values_of(options)
    return [given["towards"] or "", given["pull"], high, low, given["negative"] or "", *dial]

"""A direction as a dial during a run: its controls, and what these, a recipe and a finished run say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import gradio as gr

from coladlm.latent.directions import DirectionError, load_pairs, shipped
from coladlm.latent.other_texts import DIAL
from coladlm.recipe import Described, RecipeError
from coladlm.sampling.flow import NOISE_TIME

from ..components import ChoiceBox
from ..shared.operation_controls import number, percent, share, sliders
from ..shared.settings_panel import SettingSlider

NONE, OWN = "none", "own"
STRONGEST = 2.0  # either way on this page; stronger ones break the words
DEFAULTS = {option.name: option.default for option in DIAL}
WORDS = {"options.direction_first": "The direction's first list", "options.direction_second": "Its second list",
         "options.direction_strength": "Strength of the direction", "options.direction": "The direction"}  # fmt: skip
OWN_JS = f"(name) => ({{__type__: 'update', visible: name === '{OWN}'}})"
# what the chip says, of a direction and its strength
CHIP_JS = f"(name, strength) => name === '{NONE}' ? name : `${{name}} ${{strength > 0 ? '+' : ''}}${{strength}}`"


class DirectionDial(NamedTuple):
    """The controls, in the order of `values_of`. first, second: the lists of a direction of one's own."""

    direction: ChoiceBox
    strength: SettingSlider
    strength_start: SettingSlider
    strength_end: SettingSlider
    first: gr.Textbox
    second: gr.Textbox


def build() -> DirectionDial:
    """Lays the controls out where they are made."""
    classes = "setting set-direction"
    titles = [(load_pairs(name).title, name) for name in shipped()]
    choices = [("none", NONE), *titles, ("my own, from two lists of sentences", OWN)]
    with gr.Column(elem_classes=classes):
        direction = ChoiceBox(
            "Direction",
            "The answer is turned from one kind of text to another while it is written.",
            choices,
            NONE,
            elem_classes=classes,
        )
        with gr.Column(visible=False, elem_classes="own-lists") as lists:
            info = "One per line. What both lists have in common cancels."
            first = gr.Textbox(label="From sentences like", info=info, lines=3, max_lines=8)
            second = gr.Textbox(label="To sentences like", info="One per line.", lines=3, max_lines=8)
    direction.change(None, direction, lists, js=OWN_JS, api_visibility="private")
    low, high, step = 0, 100, 1
    hint = "How far. Above 0 it goes to the second end (sad, of happy to sad), below 0 to the first."
    strength, start, end = sliders(
        ("Strength of the direction", hint, (-STRONGEST, STRONGEST, 0.1), DEFAULTS["direction_strength"], classes),
        ("Direction from noise (%)", "It acts once the noise has fallen to this.", (low, high, step), high, classes),
        ("Direction to noise (%)", "And until here.", (low, high, step), low, classes),
    )
    return DirectionDial(direction, strength, start, end, first, second)


def options_of(controls: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a recipe for the values of the controls by name; none without a direction. Raises RecipeError."""
    direction = controls.get("direction")
    if direction in (None, "", NONE):
        return {}
    strength = number(controls.get("strength"), WORDS["options.direction_strength"])
    if abs(strength) > STRONGEST:
        wanted = f"from {-STRONGEST:g} to {STRONGEST:g} on this page"
        raise RecipeError(WORDS["options.direction_strength"], strength, wanted)
    high = NOISE_TIME * share(controls.get("strength_start"), "Direction from noise (%)")
    low = NOISE_TIME * share(controls.get("strength_end"), "Direction to noise (%)")
    if low > high:
        wanted = f"at least as much as direction to noise, {low / 10:g}"
        raise RecipeError("Direction from noise (%)", high / 10, wanted)
    how = {"direction_strength": strength, "direction_low": round(low, 6), "direction_high": round(high, 6)}
    changed = {name: value for name, value in how.items() if value != DEFAULTS[name]}
    if direction != OWN:
        return {"direction": direction, **changed}
    return {**{f"direction_{end}": _lines(controls.get(end), end) for end in ("first", "second")}, **changed}


def _lines(text: Any, end: str) -> list[str]:
    lines = [line.strip() for line in text.splitlines() if line.strip()] if isinstance(text, str) else []
    if not lines:
        raise RecipeError(WORDS[f"options.direction_{end}"], Described("empty"), "a sentence or more, one a line")
    return lines


def values_of(options: Mapping[str, Any]) -> list[Any]:
    """The values of the controls for the options of a recipe."""
    given = {**DEFAULTS, **{name: value for name, value in options.items() if name in DEFAULTS}}
    lists = [given["direction_first"], given["direction_second"]]
    direction = given["direction"] or (NONE if lists == [None, None] else OWN)
    high, low = (percent(given[name] / NOISE_TIME) for name in ("direction_high", "direction_low"))
    return [direction, given["direction_strength"], high, low, *("\n".join(sentences or ()) for sentences in lists)]


def turned_to(options: Mapping[str, Any]) -> list[str]:
    """What a run with these options is turned to, in a few words; [] where it is turned to nothing."""
    strength = options.get("direction_strength", DEFAULTS["direction_strength"])
    direction, *_ = values_of(options)
    if direction == NONE or not strength:
        return []
    ends = ("the first list", "the second list")
    if direction != OWN:
        try:
            pairs = load_pairs(direction)
        except DirectionError:
            return []  # such a run is refused before its first word, with a sentence of the library
        ends = (pairs.first, pairs.second)
    return [f"turned to {ends[strength > 0]} ({abs(strength):g})"]

"""A text that was steered, in the controls: the visitor's own prompt, and what the answer has already."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import gradio as gr

from coladlm import ColaDLM, SamplerSettings
from coladlm.latent.steered import OPTION
from coladlm.recipe import Recipe

from ..shared.generation import FILL

STEERED = OPTION.name


class SteeredControls(NamedTuple):
    """text: what the answer has already. of: the prompt that it belongs to, unseen; it says nothing to another one."""

    text: gr.Textbox
    of: gr.Textbox

    @property
    def by_name(self) -> dict[str, gr.components.Component]:
        return {f"{STEERED}.{name}": control for name, control in self._asdict().items()}


def build() -> SteeredControls:
    """Lays the controls out where they are made."""
    text = gr.Textbox(
        label="Steered to",
        info="What the answer has already, up to the word that you put there. Empty it to write from the prompt alone; "
        "another prompt does so too.",
        lines=2,
        max_lines=5,
        elem_classes="setting set-steered",
        html_attributes=gr.InputHTMLAttributes(spellcheck=False),
    )
    return SteeredControls(text, gr.Textbox("", visible="hidden", show_label=False))


class OfRecipe(NamedTuple):
    """The values of the controls for a recipe: prompt, settings, and those of SteeredControls."""

    prompt: str
    settings: SamplerSettings
    text: str
    of: str


def values_of(model: ColaDLM, recipe: Recipe) -> OfRecipe:
    """The values of the controls for a recipe. Raises PromptError for a text that is too long."""
    prompt, text = recipe.texts[0], recipe.options.get(STEERED) or ""
    length = recipe.settings.max_new_tokens + tokens_between(model, prompt, text)
    return OfRecipe(prompt, dataclasses.replace(recipe.settings, max_new_tokens=length), text, prompt)


def with_steered(model: ColaDLM, recipe: Recipe, prompt: Any, controls: Any) -> Recipe:
    """The recipe of the other controls with what those of this module say. prompt: as the visitor has it. Raises
    RecipeError, PromptError.
    """
    named = controls if isinstance(controls, Mapping) else {}
    text = named.get("text")
    if not text or named.get("of") != prompt or recipe.operation == FILL:
        return recipe
    recipe = dataclasses.replace(recipe, options={**recipe.options, STEERED: OPTION.check(text)})
    return dataclasses.replace(recipe, settings=without_given(model, recipe, recipe.settings))


def without_given(model: ColaDLM, recipe: Recipe, settings: SamplerSettings) -> SamplerSettings:
    """Settings of the controls for a recipe: their length counts what its answer has already. Raises PromptError."""
    left = settings.max_new_tokens - tokens_between(model, recipe.texts[0], recipe.options.get(STEERED) or "")
    return dataclasses.replace(settings, max_new_tokens=max(1, left))


def tokens_between(model: ColaDLM, prompt: str, text: str) -> int:
    """How many tokens a text adds to what stands before it. Raises PromptError."""
    return len(model.tokenize(prompt + text)) - len(model.tokenize(prompt)) if text else 0


def marks_of(recipe: Recipe) -> dict[str, int]:
    """What a TokenStrip is told of the run of a recipe: the last word of what the answer has already is marked."""
    words = (recipe.options.get(STEERED) or "").split()
    return {"pinned": len(words[-1])} if words else {}

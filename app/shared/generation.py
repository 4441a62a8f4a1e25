"""What the tabs that continue a prompt share: examples, and recipes from their controls and from links."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import gradio as gr

from coladlm import ColaDLM, SamplerSettings
from coladlm.latent import has_holes
from coladlm.latent.steered import prompts_of
from coladlm.recipe import Described, Recipe, RecipeError, check_options
from coladlm.run import OPERATIONS, check_model

from ..components.progress_line import progress_value
from .errors import sentence
from .links import recipe_from
from .operation_controls import whole
from .settings_panel import check_limits, settings_of, values_of
from .trace_store import Run

OPERATION = "generate"
FILL = "fill"  # of a prompt that has holes
CANDIDATES = 8  # texts of a prompt with holes, unless more variations than one are wanted
MOST_VARIATIONS = 8
MOST_TOKENS = 4096  # of all variations together, and of all their drafts: what keeps others waiting for a minute or so
EXAMPLES = (
    "Once upon a time, there was a little fox who",
    "Tom and Lily went to the beach. They found",
    "One day, the moon did not come up.",
)
HOLES = "The ___ ran to the ___."


def recipe_of(
    model: ColaDLM, prompt: Any, variations: Any, settings: Any, options: Mapping[str, Any] = MappingProxyType({})
) -> Recipe:
    """The recipe that the controls stand for; of a prompt with holes one that fills them. Raises RecipeError,
    SettingsError.
    """
    options = dict(options)
    count = whole(variations, "Variations")
    if not 1 <= count <= MOST_VARIATIONS:
        raise RecipeError("Variations", count, f"1 to {MOST_VARIATIONS} on this page")
    settings = model.plain(settings_of(settings))
    prompt = begun(model, prompt, settings.seed)
    if isinstance(prompt, str) and has_holes(prompt):
        return Recipe(FILL, (prompt,), settings, count if count > 1 else CANDIDATES, options, model.fingerprint)
    drafts = settings.noises_of(settings.block_of(model.block_size))
    if count * settings.max_new_tokens * drafts > MOST_TOKENS and count * drafts > 1:
        several = f" from {drafts} noises" if drafts > 1 else ""
        found = Described(f"{count} of {settings.max_new_tokens:,} tokens{several}")
        raise RecipeError("Variations", found, f"at most {MOST_TOKENS:,} tokens in all on this page")
    return Recipe(OPERATION, (prompt,), settings, count, options, model.fingerprint)


def begun(model: ColaDLM, prompt: Any, seed: int) -> Any:
    """The prompt; where it is empty, a line for the text to begin with, if the model has any."""
    empty = isinstance(prompt, str) and not prompt.strip()
    return model.opening(seed) or prompt if empty else prompt


def with_seed_of(settings: SamplerSettings, recorded: Run | None) -> SamplerSettings:
    """What the controls begin with beside a recorded run: its seed, so that its prompt goes the way that it went."""
    return settings if recorded is None else dataclasses.replace(settings, seed=recorded.trace.recipe.settings.seed)


def restore(model: ColaDLM, query: Mapping[str, str]) -> list[Any]:
    """Values of the prompt, the variations, the settings and the progress line for the query of an address."""
    unchanged = [gr.skip()] * (2 + len(values_of(model.defaults)))
    try:
        recipe = recipe_from(query, OPERATION, FILL)
        if recipe is None:
            return [*unchanged, gr.skip()]
        check_limits(recipe.settings)
        check_options(recipe.options, OPERATIONS[recipe.operation].options)
    except ValueError as error:
        return [*unchanged, progress_value("error", message=f"The link could not be read: {sentence(error)}")]
    note = check_model(model, recipe) or "Restored from the link: press Run to repeat it."
    if len(recipe.texts) > 1:
        note += f" It asks for {len(recipe.texts)} prompts; this page writes the first."
    if "longest" in recipe.options:
        note += " It has another longest hole; this page fills holes with one token or two."
    variations = min(recipe.variations, MOST_VARIATIONS)
    if variations < recipe.variations:
        note += f" It asks for {recipe.variations} variations; this page writes {variations}."
    prompt = prompts_of(recipe)[0]
    return [prompt, variations, *values_of(recipe.settings), progress_value("idle", message=note)]

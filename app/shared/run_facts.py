"""What a picture of a run says of how it was made."""

from __future__ import annotations

from typing import Any

from coladlm import ColaDLM
from coladlm.recipe import Recipe

from .links import link_of


def model_name(model: ColaDLM) -> str:
    """What a picture or a saved page calls a model."""
    return "bundled model" if model.name == "bundled" else model.name or "unnamed model"


def run_facts(model: ColaDLM, recipe: Recipe, sequence: int = 0) -> dict[str, Any]:
    """The facts of one text of a run, for a ShareCard.

    "model": its name. "seed". "line": the settings that people use, in words. "fresh": is noise renewed at every step.
    "query": of the link that repeats the run, "" where there can be none: other runs than those of a prompt need more
    than a link holds.
    """
    settings = recipe.settings
    steps = f"{settings.steps} step{'' if settings.steps == 1 else 's'} a block"
    parts = [f"seed {settings.seed}", steps, f"guidance {settings.guidance:g}"]
    if settings.block_size is not None:
        parts.append(f"blocks of {settings.block_size}")
    if settings.stagger:
        parts.append(f"stagger {settings.stagger:g}")
    if settings.min_p:
        parts.append(f"min-p {settings.min_p:g}")
    if settings.guides_logits(settings.block_size or 0):
        parts.append(f"between {settings.guidance_space}")
    if settings.flow_temperature != 1:
        parts.append(f"flow temperature {settings.flow_temperature:g}")
    if (noises := settings.noises_of(settings.block_size or model.block_size)) > 1:
        parts.append(f"the best of {noises} noises a block")
    if settings.stochasticity:
        parts.append(f"stochasticity {settings.stochasticity:g}")
    if recipe.variations > 1:
        parts.append(f"text {sequence + 1} of {recipe.variations}")
    return {
        "model": model_name(model),
        "seed": settings.seed,
        "line": ", ".join(parts),
        "fresh": settings.stochasticity > 0,
        "query": link_of(recipe)["query"] if recipe.operation == "generate" else "",
    }

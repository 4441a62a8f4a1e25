"""The endpoint /interpolate of the page's API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from coladlm import ColaDLM
from coladlm.latent.interpolate import Interpolation, Waypoint
from coladlm.recipe import Recipe
from coladlm.serve import Scheduler, Waiting

from ..shared.api_docs import described
from ..shared.errors import sentence
from ..shared.event_options import UNLIMITED
from ..shared.resident import Resident
from ..shared.session import current_visitor
from .handlers import OPERATION, check_size


def add_api(resident: Resident) -> None:
    """Adds the endpoint /interpolate to the current page."""
    start = resident.first.defaults

    @described
    def interpolate(
        texts: list[str], road: str = "through_flow", stops: int = 9, renoise: float = 0.5, profile: str = "arch",
        align: str = "pad", before: str = "", tries: int = 1, seed: int = start.seed, steps: int = start.steps,
        guidance: float = start.guidance, stochasticity: float = start.stochasticity,
        max_new_tokens: int = start.max_new_tokens, temperature: float = start.temperature, solver: str = start.solver,
        block_size: int | None = start.block_size,
    ) -> Iterator[tuple[list[dict[str, Any]], dict[str, Any]]]:  # fmt: skip
        """Interpolates between texts.

        Args:
            texts: two texts or more, each of at least one token.
            road: how, "through_flow", "decoder_only", "noise_to_noise" or "prompt_to_prompt".
            stops: waypoints from each text to the next, both counted.
            renoise: through the flow, the share of noise from 0 to 1 that a waypoint is re-noised to.
            profile: through the flow, "arch" re-noises less towards the texts, "flat" all waypoints alike.
            align: texts of different length, "pad" or "stretch".
            before: a text that stands before every waypoint and is no part of it.
            tries: through the flow, candidates for each waypoint, of which those are taken that go one way from text to
                text and that the flow finds likeliest.
            max_new_tokens: prompt to prompt, the length of each continuation in tokens.

        Returns:
            The waypoints, each with its text, whether it is complete and, at the end, its distances to the texts in
            latents and in tokens and its misfit, the error of the flow at it; and the recipe that repeats them. A
            stream has them whenever one is complete.
        """
        options = {"road": road, "stops": stops, "renoise": renoise, "profile": profile, "align": align,
                   "before": before, "tries": tries}  # fmt: skip
        given = {"seed": seed, "steps": steps, "guidance": guidance, "stochasticity": stochasticity,
                 "max_new_tokens": max_new_tokens, "temperature": temperature, "solver": solver,
                 "block_size": block_size}  # fmt: skip
        yield from interpolate_texts(resident.model, resident.scheduler, texts, options, given)

    gr.api(interpolate, api_name="interpolate", **UNLIMITED)


def interpolate_texts(
    model: ColaDLM, scheduler: Scheduler, texts: list[str], options: dict[str, Any], given: dict[str, Any]
) -> Iterator[tuple[list[dict[str, Any]], dict[str, Any]]]:
    """The waypoints and the recipe whenever one is complete. Raises gr.Error with a sentence."""
    try:
        settings = model.plain(type(model.defaults).from_dict(given, base=model.defaults))
        recipe = Recipe(OPERATION, tuple(texts), settings, options=options, model=model.fingerprint)
        check_size(model, recipe)
        plain = recipe.to_dict()
        waypoints: list[dict[str, Any]] = []
        for event in scheduler.run(model, recipe, current_visitor(), steps="none"):
            if isinstance(event, Interpolation):
                waypoints = [_plain(waypoint) for waypoint in event.waypoints]
            if isinstance(event, Interpolation | Waiting):  # in the queue too: a caller who left is noticed
                yield waypoints, plain
    except ValueError as error:
        raise gr.Error(sentence(error), print_exception=False) from error


def _plain(waypoint: Waypoint) -> dict[str, Any]:
    return {
        "text": waypoint.text,
        "done": waypoint.done,
        "weights": list(waypoint.weights),
        "latent_distances": list(waypoint.latent_distances),
        "token_distances": list(waypoint.token_distances),
        "misfit": waypoint.misfit,
    }

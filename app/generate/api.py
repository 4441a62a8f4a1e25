"""The endpoint /generate of the page's API."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import gradio as gr

from coladlm import ColaDLM, SamplerSettings
from coladlm.recipe import Recipe
from coladlm.sampling.events import BlockDone, Finished
from coladlm.serve import Scheduler, Waiting

from ..shared.api_docs import with_settings
from ..shared.errors import sentence
from ..shared.event_options import UNLIMITED
from ..shared.generation import OPERATION
from ..shared.resident import Resident
from ..shared.session import current_visitor
from ..shared.settings_panel import check_limits

SETTINGS = {field.name for field in dataclasses.fields(SamplerSettings)}


def add_api(resident: Resident) -> None:
    """Adds the endpoint /generate to the current page."""
    start = resident.first.defaults

    @with_settings
    def generate(
        prompt: str,
        max_new_tokens: int = start.max_new_tokens,
        seed: int = start.seed,
        steps: int = start.steps,
        guidance: float = start.guidance,
        stochasticity: float = start.stochasticity,
        temperature: float = start.temperature,
        top_k: int = start.top_k,
        top_p: float = start.top_p,
        repetition_penalty: float = start.repetition_penalty,
        history: str = start.history,
        solver: str = start.solver,
        time_grid: str = start.time_grid,
        time_shift: float = start.time_shift,
        stagger: float = start.stagger,
        stop_at_end: bool = start.stop_at_end,
        no_repeat_ngram_size: int = start.no_repeat_ngram_size,
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Continues a prompt.

        Args:
            prompt: what the text begins with; may be empty.

        Returns:
            The text without the prompt, and the recipe that repeats it. A stream has the text so far after every block.
        """
        given = {name: value for name, value in locals().items() if name in SETTINGS}  # its arguments
        yield from generate_text(resident.model, resident.scheduler, prompt, given)

    gr.api(generate, api_name="generate", **UNLIMITED)


def generate_text(
    model: ColaDLM, scheduler: Scheduler, prompt: str, given: dict[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The text so far and its recipe after every block and at the end. Raises gr.Error with a sentence."""
    try:
        settings = type(model.defaults).from_dict(given, base=model.defaults)
        check_limits(settings)
        recipe = Recipe(OPERATION, (prompt,), settings, model=model.fingerprint)
        plain = recipe.to_dict()
        text = ""
        for event in scheduler.run(model, recipe, current_visitor(), steps="none"):
            if isinstance(event, BlockDone | Finished):
                text = event.texts[0]
            if isinstance(event, BlockDone | Finished | Waiting):  # in the queue too: a caller who left is noticed
                yield text, plain
    except ValueError as error:
        raise gr.Error(sentence(error), print_exception=False) from error

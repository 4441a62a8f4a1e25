"""The endpoints /generate and /fill of the page's API."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import gradio as gr

from coladlm import ColaDLM, SamplerSettings
from coladlm.latent import Filled
from coladlm.latent.other_texts import DIAL, OPTIONS, PULL
from coladlm.recipe import Recipe
from coladlm.sampling.events import BlockDone, Finished
from coladlm.sampling.flow import NOISE_TIME
from coladlm.serve import Scheduler, Waiting

from ..shared.api_docs import described
from ..shared.errors import sentence
from ..shared.event_options import UNLIMITED
from ..shared.generation import CANDIDATES, FILL, OPERATION
from ..shared.resident import Resident
from ..shared.session import current_visitor
from ..shared.settings_panel import check_limits
from .filling import check_size
from .other_texts import DEFAULTS

SETTINGS = {field.name for field in dataclasses.fields(SamplerSettings)}


def add_api(resident: Resident) -> None:
    """Adds the endpoints /generate and /fill to the current page."""
    _add_generate(resident)
    _add_fill(resident)


def _add_generate(resident: Resident) -> None:
    start = resident.first.defaults

    @described
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
        whole_sentences: bool = start.whole_sentences,
        no_repeat_ngram_size: int = start.no_repeat_ngram_size,
        stop_when_settled: int = start.stop_when_settled,
        min_p: float = start.min_p,
        flow_temperature: float = start.flow_temperature,
        guidance_space: str = start.guidance_space,
        noises: int = start.noises,
        block_size: int | None = start.block_size,
        towards: str | None = None,
        pull: float = 1.0,
        negative: str | None = None,
        direction: str | None = None,
        direction_strength: float = 1.0,
        direction_low: float = 0.0,
        direction_high: float = NOISE_TIME,
        direction_first: list[str] | None = None,
        direction_second: list[str] | None = None,
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Continues a prompt.

        Args:
            prompt: what the text begins with; may be empty.
            towards: a text that the answer is drawn towards.
            pull: how much, -4 to 4; below 0 away from it.
            negative: a negative prompt: a text that guidance leads away from; it does nothing at guidance 1.
            direction: one that ships with the app, such as "happy-sad", whose second end the answer is turned to.
            direction_strength: how far, -4 to 4; below 0 to its first end.
            direction_low: it acts from this time on, of 1000.
            direction_high: and up to this one.
            direction_first: a direction of your own in place of a name, sentences at its first end.
            direction_second: sentences at its second end.

        Returns:
            The text without the prompt, and the recipe that repeats it. A stream has the text so far after every block.
        """
        given = {name: value for name, value in locals().items() if name in SETTINGS}  # its arguments
        yield from generate_text(resident.model, resident.scheduler, prompt, given, _other_texts(locals()))

    gr.api(generate, api_name="generate", **UNLIMITED)


def _add_fill(resident: Resident) -> None:
    start = resident.first.defaults

    @described
    def fill(
        text: str,
        candidates: int = CANDIDATES,
        longest: int = 2,
        towards: str | None = None,
        pull: float = 1.0,
        negative: str | None = None,
        seed: int = start.seed,
        steps: int = start.steps,
        guidance: float = start.guidance,
        stochasticity: float = start.stochasticity,
        temperature: float = start.temperature,
        solver: str = start.solver,
        stagger: float = start.stagger,
        block_size: int | None = start.block_size,
        direction: str | None = None,
        direction_strength: float = 1.0,
        direction_low: float = 0.0,
        direction_high: float = NOISE_TIME,
        direction_first: list[str] | None = None,
        direction_second: list[str] | None = None,
    ) -> Iterator[tuple[list[dict[str, Any]], dict[str, Any]]]:
        """Fills the holes of a text, each written as ___ (three underscores or more).

        Args:
            text: the text with its holes.
            candidates: how many, in one batch.
            longest: the most tokens of a hole.
            towards: a text that what fills them is drawn towards.
            pull: how much, -4 to 4; below 0 away from it.
            negative: a negative prompt: a text that guidance leads away from; it does nothing at guidance 1.
            direction: one that ships with the app, such as "happy-sad", whose second end the answer is turned to.
            direction_strength: how far, -4 to 4; below 0 to its first end.
            direction_low: it acts from this time on, of 1000.
            direction_high: and up to this one.
            direction_first: a direction of your own in place of a name, sentences at its first end.
            direction_second: sentences at its second end.

        Returns:
            The candidates, best first and equal ones once, each with its text, what stands in its holes, and its
            misfit; and the recipe that repeats them.
        """
        given = {name: value for name, value in locals().items() if name in SETTINGS}
        options = {"longest": longest, **_other_texts(locals())}
        yield from fill_text(resident.model, resident.scheduler, text, candidates, options, given)

    gr.api(fill, api_name="fill", **UNLIMITED)


def _other_texts(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a recipe for the arguments of an endpoint; what is not given is not among them, nor how much of
    it, where that is as it is by default.
    """
    given = {option.name: arguments.get(option.name) for option in OPTIONS}
    given = {name: value for name, value in given.items() if value is not None}
    idle = [] if "towards" in given else [option.name for option in PULL]
    if not given.keys() & {"direction", "direction_first", "direction_second"}:
        idle += [option.name for option in DIAL]
    return {name: value for name, value in given.items() if name not in idle or value != DEFAULTS[name]}


def fill_text(
    model: ColaDLM, scheduler: Scheduler, text: str, candidates: int, options: dict[str, Any], given: dict[str, Any]
) -> Iterator[tuple[list[dict[str, Any]], dict[str, Any]]]:
    """The candidates and the recipe at the end, nothing before. Raises gr.Error with a sentence."""
    try:
        settings = model.plain(type(model.defaults).from_dict(given, base=model.defaults))
        check_limits(settings)
        recipe = Recipe(FILL, (text,), settings, candidates, options, model.fingerprint)
        check_size(model, recipe)
        plain: list[dict[str, Any]] = []
        for event in scheduler.run(model, recipe, current_visitor(), steps="none"):
            if isinstance(event, Filled):
                plain = [{"text": c.text, "fills": list(c.fills), "misfit": c.misfit} for c in event.candidates]
            if isinstance(event, Filled | Waiting):  # in the queue too: a caller who left is noticed
                yield plain, recipe.to_dict()
    except ValueError as error:
        raise gr.Error(sentence(error), print_exception=False) from error


def generate_text(
    model: ColaDLM, scheduler: Scheduler, prompt: str, given: dict[str, Any], options: dict[str, Any] | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The text so far and its recipe after every block and at the end. Raises gr.Error with a sentence."""
    try:
        settings = model.plain(type(model.defaults).from_dict(given, base=model.defaults))
        check_limits(settings)
        recipe = Recipe(OPERATION, (prompt,), settings, options=options or {}, model=model.fingerprint)
        plain = recipe.to_dict()
        text = ""
        for event in scheduler.run(model, recipe, current_visitor(), steps="none"):
            if isinstance(event, BlockDone | Finished):
                text = event.texts[0]
            if isinstance(event, BlockDone | Finished | Waiting):  # in the queue too: a caller who left is noticed
                yield text, plain
    except ValueError as error:
        raise gr.Error(sentence(error), print_exception=False) from error

"""The endpoint /edit of the page's API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from coladlm import ColaDLM
from coladlm.latent.edit import Candidate, Edited
from coladlm.recipe import Recipe
from coladlm.serve import Scheduler, Waiting

from ..shared.api_docs import described
from ..shared.errors import sentence
from ..shared.event_options import UNLIMITED
from ..shared.resident import Resident
from ..shared.session import current_visitor
from .handlers import OPERATION, check_size


def add_api(resident: Resident) -> None:
    """Adds the endpoint /edit to the current page."""
    begin = resident.first.defaults

    @described
    def edit(
        text: str, start: int, end: int, method: str = "anew", strength: float | None = None,
        strengths: list[float] | None = None, renoise: float = 0.2,
        follow: float = 0.0, candidates: int = 4, direction: str | None = None, first: list[str] | None = None,
        second: list[str] | None = None, component: int = 0, other: str | None = None, other_start: int | None = None,
        other_end: int | None = None, seed: int = begin.seed, steps: int = begin.steps,
        guidance: float = begin.guidance, stochasticity: float = begin.stochasticity,
        temperature: float = begin.temperature, solver: str = begin.solver, block_size: int | None = begin.block_size,
    ) -> Iterator[tuple[list[dict[str, Any]], dict[str, Any]]]:  # fmt: skip
        """Changes a span of a text and carries it back through the flow; the rest stays, or follows.

        Args:
            text: what to change.
            start: first token of the span, counted from 0.
            end: the token after the span.
            method: "anew", "renoise", "direction", "mix" or "component".
            strength: how much, 0 changes nothing. renoise and mix: 0 to 1. direction and component: radii, -4 to 4.
            strengths: several strengths in place of one, in one batch and each from the same noise.
            renoise: direction, mix, component: share of noise that the moved span is carried back from.
            follow: what comes after the span, 0 keeps it, above that it may change, 1 writes it anew.
            candidates: how many, of each strength, in one batch.
            direction: the name of a direction that ships with the app, such as "happy-sad".
            first: a direction of your own, sentences at its first end, two or more.
            second: sentences at its second end.
            component: which principal component, counted from 0.
            other: the text to mix in.
            other_start: first token of the other text's span; its first if absent.
            other_end: the token after it; its end if absent.

        Returns:
            The candidates, best first, of several strengths one after another, each with its text, which of its tokens
            are new, its misfit and its strength; and the recipe that repeats them.
        """
        options = {"method": method, "start": start, "end": end, "strength": strength,
                   "strengths": strengths, "renoise": renoise,
                   "follow": follow, "direction": direction, "first": first, "second": second, "component": component,
                   "other_start": other_start, "other_end": other_end}  # fmt: skip
        given = {"seed": seed, "steps": steps, "guidance": guidance, "stochasticity": stochasticity,
                 "temperature": temperature, "solver": solver, "block_size": block_size}  # fmt: skip
        texts = [text] if other is None else [text, other]
        yield from edit_text(resident.model, resident.scheduler, texts, options, candidates, given)

    gr.api(edit, api_name="edit", **UNLIMITED)


def edit_text(
    model: ColaDLM,
    scheduler: Scheduler,
    texts: list[str],
    options: dict[str, Any],
    candidates: int,
    given: dict[str, Any],
) -> Iterator[tuple[list[dict[str, Any]], dict[str, Any]]]:
    """The candidates and the recipe at the end, nothing before. Raises gr.Error with a sentence."""
    try:
        settings = model.plain(type(model.defaults).from_dict(given, base=model.defaults))
        recipe = Recipe(OPERATION, tuple(texts), settings, candidates, options, model.fingerprint)
        check_size(model, recipe)
        plain: list[dict[str, Any]] = []
        for event in scheduler.run(model, recipe, current_visitor(), steps="none"):
            if isinstance(event, Edited):
                plain = [_plain(candidate) for candidate in event.candidates]
            if isinstance(event, Edited | Waiting):  # in the queue too: a caller who left is noticed
                yield plain, recipe.to_dict()
    except ValueError as error:
        raise gr.Error(sentence(error), print_exception=False) from error


def _plain(candidate: Candidate) -> dict[str, Any]:
    return {
        "text": candidate.text,
        "changed": list(candidate.changed),
        "misfit": candidate.misfit,
        "strength": candidate.strength,
    }

"""The endpoint /likelihood: a bound on how likely a text is, beside the exact value of the bundled transformer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from coladlm import ColaDLM
from coladlm.baseline.bundled import BundledBaseline
from coladlm.evaluate.text_likelihood import BoundSettings, TextBound, exact_beside, text_bound_steps
from coladlm.recipe import MAX_TEXT, Described, RecipeError
from coladlm.serve import Scheduler, Waiting

from ..shared.api_docs import described
from ..shared.errors import sentence
from ..shared.event_options import UNLIMITED
from ..shared.resident import Resident
from ..shared.session import current_visitor

MOST_TOKENS, MOST_DRAWS = 512, 64  # about a minute of two cores at most with the bundled model


def add_likelihood(resident: Resident) -> None:
    """Adds /likelihood to the current page."""

    @described
    def likelihood(
        text: str, context: str = "", ended: bool = False, order: str = "tokens", draws: int = 16,
        guidance: float = 1.0, seed: int = 0,
    ) -> Iterator[dict[str, Any]]:  # fmt: skip
        """Bounds how likely a text is: log p is at least minus the bound, up to its standard error.

        Args:
            text: of at least one token, and 512 with its context at most.
            context: what stands before the text, and is not counted.
            ended: count the end token after the text.
            order: "tokens" for one token after another, "blocks" for the tokens of a block at once.
            draws: independent estimates, 2 to 64; more make the error smaller.
            guidance: of the velocity, 1 for none.
            seed: of the draws; the same seed gives the same numbers.

        Returns:
            "bound" in nats with "standard_error", its split into the decoder's part, that of the flow by noise level
            ("levels") and that of each token or block ("units"; those that share a character are one); and
            "transformer", the exact value of the bundled transformer, or why there is none.
        """
        given = {"order": order, "draws": draws, "guidance": guidance, "seed": seed}
        yield from likelihood_of(resident.model, resident.scheduler, resident.baseline, text, context, ended, given)

    gr.api(likelihood, api_name="likelihood", **UNLIMITED)


def likelihood_of(
    model: ColaDLM, scheduler: Scheduler, baseline: BundledBaseline, text: str, context: str, ended: bool,
    given: dict[str, Any],
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """An empty object while the caller waits, then what the endpoint returns. Raises gr.Error with a sentence."""
    try:
        if not isinstance(ended, bool):
            raise RecipeError("ended", ended, "true or false")
        settings = BoundSettings(**given)
        _check_size(model, text, context, settings)
        steps = scheduler.alone(lambda: text_bound_steps(model, text, context, settings, ended), current_visitor(),
                                "likelihood")  # fmt: skip
        for step in steps:
            if isinstance(step, Waiting):  # in the queue too: a caller who left is noticed
                yield {}
            if isinstance(step, TextBound):
                exact = scheduler.look(lambda: exact_beside(baseline.get(model.device), text, context, ended))
                yield {"bound": step.to_dict(model), "transformer": exact}
    except ValueError as error:
        raise gr.Error(sentence(error), print_exception=False) from error


def _check_size(model: ColaDLM, text: str, context: str, settings: BoundSettings) -> None:
    """Refuses what would keep everybody else waiting. Raises RecipeError, PromptError."""
    for name, value in (("text", text), ("context", context)):
        if isinstance(value, str) and len(value) > MAX_TEXT:
            raise RecipeError(name, Described(f"{len(value):,} characters long"), f"at most {MAX_TEXT:,}")
    count = sum(len(model.tokenize(part, limited=False)) for part in (context, text))
    if count > MOST_TOKENS:
        raise RecipeError("text", Described(f"{count:,} tokens long with its context"), f"at most {MOST_TOKENS:,}")
    if settings.draws > MOST_DRAWS:
        raise RecipeError("draws", settings.draws, f"at most {MOST_DRAWS} here")

"""The one door: run(model, recipe) -> events. The page, the command line and the API all go through it.

An operation makes plans (or prompts) of a recipe and hands them to the model; it is one row of OPERATIONS.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

from .events import Event
from .latent import edit, interpolate, invert
from .model import ColaDLM
from .recipe import MAX_TEXTS, Option, Recipe, RecipeError, Said, check_options
from .recorder import TraceRecorder
from .sampler import Plan


@dataclasses.dataclass(frozen=True)
class Operation:
    """What a recipe can ask for.

    description: one sentence for people. run: (model, recipe) -> events; the recipe's options are checked and complete
    when it is called, and what cannot work is refused there, before the first event. options: their schema. texts:
    the least and greatest number of texts. prompts: recipe -> the text that each sequence of the batch starts from.
    """

    description: str
    run: Callable[[ColaDLM, Recipe], Iterator[Event]]
    options: tuple[Option, ...] = ()
    texts: tuple[int, int] = (1, MAX_TEXTS)
    prompts: Callable[[Recipe], list[str]] = lambda recipe: [text for text, _ in recipe.sequences()]


def _generate(model: ColaDLM, recipe: Recipe) -> Iterator[Event]:
    texts, keys = zip(*recipe.sequences(), strict=True)
    return model.sample(texts, recipe.settings, sequences=keys)


OPERATIONS: dict[str, Operation] = {
    "generate": Operation("Continues each text, several times if asked, all as one batch.", _generate),
    # texts of these are whole texts, so there is nothing that they start from
    "interpolate": Operation(interpolate.DESCRIPTION, interpolate.run_interpolate, interpolate.OPTIONS,
                             interpolate.TEXTS, lambda recipe: [""] * interpolate.rows_of(recipe)),
    "edit": Operation(edit.DESCRIPTION, edit.run_edit, edit.OPTIONS, edit.TEXTS,
                      lambda recipe: [""] * recipe.variations),
    "invert": Operation(invert.DESCRIPTION, invert.run_invert, invert.OPTIONS, invert.TEXTS,
                        lambda recipe: [""] * len(recipe.texts)),
}  # fmt: skip


def run(model: ColaDLM, recipe: Recipe) -> Iterator[Event]:
    """Runs a recipe; an event for every step, every block and the end (see `events.py`).

    What cannot work is refused at once, before the first event is asked for: RecipeError, PromptError, PlanError (all
    ValueError). Closing the iterator stops the run and frees all that it holds. A recipe that was made with another
    model runs too; ask `check_model` first where that matters.
    """
    operation, recipe = _resolved(recipe)
    return operation.run(model, recipe)


def plans(model: ColaDLM, recipe: Recipe) -> list[Plan]:
    """The plans of a recipe of "generate", each with its own settings, for a batch that it shares with others.

    See `shared_run.SharedRun`. Raises RecipeError, PromptError.
    """
    _, recipe = _resolved(recipe)
    texts, keys = zip(*recipe.sequences(), strict=True)
    made = model.plans(texts, recipe.settings, sequences=keys)
    return [dataclasses.replace(plan, settings=recipe.settings) for plan in made]


def prompts(recipe: Recipe) -> list[str]:
    """The text that each sequence of the batch starts from, in the order of the batch. Raises RecipeError."""
    operation, recipe = _resolved(recipe)
    return operation.prompts(recipe)


def recorder(recipe: Recipe, previews: bool = True, dtype: str = "float16") -> TraceRecorder:
    """A recorder for the events of `run(model, recipe)`; see TraceRecorder. Raises RecipeError."""
    return TraceRecorder(recipe, prompts(recipe), previews, dtype)


def check_model(model: ColaDLM, recipe: Recipe) -> str | None:
    """A sentence for people if the recipe was made with another model than this one, and so gives another text."""
    if not recipe.model or recipe.model == model.fingerprint:
        return None
    return (
        f"This recipe was made with the model {recipe.model}, and {model.name or 'the model that runs it'} is "
        f"{model.fingerprint or 'without a fingerprint'}: the text will be another one."
    )


def _resolved(recipe: Recipe) -> tuple[Operation, Recipe]:
    """The operation of a recipe, and the recipe with checked and complete options."""
    operation = OPERATIONS.get(recipe.operation)
    if operation is None:
        raise RecipeError("operation", recipe.operation, f"one of {', '.join(OPERATIONS)}")
    least, most = operation.texts
    if not least <= len(recipe.texts) <= most:
        raise RecipeError("texts", Said(f"{len(recipe.texts)} texts"), f"{least} to {most} for {recipe.operation}")
    return operation, dataclasses.replace(recipe, options=check_options(recipe.options, operation.options))

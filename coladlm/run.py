"""Runs a recipe: run(model, recipe) -> events. The page, the command line and the API all use it.

An operation is plans and a reading of their results (see `batch.py`); it is one row of OPERATIONS.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator

from .batch import Batch, OperationRun, pass_on, run_alone
from .latent import edit, fill, interpolate, invert, other_texts, steered
from .model import ColaDLM
from .recipe import (
    MAX_TEXTS,
    Described,
    Option,
    Recipe,
    RecipeError,
    check_options,
)
from .settings import SettingsError
from .trace.recorder import TraceRecorder


@dataclasses.dataclass(frozen=True)
class Operation:
    """What a recipe can run.

    description: one sentence for people. start: (model, recipe) -> its events and batches; the recipe's options are
    checked and complete when it is called, and what cannot work is refused there, before the first event. options:
    their schema. texts: the least and greatest number of texts. prompts: recipe -> the text that each sequence of the
    batch starts from.
    """

    description: str
    start: Callable[[ColaDLM, Recipe], OperationRun]
    options: tuple[Option, ...] = ()
    texts: tuple[int, int] = (1, MAX_TEXTS)
    prompts: Callable[[Recipe], list[str]] = lambda recipe: [text for text, _ in recipe.sequences()]


def _generate(model: ColaDLM, recipe: Recipe) -> OperationRun:
    keys = [key for _, key in recipe.sequences()]
    plans = model.plans(steered.prompts_of(recipe), recipe.settings, sequences=keys)
    return pass_on(Batch(other_texts.with_other_texts(model, plans, recipe.options), recipe.settings))


OPERATIONS: dict[str, Operation] = {
    "generate": Operation("Continues each text, several times if wanted, all as one batch.", _generate,
                          (*other_texts.OPTIONS, steered.OPTION), prompts=steered.prompts_of),
    "fill": Operation(fill.DESCRIPTION, fill.start_fill, fill.OPTIONS, fill.TEXTS,
                      lambda recipe: [fill.lead_of(recipe.texts[0])] * recipe.variations),
    # texts of these are whole texts, so there is nothing that they start from
    "interpolate": Operation(interpolate.DESCRIPTION, interpolate.start_interpolate, interpolate.OPTIONS,
                             interpolate.TEXTS, lambda recipe: [""] * interpolate.waypoint_count(recipe)),
    "edit": Operation(edit.DESCRIPTION, edit.start_edit, edit.OPTIONS, edit.TEXTS,
                      lambda recipe: [""] * edit.count_texts(recipe)),
    "invert": Operation(invert.DESCRIPTION, invert.start_invert, invert.OPTIONS, invert.TEXTS,
                        lambda recipe: [""] * len(recipe.texts)),
}  # fmt: skip


def run(model: ColaDLM, recipe: Recipe) -> Generator[object]:
    """Runs a recipe; an event for every step, every block and the end (see `events.py`), and those of the operation.

    What cannot work is refused at once, not with the first event: RecipeError, PromptError (both ValueError). Closing
    the iterator stops the run and frees all that it holds. A recipe that was made with another model runs too; call
    `check_model` first where that matters.
    """
    return run_alone(model, start(model, recipe))


def start(model: ColaDLM, recipe: Recipe) -> OperationRun:
    """The operation of a recipe, to run its batches together with others. Raises RecipeError, PromptError at once."""
    operation, recipe = _resolved(recipe)
    try:
        model = model.in_blocks_of(recipe.settings)
    except SettingsError as error:
        raise RecipeError("settings", Described(error), "valid sampler settings", f"settings: {error}") from error
    return operation.start(model, dataclasses.replace(recipe, settings=model.plain(recipe.settings)))


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
    if not isinstance(recipe, Recipe):
        raise RecipeError("recipe", recipe, "a Recipe (of a dict: Recipe.from_dict)")
    operation = OPERATIONS.get(recipe.operation)
    if operation is None:
        raise RecipeError("operation", recipe.operation, f"one of {', '.join(OPERATIONS)}")
    least, most = operation.texts
    if not least <= len(recipe.texts) <= most:
        wanted = f"{least}" if least == most else f"{least} to {most}"
        found = Described(f"{len(recipe.texts)} text{'s' * (len(recipe.texts) != 1)}")
        raise RecipeError("texts", found, f"{wanted} for {recipe.operation}")
    return operation, dataclasses.replace(recipe, options=check_options(recipe.options, operation.options))

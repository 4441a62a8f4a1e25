"""What the tab Edit does: the text and its history, from the controls to a recipe and back, and the view of a run."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import gradio as gr

from coladlm import ColaDLM
from coladlm.latent.edit import OPTIONS, count_texts
from coladlm.recipe import Described, Recipe, RecipeError, check_options
from coladlm.run import check_model
from coladlm.serve import Scheduler

from ..components.progress_line import progress_value
from ..components.token_picker import picker_value
from ..runs.registry import Frame, RunContext
from ..shared.errors import sentence
from ..shared.links import link_of, recipe_from
from ..shared.operation_controls import group, in_words, whole
from ..shared.row_frames import shown_rows
from ..shared.settings_panel import check_limits, settings_of, values_of
from ..shared.token_pieces import pieces
from .controls import (
    NAMES,
    OTHER,
    WORDS,
    options_of,
    unchanged_controls,
    values_of_options,
)
from .frames import LiveEdit
from .history import (
    can_go,
    current,
    leave,
    new_history,
    push,
    step,
)

OPERATION = "edit"
MAX_CANDIDATES = 16
MAX_TEXTS = 64  # of all strengths together
MAX_READ, MAX_WRITTEN = 131_072, 16_384  # tokens of all texts together: what keeps others waiting for a minute or so
EXAMPLES = (  # a text, and words in it that are selected at first
    ("Tom went to the park with his dog. They were very happy and played all day.", "very happy"),
    ("The sun was warm and bright. Lily found a little red bird in the garden.", "a little red bird"),
)


# the text and its history


def tokens_of(model: ColaDLM, text: str, start: int = 0, end: int = 0, note: str = "") -> dict[str, Any]:
    """The value of a picker for a text; what is wrong with the text stands in it as a sentence."""
    try:
        parts = pieces(model.tokenizer, model.tokenize(text), whole=True)
    except ValueError as error:
        return picker_value("", (), wrong=in_words(sentence(error), {"a prompt": "the text"}))
    if not 0 <= start <= end <= len(parts):
        start, end = 0, 0
    return picker_value(text, parts, start, end, note)


def show(model: ColaDLM, history: dict[str, Any], note: str = "") -> list[Any]:
    """Values of the box, the picker, the history and its two buttons for the text now. note: what has happened."""
    now = current(history)
    back, forth = can_go(history)
    picker = tokens_of(model, *now, note=note)
    return [now.text, picker, history, gr.update(interactive=back), gr.update(interactive=forth)]


def typed(model: ColaDLM, text: str, history: dict[str, Any]) -> list[Any]:
    """The same after the visitor has written or pasted a text."""
    if text == current(history).text:
        return [gr.skip()] * 5
    return show(model, push(history, text, typed=True))


def first_history(model: ColaDLM) -> dict[str, Any]:
    """The history that a visit begins with: the first example."""
    text, words = EXAMPLES[0]
    return leave(new_history(text), *span_of(pieces(model.tokenizer, model.tokenize(text), whole=True), words))


def take_example(model: ColaDLM, example: tuple[str, str], history: dict[str, Any]) -> list[Any]:
    """The same after an example, a text and words to select in it, has become the text."""
    text, words = example
    span = span_of(pieces(model.tokenizer, model.tokenize(text), whole=True), words)
    return show(model, leave(push(history, text), *span))


def span_of(parts: list[str], words: str) -> tuple[int, int]:
    """The tokens, given as pieces of a text, that hold its first occurrence of `words`."""
    start = "".join(parts).index(words)
    ends = [0]
    for part in parts:
        ends.append(ends[-1] + len(part))
    inside = [i for i, (low, high) in enumerate(itertools.pairwise(ends)) if low < start + len(words) and high > start]
    return inside[0], inside[-1] + 1


def travel(model: ColaDLM, picker: dict[str, Any], history: dict[str, Any], by: int) -> list[Any]:
    """The same one text back (by -1) or forth (by 1), with the words that were selected in it."""
    if picker["text"] == current(history).text:  # a second press may come before the first one's text is shown
        history = leave(history, picker["start"], picker["end"])
    there = step(history, by)
    if there["at"] == history["at"]:
        note = "There is nothing more to undo." if by < 0 else "There is nothing more to redo."
        return show(model, history, note)
    return show(model, there, "Undone." if by < 0 else "Done again.")


def choose(model: ColaDLM, text: str, picker: dict[str, Any], history: dict[str, Any]) -> list[Any]:
    """The same after a candidate has become the text; its span stays selected."""
    start, end = picker["start"], picker["end"]
    return show(
        model, push(leave(history, start, end), text, start=start, end=end), "This is the text now; Undo goes back."
    )


# running


def edit(model: ColaDLM, scheduler: Scheduler, context: RunContext, controls: Mapping[str, Any]) -> Iterator[Frame]:
    """The view of a run: what the controls say, see `recipe_of`.

    Parts: link, rows and progress. Raises ValueError with a sentence.
    """
    try:
        recipe = recipe_of(model, controls)
        yield {"link": link_of(recipe)}
        events = scheduler.run(model, recipe, context.visitor, steps="some")
        yield from shown_rows(context, LiveEdit(model, recipe), events)
    except ValueError as error:
        raise ValueError(in_words(sentence(error), WORDS)) from error


def recipe_of(model: ColaDLM, controls: Mapping[str, Any]) -> Recipe:
    """The recipe that the controls stand for.

    controls: text; picker, the value of its TokenPicker; options, see `options_of`; settings, see `settings_of`. Raises
    RecipeError, SettingsError, PromptError, also for more than this page runs.
    """
    text, picker = controls.get("text"), group(controls, "picker")
    if not isinstance(text, str) or not text:
        raise RecipeError("the text", Described("empty") if text in ("", None) else text, "some words to change")
    start, end = (whole(picker.get(name), "The span") for name in ("start", "end"))
    count = len(model.tokenize(text))
    if text != picker.get("text") and end > start:
        raise RecipeError(
            "the text", Described("not the one in which you selected"), "a selection in the text as it is now"
        )
    if start >= end:
        raise RecipeError("no token", Described("selected"), f"at least one of the {count:,}",
                          f"No token is selected: select at least one of the {count:,} in the text first.")  # fmt: skip
    options, other, candidates = options_of(group(controls, "options"))
    texts = (text,) if other is None else (text, other)
    settings = model.plain(settings_of(controls.get("settings")))
    recipe = Recipe(OPERATION, texts, settings, candidates,
                    {**options, "start": start, "end": end}, model.fingerprint)  # fmt: skip
    check_size(model, recipe)
    return recipe


def check_size(model: ColaDLM, recipe: Recipe) -> None:
    """Refuses what would keep everybody else waiting. Raises RecipeError, SettingsError, PromptError."""
    check_limits(recipe.settings)
    if recipe.variations > MAX_CANDIDATES:
        raise RecipeError("variations", recipe.variations, f"at most {MAX_CANDIDATES} on this page")
    if (texts := count_texts(recipe)) > MAX_TEXTS:
        found = Described(f"{recipe.variations} for each of {texts // recipe.variations} strengths")
        raise RecipeError("variations", found, f"at most {MAX_TEXTS} texts at once on this page")
    options, length = check_options(recipe.options, OPTIONS), len(model.tokenize(recipe.texts[0]))
    written = (length if options["follow"] else min(options["end"] or 0, length)) - (options["start"] or 0)
    for tokens, most, what in ((length, MAX_READ, ""), (written, MAX_WRITTEN, " to write")):
        if texts * tokens > most:
            found = Described(f"{texts} texts of {tokens:,} tokens{what}, {texts * tokens:,} in all")
            wanted = f"at most {most:,} on this page: fewer candidates, or fewer texts on the strip"
            raise RecipeError("the run", found, wanted)


def restore(model: ColaDLM, query: Mapping[str, str], first: ColaDLM) -> list[Any]:
    """Values of the text, its history, all controls and the progress line for the query of the opened address.

    first: the model for which the page was laid out. What does not change is not written: a visitor may be typing.
    """
    settings = [gr.skip()] * len(values_of(model.defaults))
    other = tokens_of(model, OTHER)
    text = [gr.skip()] * 5 if model is first else show(model, first_history(model))
    unchanged = [*text, *unchanged_controls(other), *settings]
    try:
        recipe = recipe_from(query, OPERATION)
        if recipe is None:
            return [*unchanged, gr.skip()]
        options = check_options(recipe.options, OPTIONS)
        check_size(model, recipe)
        history = leave(new_history(recipe.texts[0]), options["start"] or 0, options["end"] or 0)
        note = check_model(model, recipe) or "Restored from the link: press Change the span to repeat it."
        shown = show(model, history)
        if len(recipe.texts) > 1:
            other = tokens_of(model, recipe.texts[1], options["other_start"] or 0, options["other_end"] or 0)
        named = values_of_options(options, other, recipe.variations)
        chosen = [named[name] for name in NAMES]
        return [*shown, *chosen, *values_of(recipe.settings), progress_value("idle", message=note)]
    except ValueError as error:
        note = f"The link could not be read: {in_words(sentence(error), WORDS, start=False)}"
        return [*unchanged, progress_value("error", message=note)]

"""A prompt with holes: what is known of its texts before they are written, and how they stand below the stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from coladlm import ColaDLM
from coladlm.latent.fill import Filled, FilledText, read_holes
from coladlm.recipe import Described, Recipe, RecipeError
from coladlm.run import OPERATIONS, check_options
from coladlm.sampling.tokens import NO_TOKEN

from ..components.text_rows import CHANGED
from ..shared.generation import FILL, MOST_TOKENS
from ..shared.row_frames import Row
from ..shared.trace_store import Run

PROMPT_SHOWN = 320  # characters of a long prompt that stand before the answer
NOTE = (
    "The best fit is first; the number is the model's own error over the text, and less fits better. The model reads "
    "what stands before a hole and in its own block; what comes later cannot guide it."
)


class Start(NamedTuple):
    """What is known of the sequences of a run before it begins.

    prompt: what stands before the answers. answers: the tokens of each, NO_TOKEN where they are still to be written.
    """

    prompt: str
    answers: Sequence[Sequence[int]]


def start_of(model: ColaDLM, recipe: Recipe) -> Start:
    """Raises RecipeError, PromptError."""
    if recipe.operation != FILL:
        return Start(recipe.texts[0], [[NO_TOKEN] * recipe.settings.max_new_tokens] * recipe.variations)
    longest = check_options(recipe.options, OPERATIONS[FILL].options)["longest"]
    text = read_holes(model, recipe.texts[0])
    lead = len(text.pieces[0])
    return Start(text.lead, [text.token_ids(row, longest)[lead:] for row in range(recipe.variations)])


def check_size(model: ColaDLM, recipe: Recipe) -> None:
    """Refuses to fill more than one run has here. Raises RecipeError, PromptError."""
    tokens = sum(map(len, start_of(model, recipe).answers))
    if tokens > MOST_TOKENS:
        found = Described(f"{recipe.variations} candidates of {tokens // recipe.variations:,} tokens")
        raise RecipeError("the text", found, f"at most {MOST_TOKENS:,} tokens in all from the first hole on")


def filling_rows(model: ColaDLM, recipe: Recipe) -> list[Row]:
    """The rows of a prompt with holes, each from the block in which its first hole is."""
    start, block = start_of(model, recipe), model.block_size * model.patch_size
    ids = model.tokenize(start.prompt)
    whole = len(ids) // block * block
    lead, known = shown_prompt(model.read(ids[:whole])), ids[whole:]
    rows, before = [[*known, *answer] for answer in start.answers], ids[:whole][-8:]
    return [Row(f"no. {i + 1}", lead, before=row, context=before, room=len(row)) for i, row in enumerate(rows)]


def segments_of(found: FilledText) -> list[tuple[str, int]]:
    """A filled text in pieces, what stands in its holes marked."""
    segments, at = [], 0
    for fill in found.fills:
        start = found.text.index(fill, at) if fill else at
        segments += [(found.text[at:start], 0), (fill, CHANGED)]
        at = start + len(fill)
    return [(text, flag) for text, flag in [*segments, (found.text[at:], 0)] if text]


def references(kept: Mapping[str, Any], filled: Filled) -> dict[str, Any]:
    """The value of a RunResult whose rows are the candidates, the best of them chosen."""
    rows = [{**kept, "sequence": found.row} for found in filled.candidates]
    return {**rows[0], "rows": rows}


def check_continues(found: Run) -> Run:
    """A run that went on from a prompt. Raises RecipeError for one that has filled holes."""
    recipe = found.trace.recipe
    if recipe.operation == FILL:
        note = f"This text fills the holes of “{recipe.texts[0][:80]}”: change the prompt and run it again."
        raise RecipeError("the run", Described("one that fills holes"), "one that goes on from a prompt", note)
    return found


def shown_prompt(prompt: str) -> str:
    """The end of a prompt, as much of it as stands before its answer."""
    if len(prompt) <= PROMPT_SHOWN:
        return prompt
    return "… " + prompt[-PROMPT_SHOWN:].split(" ", 1)[-1]

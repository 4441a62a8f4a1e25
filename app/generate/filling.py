"""A prompt with holes: what is known of its texts before they are written, and how they stand below the stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from coladlm import ColaDLM
from coladlm.latent.fill import Filled, FilledText, read_holes
from coladlm.latent.steered import prompts_of
from coladlm.recipe import Described, Recipe, RecipeError, check_options
from coladlm.run import OPERATIONS
from coladlm.sampling.tokens import NO_TOKEN

from ..components.text_rows import CHANGED
from ..shared.generation import FILL, MOST_TOKENS
from ..shared.row_frames import Row
from ..shared.token_pieces import BROKEN

HOLE_MARK = "___"
PROMPT_SHOWN = 320  # characters of a long prompt that stand before the answer
NOTE = (
    "The best fit is first; the number says how unlikely the model finds the text, and less fits better. It reads "
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
        return Start(prompts_of(recipe)[0], [[NO_TOKEN] * recipe.settings.max_new_tokens] * recipe.variations)
    longest = longest_of(recipe)
    text = read_holes(model, recipe.texts[0])
    lead = len(text.pieces[0])
    return Start(text.lead, [text.token_ids(row, longest)[lead:] for row in range(recipe.variations)])


def check_size(model: ColaDLM, recipe: Recipe) -> None:
    """Refuses to fill more than one run has here. Raises RecipeError, PromptError."""
    tokens = sum(map(len, start_of(model, recipe).answers))
    drafts = recipe.settings.noises_of(recipe.settings.block_of(model.block_size))
    if tokens * drafts > MOST_TOKENS:
        found = Described(f"{recipe.variations} candidates of {tokens // recipe.variations:,} tokens"
                          + (f" from {drafts} noises" if drafts > 1 else ""))  # fmt: skip
        raise RecipeError("the text", found, f"at most {MOST_TOKENS:,} tokens in all from the first hole on")


def filling_rows(model: ColaDLM, recipe: Recipe) -> list[Row]:
    """The rows of a prompt with holes, each from the block in which its first hole is."""
    start, block = start_of(model, recipe), model.in_blocks_of(recipe.settings).block_size * model.patch_size
    ids = model.tokenize(start.prompt)
    whole = len(ids) // block * block
    # a character that a block's end cuts in two comes with the token that ends it
    lead, known = shown_prompt(model.read(ids[:whole]).removesuffix(BROKEN)), ids[whole:]
    rows, before = [[*known, *answer] for answer in start.answers], ids[:whole][-8:]
    return [Row(f"no. {i + 1}", lead, before=row, context=before, room=len(row)) for i, row in enumerate(rows)]


def segments_of(found: FilledText) -> list[tuple[str, int]]:
    """A filled text in pieces, what stands in its holes marked."""
    segments, at = [], 0
    for fill, start in zip(found.fills, found.starts, strict=True):
        segments += [(found.text[at:start], 0), (fill, CHANGED)]
        at = start + len(fill)
    return [(text, flag) for text, flag in [*segments, (found.text[at:], 0)] if text]


def references(kept: Mapping[str, Any], filled: Filled) -> dict[str, Any]:
    """The value of a RunResult whose rows are the candidates, the best of them chosen."""
    rows = [{**kept, "sequence": found.row} for found in filled.candidates]
    return {**rows[0], "rows": rows}


def with_changed(segments: Sequence[tuple[str, int]], start: int, end: int) -> list[tuple[str, int]]:
    """A text in pieces, its characters from start to end marked too."""
    found, at = [], 0
    for text, flag in segments:
        first, last = (min(max(place - at, 0), len(text)) for place in (start, end))
        found += [(text[:first], flag), (text[first:last], flag | CHANGED), (text[last:], flag)]
        at += len(text)
    return [(text, flag) for text, flag in found if text]


def with_later_holes(model: ColaDLM, recipe: Recipe, sequence: int, ids: Sequence[int], at: int) -> str | None:
    """What follows the token `at` of a filled text, the holes that begin after it open again; None where none do.

    ids: the tokens of the whole text, candidate `sequence` of the recipe.
    """
    holed, longest = read_holes(model, recipe.texts[0]), longest_of(recipe)
    later = [(span, spaced) for span, spaced in zip(holed.spans(sequence, longest), holed.spaced, strict=True)
             if span[0] > at]  # fmt: skip
    text, done = "", at + 1

    def between(start: int, end: int) -> str:
        return model.read(ids[:end])[len(model.read(ids[:start])) :]

    for (start, end), spaced in later:
        text += between(done, start) + (" " if spaced else "") + HOLE_MARK
        done = end
    return text + between(done, len(ids)) if later else None


def longest_of(recipe: Recipe) -> int:
    """The tokens that a hole of a recipe has at most."""
    return check_options(recipe.options, OPERATIONS[FILL].options)["longest"]


def shown_prompt(prompt: str) -> str:
    """The end of a prompt, as much of it as stands before its answer."""
    if len(prompt) <= PROMPT_SHOWN:
        return prompt
    return "… " + prompt[-PROMPT_SHOWN:].split(" ", 1)[-1]

"""Steering: one word of a text becomes another one, and what follows is written anew."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from coladlm import ColaDLM
from coladlm.recipe import Described, Recipe, RecipeError

from ..components.text_rows import CHANGED, row_value, rows_value
from ..runs.registry import Frame, RunContext
from ..shared.errors import labelled_errors
from ..shared.generation import OPERATION
from ..shared.token_pieces import BROKEN
from ..shared.trace_store import Run
from ..shared.views import owner_of
from .frames import shown_prompt
from .handlers import GenerateHandlers, Writing
from .inspection import answer_tokens

WORD = "the word"
LONGEST = 200  # characters of what is put in the place of a word


@dataclasses.dataclass(frozen=True)
class Steered:
    """A text up to a word, and another word in its place. before: the prompt and the answer up to there. rest: what
    followed in the old text. new_tokens: how many are left to write.
    """

    before: str
    old: str
    new: str
    rest: str
    new_tokens: int


def write_on(handlers: GenerateHandlers, context: RunContext, controls: Mapping[str, Any]) -> Iterator[Frame]:
    """The view of a text that goes on from another word than the run `kept` has there.

    Controls: kept, and card: {"point": [block, token], "pin": {"id": of a token} or {"text": a word}}. The recipe is a
    run whose prompt ends with that word, so its link brings it back. Parts: those of `GenerateHandlers.write`; the rows
    are both texts, the old one first. Raises ValueError with a sentence.
    """
    with labelled_errors():
        kept = controls.get("kept")
        found = handlers.kept(owner_of(context, kept), kept)
        steered = steer(handlers.model, found, controls.get("card"))
        settings = dataclasses.replace(found.trace.recipe.settings, max_new_tokens=steered.new_tokens)
        recipe = Recipe(OPERATION, (steered.before + steered.new,), settings, model=handlers.model.fingerprint)
        writing = Writing(handlers, context, recipe)
        rows = [_row("before", steered, steered.old, steered.rest)]
        try:
            with contextlib.closing(writing.frames()) as frames:
                for frame in frames:
                    yield {**frame, "rows": rows_value(context.id, "running", rows)}
        finally:
            rows.append(_row("now", steered, steered.new, writing.text))
            last: dict[str, Any] = {"rows": rows_value(context.id, "done", rows)}
            if new := writing.frame.get("kept"):  # what "Look into it" opens, row by row
                before = {"run": found.id, "sequence": found.sequence, "seconds": (kept or {}).get("seconds")}
                last["kept"] = {**new, "rows": [before, new]}
            context.show(last)


def steer(model: ColaDLM, run: Run, card: Any) -> Steered:
    """What the value of a TokenCard asks for. Raises RecipeError."""
    card = card if isinstance(card, Mapping) else {}
    point, pin = card.get("point"), card.get("pin")
    places = answer_tokens(model, run.trace, run.sequence)
    if not isinstance(point, list) or tuple(point) not in places:
        raise RecipeError("the place", Described("not part of the answer"), "one of its words")
    at = places.index((point[0], point[1]))
    ids = [int(run.trace.token_ids[run.sequence, block, token]) for block, token in places]
    before, until = model.read(ids[:at]), model.read(ids[: at + 1])
    if before.endswith(BROKEN) or not until.startswith(before):
        raise RecipeError("the place", Described("a part of a character"), "a whole one: choose the place before it")
    old = until[len(before) :]
    new = _new_word(model, pin, old)
    limit = run.trace.recipe.settings.max_new_tokens
    return Steered(
        run.trace.prompts[run.sequence] + before, old, new, model.read(ids)[len(until) :], max(1, limit - at - 1)
    )


def _new_word(model: ColaDLM, pin: Any, old: str) -> str:
    """The word that was asked for, after a space where the old one has one."""
    pin = pin if isinstance(pin, Mapping) else {}
    text, token = pin.get("text"), pin.get("id")
    if text is None:
        if isinstance(token, bool) or not isinstance(token, int) or not 0 <= token < model.vae.config.vocab_size:
            raise RecipeError(WORD, token, f"a token from 0 to {model.vae.config.vocab_size - 1}")
        found = model.read([token])
        if not found or BROKEN in found:
            raise RecipeError(WORD, Described("no text by itself"), "a token that is a whole word or sign")
        return found
    if not isinstance(text, str) or not text.strip():
        raise RecipeError(WORD, Described("empty") if isinstance(text, str) else text, "some letters")
    if len(text) > LONGEST:
        raise RecipeError(WORD, Described(f"{len(text):,} characters"), f"at most {LONGEST}")
    return old[: len(old) - len(old.lstrip())] + text.strip()


def _row(label: str, steered: Steered, word: str, rest: str) -> dict[str, Any]:
    lead = shown_prompt(steered.before)
    return row_value(label, lead, final=[(word, CHANGED), (rest, 0)], text=lead + word + rest)

"""Steering: one word of a text becomes another one, and what follows is written anew."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from coladlm import ColaDLM
from coladlm.latent.fill import HOLE
from coladlm.recipe import Described, Recipe, RecipeError

from ..components.text_rows import CHANGED, row_value, rows_value
from ..components.token_strip import Token
from ..runs.registry import Frame, RunContext
from ..shared.errors import labelled_errors
from ..shared.generation import FILL, OPERATION
from ..shared.token_pieces import BROKEN
from ..shared.trace_store import Run
from ..shared.views import owner_of
from .filling import segments_of, with_changed, with_later_holes
from .frames import shown_prompt
from .handlers import GenerateHandlers, Writing, steered_marks
from .inspection import answer_tokens
from .steered import STEERED, tokens_between

WORD = "the word"
BELOW = "the text before is below"
MOST_EARLIER = 8  # texts that stay below a steered one
LONGEST = 200  # characters of what is put in the place of a word


@dataclasses.dataclass(frozen=True)
class Steered:
    """A text up to a word, and another word in its place. before: the prompt and the answer up to there. rest: what
    followed in the old text. new_tokens: how many are left to write. holes: of a text that fills holes, what follows
    with those after the word open again; None where what follows is written anew.
    """

    before: str
    old: str
    new: str
    rest: str
    new_tokens: int
    holes: str | None = None


def write_on(handlers: GenerateHandlers, context: RunContext, controls: Mapping[str, Any]) -> Iterator[Frame]:
    """The view of a text that goes on from another word than the run `kept` has there.

    Controls: kept, and card: {"point": [block, token], "pin": {"id": of a token} or {"text": a word}}. The recipe is a
    run whose answer has all up to that word already, so its link brings it back. Parts: those of
    `GenerateHandlers.write`; the rows are the texts on the way, the new one last. Raises ValueError with a sentence.
    """
    with labelled_errors():
        kept = controls.get("kept")
        found = handlers.kept(owner_of(context, kept), kept)
        steered = steer(handlers.model, found, controls.get("card"))
        recipe = _recipe(found.trace.recipe, steered, handlers.model.fingerprint)
        writing = Writing(handlers, context, recipe)
        named = kept if isinstance(kept, Mapping) else {}
        old = {name: named[name] for name in ("pinned", "after", "before") if name in named}
        old |= {"run": found.id, "sequence": found.sequence, "seconds": named.get("seconds")}
        refs, rows = _earlier(handlers, context, kept, found)
        refs, rows = [*refs, old], [*rows, _row("before", steered, steered.old, steered.rest)]
        try:
            with contextlib.closing(writing.frames()) as frames:
                for frame in frames:
                    yield {**_marked(frame, steered), "rows": rows_value(context.id, "running", rows)}
        finally:
            rows = [*rows, _new_row(steered, writing)]
            last: dict[str, Any] = {**_marked(writing.frame, steered), "rows": rows_value(context.id, "done", rows)}
            _tell_lengthened(last, steered, writing.text)
            if new := writing.frame.get("kept"):  # what "Look into it" opens, row by row
                new = {name: value for name, value in new.items() if name != "rows"}
                new["before"] = {"run": found.id, "sequence": found.sequence}
                new |= {name: last["strip"][name] for name in ("pinned", "after") if name in last["strip"]}
                last["kept"] = {**new, "rows": [*refs, new]}
                last["strip"] = {**last["strip"], **steered_marks(last["kept"])}
            context.show(last)


def _earlier(
    handlers: GenerateHandlers, context: RunContext, kept: Any, found: Run
) -> tuple[list[Mapping[str, Any]], list[dict[str, Any]]]:  # fmt: skip
    """What names the other texts that stand below the run, those it was steered from or its variations; their rows."""
    refs = kept.get("rows") if isinstance(kept, Mapping) else None
    if not isinstance(refs, list):
        refs = [{**kept, "sequence": i} for i in range(len(found.trace.texts))] if isinstance(kept, Mapping) else []
    named, rows = [], []
    for ref in refs[-MOST_EARLIER:]:
        try:
            run = handlers.kept(owner_of(context, kept), ref)
        except RecipeError:
            continue  # the store has forgotten it
        if (run.id, run.sequence) != (found.id, found.sequence):
            prompt, text = run.trace.prompts[run.sequence], run.trace.texts[run.sequence]
            named.append(ref)
            rows.append(row_value("earlier", shown_prompt(prompt), final=[(text, 0)], text=prompt + text))
    return named, rows


def _marked(frame: Frame, steered: Steered) -> Frame:
    """A frame whose text has the word marked, and whose last line says where the text before is."""
    marked = dict(frame)
    if "strip" in frame:
        marked["strip"] = {**frame["strip"], "pinned": len(steered.new.strip())}
        if steered.holes is not None:  # the words between the one that was put there and the next hole
            marked["strip"]["after"] = len(HOLE.split(steered.holes)[0].removesuffix(" "))
    if "progress" in frame and frame["progress"]["state"] == "done":
        marked["progress"] = {**frame["progress"], "parts": [*frame["progress"]["parts"], BELOW]}
    return marked


def _tell_lengthened(last: dict[str, Any], steered: Steered, text: str) -> None:
    """Says so where the model has gone on with letters of the very word that was put there. text: what it wrote."""
    grown = re.match(r"(?:['’]?\w)+", text, re.ASCII)  # where words stand apart
    if steered.holes is None and grown and steered.new[-1:].isalnum() and "progress" in last:
        word = steered.new.split()[-1]
        told = f"the model made “{word}{grown[0]}” of “{word}”"
        last["progress"] = {**last["progress"], "parts": [*last["progress"]["parts"], told]}


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
    holes, prompt, limit = None, run.trace.prompts[run.sequence], run.trace.recipe.settings.max_new_tokens
    left = max(1, limit - tokens_between(model, prompt, before + new))
    if run.trace.recipe.operation == FILL:
        lead, left = model.tokenize(prompt), limit  # a text that fills holes has used up none of it
        holes = with_later_holes(model, run.trace.recipe, run.sequence, [*lead, *ids], len(lead) + at)
    return Steered(prompt + before, old, new, model.read(ids)[len(until) :], left, holes)


def _recipe(old: Recipe, steered: Steered, model: str) -> Recipe:
    """The run that a steered text is."""
    text = steered.before + steered.new
    if steered.holes is not None:
        return Recipe(FILL, (text + steered.holes,), old.settings, old.variations, old.options, model)
    settings = dataclasses.replace(old.settings, max_new_tokens=steered.new_tokens)
    options = {name: value for name, value in old.options.items() if name not in ("longest", STEERED)}
    if old.operation == OPERATION:  # else the prompt has holes, which are filled by now
        prompt, options[STEERED] = old.texts[0], text.removeprefix(old.texts[0])
        return Recipe(OPERATION, (prompt,), settings, 1, options, model)
    return Recipe(OPERATION, (text,), settings, 1, options, model)


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
    if HOLE.search(text):
        raise RecipeError(WORD, Described("a hole"), "letters: holes stand in the prompt")
    return old[: len(old) - len(old.lstrip())] + text.strip()


def _row(label: str, steered: Steered, word: str, rest: str, live: Iterable[Token] = ()) -> dict[str, Any]:
    lead = shown_prompt(steered.before)
    return row_value(label, lead, live=live, final=[(word, CHANGED), (rest, 0)], text=lead + word + rest)


def _new_row(steered: Steered, writing: Writing) -> dict[str, Any]:
    """The row of the new text; of one that was stopped with the words that still form."""
    filled = writing.rows.filled if writing.rows is not None else None
    if filled is None:
        return _row("now", steered, steered.new, writing.text, writing.live.live)
    found = filled.candidates[0]
    start, end = len(steered.before) + len(steered.new) - len(steered.new.lstrip()), len(steered.before + steered.new)
    known = found.text.startswith(steered.before + steered.new)
    final = with_changed(segments_of(found), start, end) if known else segments_of(found)
    return row_value("now", "", final=final, text=found.text)

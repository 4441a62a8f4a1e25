"""Looking back at a run: its text, every step of it to scrub through, and what is to know of one token."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coladlm import ColaDLM
from coladlm.latent.branch import check_fits, history_of
from coladlm.latent.point import read_token
from coladlm.recipe import Described, RecipeError
from coladlm.trace import Trace, TraceError
from coladlm.trace.measures import settled_step

from ..components.flow_view import paths_value
from ..components.token_strip import State, Token, settled_line, strip_value
from ..shared.charts import Charts
from ..shared.generation import FILL
from ..shared.run_facts import run_facts
from ..shared.token_pieces import pieces, word_of
from .alternatives import WordEnds, alternatives, most_noise
from .filling import start_of
from .frames import shown_prompt, tokens_of_first_block
from .paths import TOO_LONG, PathWriter, joined, least

MOST_STATES = 24_000  # tokens times steps that a browser is sent: of longer runs every second step, or every third, ...
MOST_TIMES = 100_000  # that a word is said to be likelier than another
ALTERNATIVES = 6  # words of a card, the chosen one among them


def answer_tokens(model: ColaDLM, trace: Trace, sequence: int) -> list[tuple[int, int]]:
    """(block, token of the block) of every token of the answer of a sequence, as far as it was written."""
    model = model.in_blocks_of(trace.recipe.settings)
    skip = tokens_of_first_block(model, len(model.tokenize(trace.prompts[sequence])))
    blocks = np.flatnonzero(trace.active[sequence] & trace.finished)
    places = [(int(b), w) for b in blocks for w in range(skip if b == 0 else 0, model.block_size * model.patch_size)]
    if trace.answers is not None:
        return places[: len(trace.answers[sequence])]
    places = places[: _room(model, trace, sequence)]
    if trace.recipe.operation != FILL and trace.recipe.settings.stop_at_end:  # others of the batch went on after it
        ends = (i for i, (b, w) in enumerate(places) if trace.token_ids[sequence, b, w] in model.end_ids)
        places = places[: next(ends, None)]
    return places


def _room(model: ColaDLM, trace: Trace, sequence: int) -> int:
    """How many tokens an answer has at most."""
    if trace.recipe.operation == FILL:
        return len(start_of(model, trace.recipe).answers[sequence])
    return trace.recipe.settings.max_new_tokens


def _forming_tokens(model: ColaDLM, trace: Trace, sequence: int, written: int) -> tuple[int, list[int]] | None:
    """(block, tokens of it that belong to the answer) of the block in whose middle a run was stopped, if it was."""
    under_way = np.flatnonzero(trace.active[sequence] & ~trace.finished & trace.recorded.any(1))
    if not len(under_way):
        return None
    model = model.in_blocks_of(trace.recipe.settings)
    block, size = int(under_way[0]), model.block_size * model.patch_size
    skip = tokens_of_first_block(model, len(model.tokenize(trace.prompts[sequence])))
    tokens = list(range(skip if block == 0 else 0, size))
    tokens = tokens[: max(0, _room(model, trace, sequence) - written)]
    return (block, tokens) if tokens else None


def with_answers(model: ColaDLM, trace: Trace) -> Trace:
    """A trace that has the answers of a run that was stopped, too, so that it can be looked into like any other."""
    if trace.answers is not None:
        return trace
    answers = [[int(trace.token_ids[s, b, w]) for b, w in answer_tokens(model, trace, s)]
               for s in range(len(trace.texts))]  # fmt: skip
    return dataclasses.replace(trace, answers=answers)


def look_value(
    model: ColaDLM, trace: Trace, sequence: int, run: str, state: State = "done", most: int = MOST_STATES
) -> dict[str, Any]:  # fmt: skip
    """The value of a TokenStrip for a sequence of a run that is over, with its steps, those of a block that it has not
    finished too. most: tokens times steps that are sent.
    """
    places = answer_tokens(model, trace, sequence)
    special = frozenset((*model.end_ids, model.pad_id))
    prompt_ids = model.tokenize(trace.prompts[sequence])
    ids = [int(trace.token_ids[sequence, b, w]) for b, w in places]
    forming = _forming_tokens(model, trace, sequence, len(places))
    words = pieces(model.tokenizer, ids, prompt_ids[-8:], special, whole=forming is None)
    lines, blocks, at = "", [], 0
    for block in dict.fromkeys(b for b, _ in places):
        tokens = [w for b, w in places if b == block]
        part = slice(at, at + len(tokens))
        sure = np.exp(trace.logprobs[sequence, block, tokens])
        lines += settled_line(
            Token(word, float(p), token in special) for word, p, token in zip(words[part], sure, ids[part], strict=True)
        )
        if trace.preview_ids is not None:
            before = [*prompt_ids, *ids[:at]][-8:]
            blocks.append(_block(model, trace, sequence, block, tokens, before, special, (len(places), most)))
        at += len(tokens)
    if forming is not None and trace.preview_ids is not None:
        before = [*prompt_ids, *ids][-8:]
        blocks.append(_block(model, trace, sequence, *forming, before, special, (len(places) + len(forming[1]), most)))
    value = strip_value(run, state, shown_prompt(trace.prompts[sequence]), lines)
    value["look"] = json.dumps(blocks, ensure_ascii=False, separators=(",", ":")) if blocks else ""
    return value


def _block(
    model: ColaDLM, trace: Trace, s: int, block: int, tokens: list[int], before: list[int], special: frozenset[int],
    size: tuple[int, int],
) -> dict[str, Any]:  # fmt: skip
    """The steps of a block: what the decoder reads in the clean estimate before each, and how sure it is.

    size: the tokens of the text, and how many tokens times steps are sent of it.

    first: its first token of the answer. words: [text, is special] that `ids` point to. noise: per cent, a step each.
    ids, sure and t (per cent; t: of noise): a list of a step's tokens, all steps one after the other.
    """
    if trace.preview_ids is None or trace.preview_confidence is None:
        raise TraceError("the run was recorded without previews, expected one with them")
    steps = _steps_shown(trace, block, *size)
    words: dict[tuple[str, bool], int] = {}
    ids, sure, times, noise, free = [], [], [], [], trace.free()[s, block]
    places = [token // model.patch_size for token in tokens]
    for step in steps:
        read = trace.preview_ids[s, block, step, tokens].tolist()
        if trace.finished[block]:  # words that stood there are shown as they are, whatever the decoder reads there
            read = np.where(free[places], read, trace.token_ids[s, block, tokens]).tolist()
        texts = pieces(model.tokenizer, read, before, special)
        ids += [words.setdefault((t, i in special), len(words)) for t, i in zip(texts, read, strict=True)]
        sure += np.rint(100 * trace.preview_confidence[s, block, step, tokens].astype(np.float64)).astype(int).tolist()
        times += np.rint(trace.t[s, block, step][places] / 10).astype(int).tolist()
        noise.append(round(float(trace.t[s, block, step][free].mean()) / 10, 1) if free.any() else 0.0)
    return {
        "block": int(block), "first": tokens[0], "count": len(tokens), "steps": [int(step) for step in steps],
        "of": len(trace.recorded[block]), "words": [[text, int(end)] for text, end in words], "ids": ids, "sure": sure,
        "t": times, "noise": noise,
    }  # fmt: skip


def paths_of(charts: Charts, trace: Trace, sequence: int, run: str, state: State = "done") -> dict[str, Any]:
    """The value of a FlowView for a sequence of a run that is over: the states that `look_value` goes through."""
    if trace.preview_ids is None or trace.preview_confidence is None:
        return paths_value(run, state, note=TOO_LONG)
    model = charts.model.in_blocks_of(trace.recipe.settings)
    special, size = frozenset((*model.end_ids, model.pad_id)), model.patch_size
    context = model.tokenize(trace.prompts[sequence])
    writer = PathWriter(charts, tokens_of_first_block(model, len(context)) // size)
    places = answer_tokens(model, trace, sequence)
    forming = _forming_tokens(model, trace, sequence, len(places))
    length = len(places) + (len(forming[1]) if forming else 0)
    blocks = {b: [w for at, w in places if at == b] for b in dict.fromkeys(b for b, _ in places)}
    blocks |= [forming] if forming else []
    for block, tokens in blocks.items():
        before, steps, of = context[-8:], _steps_shown(trace, block, length), len(trace.recorded[block])
        for step in map(int, steps):
            at = (sequence, block, step)
            read, sure = trace.preview_ids[at][tokens].tolist(), trace.preview_confidence[at][tokens]
            words = joined(pieces(model.tokenizer, read, before, special), size)
            writer.add(block, step, of, trace.t[at], trace.z[at], words, least(sure, size))
        if trace.finished[block]:
            ids, latents = trace.token_ids[sequence, block][tokens].tolist(), trace.latents[sequence, block]
            words = pieces(model.tokenizer, ids, before, special, whole=block == max(blocks))
            sure = least(np.exp(trace.logprobs[sequence, block][tokens]), size)
            writer.add(block, of, of, np.zeros(len(latents)), latents, joined(words, size), sure)
            context = [*context, *ids]
    return writer.value(run, state, run_facts(model, trace.recipe, sequence))


def _steps_shown(trace: Trace, block: int, length: int, most: int = MOST_STATES) -> NDArray[np.intp]:
    """The steps of a block that a browser is sent, of a text of so many tokens."""
    steps = np.flatnonzero(trace.recorded[block])
    return steps[:: max(1, -(-length * len(steps) // most))]


def token_value(
    model: ColaDLM, trace: Trace, sequence: int, block: Any, token: Any, word_ends: WordEnds
) -> dict[str, Any]:  # fmt: skip
    """What a TokenCard says of a token of the answer. word_ends: see `Baseline.word_ends`.

    Raises RecipeError for one that is not there, BranchError.
    """
    check_fits(model, trace)
    places = answer_tokens(model, trace, sequence)
    if (block, token) not in places:
        raise RecipeError("the token", Described("not part of the answer"), "one of its words")
    place = token // model.patch_size
    chosen = int(trace.token_ids[sequence, block, token])
    history, latents = history_of(model, trace, sequence, block), trace.latents[sequence, block]
    reading = read_token(model, history, latents, token, chosen, 2)
    ids, margin = reading.token_ids, reading.margin
    earlier = [int(trace.token_ids[sequence, b, w]) for b, w in places[: places.index((block, token))]]
    before = trace.prompts[sequence] + model.read(earlier)
    at = (block, token)
    found = alternatives(model, trace, sequence, at, history, before, word_ends, ALTERNATIVES)
    words = {} if found is None else found.words
    note = [f"Chosen with {_percent(reading.chosen)} in the end, when no noise was left."]
    if chosen == ids[0]:
        note.append(f"{_ahead(margin, word_of(model, ids[1]))}: {_how_sure(margin)}.")
    else:
        first = word_of(model, ids[0])
        note.append(f"The decoder would rather have read “{first}”; chance or a rule against repetition decided.")
    note.append(_settled(model, trace, sequence, block, token))
    if found is None:
        most = most_noise(model)
        when = "This" if most == 100 else f"Below {most:.0f} % noise this"
        note.append(f"{when} word was never in doubt: no other had 1 %.")
    return {
        "title": word_of(model, chosen),
        "where": f"token {token + 1} of block {block + 1}",
        "note": " ".join(part for part in note if part),
        "read": [[word_of(model, i), share, int(i == chosen), i] for i, share in words.items()],
        "noise": None if found is None else round(found.noise),
        "latent": [round(float(x), 4) for x in latents[place]],
        "size": f"{float(np.linalg.norm(latents[place])):.2f}",
        "point": [int(block), int(token)],
    }


def _settled(model: ColaDLM, trace: Trace, s: int, block: int, token: int) -> str:
    if trace.preview_ids is None or not trace.recorded[block].any():
        return ""
    steps = np.flatnonzero(trace.recorded[block])
    read = trace.preview_ids[s, block][steps][:, token]
    step = int(settled_step(read[:, None], trace.token_ids[s, block, [token]])[0])
    if step >= len(steps):
        return "It was settled only after the last step."
    others = len(dict.fromkeys(read[:step].tolist()))
    place, times = token // model.patch_size, trace.t[s, block, steps[step]]
    before = f", after {others} other word{'s' * (others != 1)}" if others else ""
    free = trace.t[s, block, steps[0], :place] > 0  # places before this one that were not given
    own = " (its own place's; the places before it had less)" if (times[:place] < times[place])[free].any() else ""
    return f"Unchanged since step {step + 1} of {len(steps)}{before}, at {times[place] / 10:.0f} % noise{own}."


def _percent(p: float) -> str:
    if p > 0.9995:
        return "more than 99.9 %"
    return (f"{p:.0%}" if 0.1 <= p <= 0.99 else f"{p:.1%}").replace("%", " %")


def _ahead(margin: float, second: str) -> str:
    """How far the chosen word is ahead of the second. margin: of the logits, so e to its power is the ratio."""
    least = f"over {MOST_TIMES:,}" if margin > math.log(MOST_TIMES) else f"{float(f'{math.exp(margin):.2g}'):,g}"
    how = f"{least} times likelier than" if margin >= 0.05 else "hardly likelier than"
    return f"The decoder found it {how} the next one, “{second}” (margin {margin:.1f} nats)"


def _how_sure(margin: float) -> str:
    return "a clear choice" if margin > 4 else "fairly clear" if margin > 1.5 else "it could easily have been another"

"""Changing part of a text: a span is re-noised, or moved and re-noised, and carried back; the rest is pinned.

- anew: the span starts from pure noise.
- renoise: from its own latents re-noised to a strength.
- direction, component: its latents are pushed along a direction, then re-noised and carried back.
- mix: they are moved towards the latents of another text's span, then re-noised and carried back.

Whole blocks before the span are the prefix. In the span's blocks the other positions are pinned, latents and tokens.
Blocks after it are not computed at all unless they may follow: nothing before them can see them. Candidates differ in
their noise alone and run as one batch. Several strengths run in it too, each with the same noises, so that a candidate
changes with the strength alone. Candidates are ranked by how well the rest still fits: the error of the flow's velocity
at the kept positions from the span's first block on (see fit.py for why not the decoder's likelihood).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from ..batch import Batch, OperationRun, run_alone
from ..model import ColaDLM, PromptError
from ..recipe import Described, Option, Recipe, RecipeError, check_options
from ..sampling.events import BlockDone, Event, Finished
from ..sampling.flow import NOISE_TIME
from ..sampling.plan import Plan
from ..settings import SamplerSettings
from . import directions
from .fit import names_tokens, padded_ids, token_surprise, velocity_error
from .invert import text_tokens
from .layout import LatentSpace, Layout, lay_out
from .waypoints import stretch

METHODS = ("anew", "renoise", "direction", "mix", "component")
MAX_SPAN = 512  # tokens that an edit writes at once
MAX_STRENGTHS = 16  # in one batch
MAX_FIT = 128  # latents after the span that are checked for whether they still fit
STRENGTHS = {"anew": (1.0, 0, 1), "renoise": (0.5, 0, 1), "direction": (1.0, -4, 4), "mix": (0.5, 0, 1),
             "component": (1.0, -4, 4)}  # default, low, high  # fmt: skip

DESCRIPTION = "Changes a span of a text in latent space and carries it back; the rest stays, or follows."
OPTIONS = (
    Option("method", str, "anew", "What happens to the span.", choices=METHODS),
    Option("start", int, None, "First token of the span, counted from 0.", low=0),
    Option("end", int, None, "The token after the span.", low=0),
    Option("strength", float, None, "How much; 0 changes nothing. renoise and mix: 0 to 1. direction and component: "
           "radii of the sphere, -4 to 4.", low=-4, high=4),
    Option("strengths", float, None, "Several strengths in place of one, in one batch and each from the same noise: as "
           "many candidates of each.", low=-4, high=4, many=(1, MAX_STRENGTHS)),
    Option("renoise", float, 0.2, "direction, mix, component: share of noise that the moved span is carried back from; "
           "0 decodes it as it is.", low=0, high=1),
    Option("follow", float, 0.0, "What comes after the span: 0 keeps it, above that it is re-noised to this share and "
           "may follow; 1 writes it anew.", low=0, high=1),
    Option("direction", str, None, "The name of a direction that ships with the app.", low=1, high=64),
    Option("first", str, None, "A direction of your own: sentences at its first end.", high=2000,
           many=(1, directions.MAX_SENTENCES)),
    Option("second", str, None, "A direction of your own: sentences at its second end.", high=2000,
           many=(1, directions.MAX_SENTENCES)),
    Option("component", int, 0, "Which principal component, counted from 0.", low=0),
    Option("other_start", int, None, "mix: first token of the other text's span; its first if absent.", low=0),
    Option("other_end", int, None, "mix: the token after the other text's span; its end if absent.", low=0),
)  # fmt: skip
TEXTS = (1, 2)


@dataclasses.dataclass(frozen=True)
class Candidate:
    """An edited text, row `row` of the batch. changed: for each token, does it differ from the one in its place
    before. misfit: how badly the text fits from the span's first block on, see `misfit`; less fits better. strength:
    see OPTIONS. noise: the key of its noise; candidates with the same one differ in their strength alone.
    """

    row: int
    text: str
    token_ids: tuple[int, ...]
    changed: tuple[bool, ...]
    misfit: float
    strength: float = 1.0
    noise: int = 0


@dataclasses.dataclass(frozen=True)
class Edited:
    """The outcome of an edit, right before Finished.

    before: token ids of the text as it was. span: the tokens that were free (whole patches). candidates: best first; of
    several strengths, those of one after those of another. misfit_before: that of the text as it was, to compare with.
    notes: sentences for people.
    """

    before: tuple[int, ...]
    span: tuple[int, int]
    candidates: tuple[Candidate, ...]
    misfit_before: float
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class SpanEdit:
    """A text with a span that is to be carried: where its latents start from, ready to become plans.

    span: in latents. moved: (span, d), scaled, where the span starts from; its own latents if absent. share: of noise,
    0 to 1, that it starts at. follow: the same for what comes after the span. frozen: nothing may change at all.
    """

    model: ColaDLM
    layout: Layout
    span: tuple[int, int]
    share: float
    moved: Tensor | None = None
    follow: float = 0.0
    frozen: bool = False

    @property
    def blocks(self) -> tuple[int, int]:
        """First block of the edit, and the one after its last."""
        b = self.model.block_size
        last = len(self.layout.latents) if self.follow else self.span[1]
        return self.span[0] // b, -(-last // b)

    @property
    def token_span(self) -> tuple[int, int]:
        """The tokens of the span."""
        ps = self.model.patch_size
        return self.span[0] * ps, min(self.span[1] * ps, self.layout.tokens)

    def plan(self, sequence: int = 0) -> Plan:
        """The plan of a candidate, whose noise has this key."""
        model, (first, last), (start, end) = self.model, self.blocks, self.span
        b, ps = model.block_size, model.patch_size
        n = len(self.layout.latents)
        latents, times, pinned = self.layout.latents.clone(), torch.zeros(n), self.layout.ids.clone()
        if not self.frozen:
            if self.moved is not None:
                latents[start:end] = self.moved
            closing = -(-self.layout.tokens // ps)
            times[start:end] = self.share
            times[end:closing] = self.follow
            times[closing:] = max(self.share, self.follow)  # after the text: cut off later, free to be anything
            pinned[start * ps : end * ps] = -1
            pinned[(end if self.follow else closing) * ps :] = -1
        own = slice(first * b, last * b)
        tokens = slice(first * b * ps, last * b * ps)
        return Plan(latents[: first * b], self.layout.ids[: first * b * ps], latents[own].view(-1, b, latents.shape[1]),
                    NOISE_TIME * times[own].view(-1, b), pinned[tokens].view(-1, b * ps),
                    min(tokens.stop, self.layout.tokens) - tokens.start, sequence=sequence,
                    first_block=first)  # fmt: skip

    def whole(self, answer: Sequence[int]) -> list[int]:
        """The whole text with what its plan has written so far, and as it was where nothing is written yet."""
        before, start = self.layout.text_ids, self.blocks[0] * self.model.block_size * self.model.patch_size
        ids = [*before[:start], *answer, *before[start + len(answer) :]]
        if self.follow and not self.frozen:  # it may have come to an earlier end
            free = self.token_span[0]
            ends = [i for i, token in enumerate(ids[free:], free) if token in self.model.end_ids]
            ids = ids[: ends[0]] if ends else ids
        return ids


def edit_events(edits: Sequence[SpanEdit], sequences: Sequence[int], settings: SamplerSettings) -> Generator[Event]:
    """Runs edits as one batch, each with the key of its noise. Texts and token ids of the events are whole texts."""

    def operation() -> OperationRun:
        yield (yield from _edit(edits, sequences, settings))

    return run_alone(edits[0].model, operation())


def _edit(edits: Sequence[SpanEdit], sequences: Sequence[int],
          settings: SamplerSettings) -> Generator[Any, Event | None, Finished]:  # fmt: skip
    """The part of an operation (see `batch.py`) that carries edits as one batch; returns the end, with whole texts."""
    # what is pinned comes back, whatever stands before it
    settings = dataclasses.replace(settings, stop_at_end=False, whole_sentences=False)
    batch = Batch([edit.plan(key) for edit, key in zip(edits, sequences, strict=True)], settings)
    read = edits[0].model.read
    answers: list[list[int]] = [[] for _ in edits]
    while not isinstance(event := (yield batch), Finished):
        if isinstance(event, BlockDone):
            for answer, ids, active in zip(answers, event.token_ids.tolist(), event.active.tolist(), strict=True):
                answer += ids if active else []
            lengths = [edit.layout.tokens - edit.blocks[0] * len(event.token_ids[0]) for edit in edits]
            written = [edit.whole(a[:n]) for edit, a, n in zip(edits, answers, lengths, strict=True)]
            event = dataclasses.replace(event, texts=[read(ids) for ids in written])
        yield event
    ids = [edit.whole(answer) for edit, answer in zip(edits, event.token_ids, strict=True)]
    return Finished(event.reasons, [read(row) for row in ids], ids)


def edited_tokens(edits: Sequence[SpanEdit], sequences: Sequence[int], settings: SamplerSettings) -> list[list[int]]:
    """Runs edits as one batch and returns the token ids of the whole texts."""
    for event in edit_events(edits, sequences, settings):
        if isinstance(event, Finished):
            return event.token_ids
    raise RuntimeError("the sampler ended without a result")


def run_edit(model: ColaDLM, recipe: Recipe) -> Iterator[Event | Edited]:
    """Runs the operation `edit` by itself. Raises RecipeError, PromptError, before the first event."""
    return run_alone(model, start_edit(model, recipe))


def start_edit(model: ColaDLM, recipe: Recipe) -> OperationRun:
    """The operation `edit` (see OPTIONS): the recipe's variations are the candidates, and Edited comes before the end.

    Rows of the batch: all candidates of the first strength, then those of the next. Raises RecipeError, PromptError.
    """
    options = check_options(recipe.options, OPTIONS)
    edits, notes = prepare(model, recipe.texts, options)
    settings = recipe.settings
    if options["method"] != "anew":  # a text is carried, not written: it may say a word twice
        settings = dataclasses.replace(settings, repetition_penalty=1.0, no_repeat_ngram_size=0)
    # a block is judged without what follows it, which the candidates are ranked by; and strengths have their noise in
    # common
    settings = dataclasses.replace(settings, noises=1)
    return _edit_and_rank(edits, strengths_of(options), recipe.variations, settings, tuple(notes))


def _edit_and_rank(edits: Sequence[SpanEdit], strengths: Sequence[float], candidates: int, settings: SamplerSettings,
                   notes: tuple[str, ...]) -> OperationRun:  # fmt: skip
    rows = [(edit, strength, key) for edit, strength in zip(edits, strengths, strict=True) for key in range(candidates)]
    finished = yield from _edit([edit for edit, _, _ in rows], [key for _, _, key in rows], settings)
    before = edits[0].layout.text_ids
    *misfits, misfit_before = misfit(edits[0], [*finished.token_ids, before], settings.seed)
    found = [
        Candidate(row, text, tuple(ids), _changed(before, ids), misfits[row], strength, key)
        for row, (ids, text, (_, strength, key)) in enumerate(
            zip(finished.token_ids, finished.texts, rows, strict=True)
        )
    ]
    found.sort(key=lambda one: (one.row // candidates, one.misfit, one.row))
    yield Edited(tuple(before), edits[0].token_span, tuple(found), misfit_before, notes)
    yield finished


def _changed(before: Sequence[int], after: Sequence[int]) -> tuple[bool, ...]:
    return tuple(i >= len(before) or token != before[i] for i, token in enumerate(after))


def misfit(edit: SpanEdit, texts: Sequence[Sequence[int]], seed: int) -> list[float]:
    """How badly each text (token ids) fits from the span's first block to MAX_FIT latents after the span. Of a DiT that
    names tokens, how unlikely it is, in nats a token (see `token_surprise`); of another one the mean velocity error at
    the positions that the edit keeps, or of the span itself where nothing else is there.
    """
    model, b = edit.model, edit.model.block_size
    start, end = edit.span
    n = min(-(-edit.layout.tokens // model.patch_size), end + MAX_FIT)
    blocks = -(-n // b)
    different = list(dict.fromkeys(map(tuple, texts)))  # many are alike where strengths are small
    laid_out = lay_out(model, different, max(blocks, len(edit.layout.latents) // b))
    measured = torch.zeros(blocks * b, dtype=torch.bool)
    measured[start // b * b : n] = True
    latents = torch.stack([layout.latents[: blocks * b] for layout in laid_out])
    if names_tokens(model):
        errors = token_surprise(model, latents, padded_ids(model, different, blocks * b), measured, seed)
    else:
        measured[start:end] = False
        if not measured.any():
            measured[start:end] = True
        errors = velocity_error(model, latents, measured, seed)
    known = dict(zip(different, errors[:, measured].mean(1).tolist(), strict=True))
    return [known[tuple(text)] for text in texts]


def token_span(tokenizer: Tokenizer, text: str, start: int, end: int) -> tuple[int, int]:
    """The tokens that hold the characters `start` to `end` of a text, as a span; empty where there are none."""
    offsets = tokenizer.encode(text, add_special_tokens=False).offsets
    touched = [i for i, (first, last) in enumerate(offsets) if first < end and last > start]
    return (touched[0], touched[-1] + 1) if touched else (0, 0)


# from options to an edit


def strengths_of(options: dict[str, Any]) -> list[float]:
    """The strengths that complete options (see OPTIONS) ask for, checked for their method. Raises RecipeError."""
    method, one, several = options["method"], options["strength"], options["strengths"]
    if several is None:
        return [_strength(method, one, "options.strength")]
    if one is not None:
        raise RecipeError("options.strengths", Described("there beside options.strength"), "one of the two")
    if method == "anew":
        raise RecipeError("options.strengths", Described("there"), "none for anew, which has no strength")
    return [_strength(method, value, "options.strengths") for value in several]


def count_texts(recipe: Recipe) -> int:
    """How many texts an edit makes: its candidates for each of its strengths. Raises RecipeError."""
    return recipe.variations * len(check_options(recipe.options, OPTIONS)["strengths"] or [0])


def prepare(model: ColaDLM, texts: Sequence[str], options: dict[str, Any]) -> tuple[list[SpanEdit], list[str]]:
    """The edits that complete options (see OPTIONS) describe, one for each strength, and notes for people.

    Raises RecipeError, PromptError.
    """
    method, notes = options["method"], []
    if len(texts) != (2 if method == "mix" else 1):
        wanted = "two, the second to mix in" if method == "mix" else "one text to edit"
        raise RecipeError("texts", Described(f"{len(texts)} of them"), wanted)
    tokens = text_tokens(model, texts)
    start, end = _span(options["start"], options["end"], len(tokens[0]), "start", "end")
    if end - start > MAX_SPAN:
        raise RecipeError("the span", Described(f"{end - start:,} tokens long"), f"at most {MAX_SPAN} at once")
    if options["follow"] and len(tokens[0]) - start > MAX_SPAN:
        found = Described(f"above 0 with {len(tokens[0]) - start:,} tokens from the span to the end")
        raise RecipeError("options.follow", found, f"at most {MAX_SPAN} tokens to be written")
    strengths = strengths_of(options)
    layout = lay_out(model, tokens[:1])[0]
    span = start // model.patch_size, -(-end // model.patch_size)
    still = SpanEdit(model, layout, span, 0.0, frozen=True)
    if not any(strengths):
        return [still for _ in strengths], ["Strength 0 changes nothing."]
    if start == 0 and end == len(tokens[0]):
        notes.append("All tokens are selected: no other word of the text holds the new ones.")
    if method in ("anew", "renoise"):
        edits = [SpanEdit(model, layout, span, strength, follow=options["follow"]) for strength in strengths]
    else:
        own = layout.latents[slice(*span)]
        move = _mover(model, len(own), method, options, tokens)
        share, follow = options["renoise"], options["follow"]
        edits = [SpanEdit(model, layout, span, share, move(own, strength), follow) for strength in strengths]
        if share == 0:
            notes.append("The flow had nothing to do in the span: without noise the moved latents stay where they are.")
    return [edit if strength else still for edit, strength in zip(edits, strengths, strict=True)], notes


def _mover(model: ColaDLM, length: int, method: str, options: dict[str, Any],
           tokens: list[list[int]]) -> Callable[[Tensor, float], Tensor]:  # fmt: skip
    """What moves the latents (span, d) of a span of this length by a strength: pushes them, or mixes others in."""
    space = LatentSpace(model.vae.config)
    if method == "direction":
        way = _direction(model, options).vector
        return lambda own, strength: space.push(own, way, strength)
    if method == "component":
        most = model.latent_dim - 2 if space.spherical else model.latent_dim - 1
        if options["component"] > most:
            raise RecipeError("options.component", options["component"], f"a whole number from 0 to {most}")
        component = directions.principal_components(model).vectors[options["component"]]
        return lambda own, strength: space.push(own, component, strength)
    whole = len(tokens[1])
    last = whole if options["other_end"] is None else options["other_end"]
    start, end = _span(options["other_start"] or 0, last, whole, "other_start", "other_end")
    other = lay_out(model, tokens[1:])[0].latents[start // model.patch_size : -(-end // model.patch_size)]
    stretched = other[stretch(len(other), length)]
    return lambda own, strength: space.between(own, stretched, strength)


def _direction(model: ColaDLM, options: dict[str, Any]) -> directions.Direction:
    name, lists = options["direction"], (options["first"], options["second"])
    try:
        if name is not None and lists == (None, None):
            return directions.build_shipped(model, name)
        if name is None and None not in lists:
            return directions.build(model, *lists)
    except (directions.DirectionError, PromptError) as error:
        raise RecipeError("options.direction", Described("not usable"), "a direction", str(error)) from error
    found = "neither a name nor two lists" if name is None else f"{name!r} together with lists of sentences"
    raise RecipeError("options.direction", Described(found), "a shipped direction's name, or options.first and "
                      "options.second with sentences for one of your own")  # fmt: skip


def _span(start: int | None, end: int | None, tokens: int, first: str, second: str) -> tuple[int, int]:
    if start is None or end is None or start >= end:
        found = Described("no token" if None in (start, end) else f"no token ({first} {start}, {second} {end})")
        raise RecipeError(
            "the span", found, f"at least one of the {tokens} tokens (options.{first} < options.{second})"
        )
    if end > tokens:
        raise RecipeError(f"options.{second}", end, f"at most {tokens}, the number of tokens of the text")
    return start, end


def _strength(method: str, value: float | None, field: str) -> float:
    default, low, high = STRENGTHS[method]
    strength = default if value is None else value
    if not low <= strength <= high:
        raise RecipeError(field, strength, f"a number from {low} to {high} for {method}")
    if method == "anew" and strength not in (0, 1):
        raise RecipeError(field, strength, "1 for anew (renoise takes a share)")
    return float(strength)

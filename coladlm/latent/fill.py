"""Filling holes: `___` (three underscores or more) anywhere in a text becomes words that fit what stands around it.

The words that are there are pinned, latents and tokens; the positions of a hole start from noise. A hole has no length
of its own, so candidates try numbers of tokens up to `longest`, one most often, and run as one batch. They are ranked
by how unlikely the flow finds the text from the first hole's block on (`unlikelihoods` in fit.py), the words of the
holes included. The DiT sees earlier blocks and its own: what stands later than a hole's block cannot guide it.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Sequence

import torch

from ..batch import Batch, OperationRun
from ..model import ColaDLM
from ..recipe import Described, Option, Recipe, RecipeError
from ..sampling.events import Finished
from ..sampling.flow import NOISE_TIME
from ..sampling.plan import Plan
from ..sampling.tokens import NO_TOKEN
from .fit import unlikelihoods
from .other_texts import OPTIONS as OTHER_TEXTS
from .other_texts import with_other_texts

HOLE = re.compile("_{3,}")
MAX_HOLES = 16
MAX_VARIED = 4  # holes whose lengths are tried in all combinations; further ones have one token
MAX_TOKENS = 512  # from the first hole to the end of the text

DESCRIPTION = "Fills the holes ___ of a text, several times if wanted, and ranks the texts by how well they fit."
OPTIONS = (
    Option("longest", int, 2, "Tokens that a hole has at most; candidates try every number up to it.", low=1, high=16),
    *OTHER_TEXTS,
)
TEXTS = (1, 1)


@dataclasses.dataclass(frozen=True)
class FilledText:
    """A text whose holes are filled, row `row` of the batch.

    fills: what stands in each hole. holes: (first token, the token after the last) of each, in `token_ids`. whole: is
    every hole filled with a word of its own, not with nothing or with the rest of the word before it. misfit: how
    unlikely the text is from the first hole's block on, -log p in nats or, where the DiT names no tokens, the mean
    squared error of the velocity per channel; less fits better. starts: where each of
    `fills` begins in `text`.
    """

    row: int
    text: str
    token_ids: tuple[int, ...]
    fills: tuple[str, ...]
    holes: tuple[tuple[int, int], ...]
    whole: bool
    misfit: float
    starts: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Filled:
    """The outcome, right before Finished. candidates: best first; equal texts are there once, as the best of them."""

    candidates: tuple[FilledText, ...]


@dataclasses.dataclass(frozen=True)
class HoledText:
    """A text with holes. pieces: token ids of what stands around them, one more than there are holes. lead: the text
    before the first one. spaced: does a space stand before each; it belongs to the word that fills the hole.
    """

    pieces: tuple[tuple[int, ...], ...]
    lead: str
    spaced: tuple[bool, ...]

    def lengths(self, row: int, longest: int) -> tuple[int, ...]:
        """How many tokens each hole of a candidate has: one in every second of them, as most words have; in the others
        all combinations in turn, the shortest first.
        """
        holes = len(self.spaced)
        if row % 2 == 0 or longest == 1:
            return (1,) * holes
        varied = itertools.product(range(1, longest + 1), repeat=min(holes, MAX_VARIED))
        choices = sorted(varied, key=lambda choice: (sum(choice), choice))[1:]
        lengths = choices[row // 2 % len(choices)]
        return (*lengths, *[1] * (holes - len(lengths)))

    def spans(self, row: int, longest: int) -> tuple[tuple[int, int], ...]:
        """(first token, the token after the last) of each hole of a candidate."""
        spans, at = [], 0
        for piece, length in zip(self.pieces, self.lengths(row, longest), strict=False):
            spans.append((at + len(piece), at + len(piece) + length))
            at = spans[-1][1]
        return tuple(spans)

    def token_ids(self, row: int, longest: int) -> list[int]:
        """The tokens of a candidate, NO_TOKEN in its holes."""
        ids = list(self.pieces[0])
        for length, piece in zip(self.lengths(row, longest), self.pieces[1:], strict=True):
            ids += [*[NO_TOKEN] * length, *piece]
        return ids


def has_holes(text: str) -> bool:
    return HOLE.search(text) is not None


def lead_of(text: str) -> str:
    """What stands before the first hole of a text, without the space that belongs to the word in it."""
    return HOLE.split(text, maxsplit=1)[0].removesuffix(" ")


def read_holes(model: ColaDLM, text: str) -> HoledText:
    """The holes of a text. Raises RecipeError, PromptError."""
    parts = HOLE.split(text)
    if not 1 <= len(parts) - 1 <= MAX_HOLES:
        found = Described(f"a text with {len(parts) - 1} holes")
        raise RecipeError("texts[0]", found, f"1 to {MAX_HOLES} holes, each written as ___")
    if model.patch_size > 1:
        raise RecipeError("the model", Described(f"one of {model.patch_size} tokens a latent"), "one token a latent")
    spaced = tuple(part.endswith(" ") for part in parts[:-1])
    parts = [*(part.removesuffix(" ") for part in parts[:-1]), parts[-1]]
    return HoledText(tuple(tuple(model.tokenize(part)) for part in parts), parts[0], spaced)


def start_fill(model: ColaDLM, recipe: Recipe) -> OperationRun:
    """The operation `fill` (see OPTIONS): the recipe's variations are the candidates, and Filled comes before the end.

    The prompt of every sequence is what stands before the first hole, its answer the rest of the text, so that the
    setting `max_new_tokens` has no say. Raises RecipeError, PromptError.
    """
    text = read_holes(model, recipe.texts[0])
    settings = dataclasses.replace(recipe.settings, stop_at_end=False, whole_sentences=False)
    longest = recipe.options["longest"]
    plans = [plan(model, text, row, longest) for row in range(recipe.variations)]
    plans = with_other_texts(model, plans, recipe.options)
    return _fill_and_rank(model, text, longest, Batch(plans, settings))


def _fill_and_rank(model: ColaDLM, text: HoledText, longest: int, batch: Batch) -> OperationRun:
    while not isinstance(event := (yield batch), Finished):
        yield event
    candidates = _with_misfits(model, _candidates(model, text, longest, event.token_ids), batch.settings.seed)
    candidates.sort(key=lambda found: (not found.whole, found.misfit, found.row))
    best = {found.text: found for found in reversed(candidates)}
    yield Filled(tuple(found for found in candidates if best[found.text] is found))
    yield event


@torch.inference_mode()
def plan(model: ColaDLM, text: HoledText, row: int, longest: int) -> Plan:
    """The plan of a candidate, whose noise has this key. Raises RecipeError."""
    b, lead = model.block_size, len(text.pieces[0])
    ids = text.token_ids(row, longest)
    if len(ids) - lead > MAX_TOKENS or len(ids) > model.max_tokens:
        found = Described(f"{len(ids):,} tokens long, {len(ids) - lead:,} of them from the first hole on")
        raise RecipeError("the text", found, f"at most {model.max_tokens:,}, and {MAX_TOKENS} from the first hole on")
    prefix, room = lead // b * b, -(-len(ids) // b) * b
    pinned = torch.tensor([*ids, *[NO_TOKEN] * (room - len(ids))])  # what comes after the text is cut off: it is free
    read = torch.where(pinned == NO_TOKEN, model.vae.mask_id, pinned)
    read[len(ids) :] = model.pad_id
    read[len(ids) : len(ids) + 1] = model.end_ids[0]
    latents = model.encode_ids(read[None])[0]
    start = torch.where(pinned == NO_TOKEN, NOISE_TIME, 0.0)
    return Plan(latents[:prefix], pinned[:prefix], latents[prefix:].view(-1, b, model.latent_dim),
                start[prefix:].view(-1, b), pinned[prefix:].view(-1, b), len(ids) - lead, skip=lead - prefix,
                sequence=row)  # fmt: skip


def _candidates(model: ColaDLM, text: HoledText, longest: int, answers: Sequence[list[int]]) -> list[FilledText]:
    """The texts of a batch in its order, not measured yet."""
    found = []
    for row, answer in enumerate(answers):
        ids, spans = [*text.pieces[0], *answer], text.spans(row, longest)
        fills = [model.read(ids[:end]).removeprefix(model.read(ids[:start])) for start, end in spans]
        whole = all(fill.strip() and (fill[0].isspace() or not spaced)
                    for fill, spaced in zip(fills, text.spaced, strict=True))  # fmt: skip
        starts = tuple(len(model.read(ids[:start])) for start, _ in spans)
        found.append(FilledText(row, model.read(ids), tuple(ids), tuple(fills), spans, whole, 0.0, starts))
    return found


def _with_misfits(model: ColaDLM, candidates: Sequence[FilledText], seed: int) -> list[FilledText]:
    first = candidates[0].holes[0][0] // model.block_size * model.block_size  # the same in all
    tails = [found.token_ids[first:] for found in candidates]
    misfits = unlikelihoods(model, tails, candidates[0].token_ids[:first], seed)
    return [dataclasses.replace(found, misfit=misfit) for found, misfit in zip(candidates, misfits, strict=True)]

"""Interpolation between texts: each waypoint is a plan (or a decoding), and all waypoints run as one batch.

The recipe's option `road` says how:

- decoder_only: the texts' latents are interpolated on their sphere and decoded, without the flow.
- through_flow: the interpolated latents are re-noised to a time and carried back, so that what stands between two texts
  is drawn to where texts are. All waypoints share one noise: neighbours differ by their position alone. With several
  tries for each, from different noise, those become waypoints that go one way from text to text (see chain.py).
- noise_to_noise: each text is carried to its noise, the noises are interpolated, every waypoint is sampled in full.
- prompt_to_prompt: the texts' latents are interpolated as the prompt of each waypoint, and the text is continued from
  one and the same noise.

An interpolation of k texts has `stops` waypoints from each text to the next, both counted, so every text is a waypoint
itself. Texts of different length are padded to the same blocks, a text ending with the end token, and the waypoints
lose their last words first or grow at their end; or they are stretched: a waypoint has a length between those of its
texts and reads each text at the nearest latents of its own length.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from ..batch import Batch, OperationRun, run_alone
from ..model import ColaDLM
from ..recipe import Described, Option, Recipe, RecipeError, check_options
from ..sampling.events import BlockDone, Event, Finished
from ..sampling.flow import NOISE_TIME
from ..sampling.plan import Plan
from ..settings import SamplerSettings
from .chain import chain
from .distances import changed_tokens, text_distances, token_distance
from .fit import text_misfits
from .invert import (
    ITERATIONS,
    SETTINGS_HELP,
    Inverting,
    check_single,
    find_noise,
    replay_settings,
    text_tokens,
)
from .waypoints import WaypointPlans, arch

METHODS = ("through_flow", "decoder_only", "noise_to_noise", "prompt_to_prompt")
MAX_TOKENS = 512  # in a text: every waypoint is that long
MAX_WAYPOINTS = 128  # waypoints in all
MAX_TRIES = 1024  # candidates in all
UNLIKE = 0.5  # added to the misfit of a candidate for a beginning, or an end, in the middle of a sentence
DRAWS = 2  # noises that a waypoint's misfit is the mean of: of many candidates the least of one noise would be chance
SHARES = (1.0, 0.8, 0.6)  # of the noise, in turn: less stays nearer to the texts, more reads better
SENTENCE_END = re.compile(r"[.!?\u2026\u3002\uff01\uff1f]+")

DESCRIPTION = "Interpolates between texts: a number of waypoints from each text to the next, made in one of four ways."
OPTIONS = (
    Option("road", str, "through_flow", "How the waypoints are made.", choices=METHODS),
    Option("stops", int, 9, "Waypoints from each text to the next, both texts counted.", low=2, high=33),
    Option("renoise", float, 0.5, "Through the flow: share of noise, 0 to 1, that a waypoint is re-noised to.",
           low=0, high=1),
    Option("profile", str, "arch", "Through the flow: arch re-noises less towards the texts, flat all waypoints alike.",
           choices=("arch", "flat")),
    Option("tries", int, 1, "Through the flow: candidates for each waypoint, from different noise; of them all, those "
           "become waypoints that go one way from text to text and that the flow finds likeliest. 1: no choice.",
           low=1, high=32),
    Option("align", str, "pad", "Texts of different length: padded at their end, or stretched to a length between.",
           choices=("pad", "stretch")),
    Option("before", str, "", "A text that stands before every waypoint and is not shown: the first words then follow "
           "on something.", high=4000),
    Option("iterations", int, ITERATIONS, "Noise to noise: fixed-point iterations of each step of the inversion.",
           low=0, high=64),
    Option("using", str, "exact", f"Noise to noise: {SETTINGS_HELP}", choices=("exact", "as set")),
    Option("weights", float, None, "A single waypoint instead: the mean of all texts, with a weight for each.",
           low=0, high=1e6, many=(2, 16)),
)  # fmt: skip
TEXTS = (2, 16)


@dataclasses.dataclass(frozen=True, eq=False)
class Trying:
    """An event of the candidates' batch, which comes before the events of the run itself.

    places: for each row of the batch, the row of the waypoint that it was made for.
    """

    event: Event
    places: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Waypoint:
    """A waypoint, row `row` of the batch. weights: of each text of the recipe, summing to 1, of the place that it was
    made for; one that was chosen among several may stand at another.

    prompt: from prompt to prompt the interpolated prompt, which `text` begins with; else empty. done: is the text
    complete. changed: for each token, is it not in the waypoint before. latent_distances, token_distances: to each text
    of the recipe (from prompt to prompt: to the waypoint at that text); empty until the interpolation is done. Both are
    of the text as it reads: latents are those of the text encoded again, the mean over positions of
    LatentSpace.distance; tokens are counted by layout.token_distance. misfit: mean squared error of the flow's velocity
    per channel at the text as it reads, after the text before it (see fit.py); less is likelier. None until then, and
    for a text of no token.
    """

    row: int
    weights: tuple[float, ...]
    prompt: str = ""
    text: str = ""
    token_ids: tuple[int, ...] = ()
    changed: tuple[bool, ...] = ()
    done: bool = False
    latent_distances: tuple[float, ...] = ()
    token_distances: tuple[int, ...] = ()
    misfit: float | None = None


@dataclasses.dataclass(frozen=True)
class Interpolation:
    """The waypoints as far as they have come: at the start, whenever one is complete, and before Finished.

    method: the recipe's option `road`. ends: the rows that stand at the texts themselves, in their order. notes:
    sentences for people. In JSON, method and waypoints keep the names of the recipe's options.
    """

    method: str = dataclasses.field(metadata={"json": "road"})
    waypoints: tuple[Waypoint, ...] = dataclasses.field(metadata={"json": "stops"})
    ends: tuple[int, ...]
    settings: SamplerSettings
    notes: tuple[str, ...] = ()


def run_interpolate(model: ColaDLM, recipe: Recipe) -> Iterator[Event | Inverting | Trying | Interpolation]:
    """Runs the operation `interpolate` by itself. Raises RecipeError, PromptError, before the first event."""
    return run_alone(model, start_interpolate(model, recipe))


def start_interpolate(model: ColaDLM, recipe: Recipe) -> OperationRun:
    """The operation `interpolate` (see OPTIONS). Texts of its events are whole texts, prompts included.

    Raises RecipeError, PromptError.
    """
    options = check_options(recipe.options, OPTIONS)
    tokens = ends_of(model, recipe)
    weights = waypoint_weights(len(tokens), options["stops"], options["weights"])
    method, align = options["road"], options["align"]
    if method == "noise_to_noise" and align == "stretch":
        raise RecipeError("options.align", align, "pad for noise_to_noise, whose noise belongs to its positions")
    before = model.tokenize(options["before"])
    if len(before) > MAX_TOKENS:
        raise RecipeError("options.before", Described(f"{len(before):,} tokens long"), f"at most {MAX_TOKENS} tokens")
    prompts = method == "prompt_to_prompt"  # neither padded nor closed: what is continued has no end
    plans = WaypointPlans(model, before, tokens, stretched=align == "stretch" or prompts, closed=not prompts)
    # the texts at the ends need not be whole sentences; and waypoints have their noise in common
    settings = dataclasses.replace(recipe.settings, whole_sentences=False, noises=1)
    started = _Interpolating(model, plans, weights, settings, method)
    if method == "decoder_only":
        return started.decoded()
    if method == "through_flow":
        return started.through_flow(options["renoise"], options["profile"], options["tries"])
    if method == "noise_to_noise":
        return started.noise_to_noise(replay_settings(settings, options["using"]), options["iterations"])
    return started.prompt_to_prompt()


def ends_of(model: ColaDLM, recipe: Recipe) -> list[list[int]]:
    """The tokens of the texts that a recipe interpolates between. Raises RecipeError, PromptError."""
    check_single(recipe)
    if len(recipe.texts) < 2:
        raise RecipeError("texts", Described(f"{len(recipe.texts)} text"), "at least two to interpolate between")
    if check_options(recipe.options, OPTIONS)["weights"] is None:
        _check_neighbours(recipe.texts)
    return text_tokens(model, recipe.texts, MAX_TOKENS)


def _check_neighbours(texts: Sequence[str]) -> None:
    """Refuses a text after the same one: the flow would write anything there. Raises RecipeError."""
    for number, (text, after) in enumerate(itertools.pairwise(texts), 1):
        if text and after and text.strip() == after.strip():
            found = Described(f"the same as texts[{number - 1}]")
            raise RecipeError(f"texts[{number}]", found, "another text, as nothing lies between a text and itself")


def waypoint_weights(texts: int, each: int, weights: Sequence[float] | None = None) -> list[tuple[float, ...]]:
    """The weights of each waypoint, one for each text. each: waypoints from a text to the next. Raises RecipeError."""
    if weights is not None:
        if len(weights) != texts or not sum(weights) > 0:
            found = Described(f"{len(weights)} weights that sum to {sum(weights):g}")
            raise RecipeError("options.weights", found, f"{texts}, one for each text, not all 0")
        return [tuple(w / sum(weights) for w in weights)]
    total = (texts - 1) * (each - 1) + 1
    if total > MAX_WAYPOINTS:
        raise RecipeError("options.stops", each, f"at most {MAX_WAYPOINTS} waypoints in all, not {total}")
    rows = []
    for waypoint in range(total):
        leg, along = divmod(waypoint, each - 1)
        row = [0.0] * texts
        row[leg] = 1 - along / (each - 1)
        if along:
            row[leg + 1] = along / (each - 1)
        rows.append(tuple(row))
    return rows


def waypoint_count(recipe: Recipe) -> int:
    """How many waypoints a recipe has in all. Raises RecipeError."""
    options = check_options(recipe.options, OPTIONS)
    return len(waypoint_weights(len(recipe.texts), options["stops"], options["weights"]))


class _Interpolating:
    """An interpolation under way: what its waypoints are made of, and how far they have come."""

    def __init__(self, model: ColaDLM, plans: WaypointPlans, weights: list[tuple[float, ...]],
                 settings: SamplerSettings, method: str):  # fmt: skip
        self.model, self.plans, self.weights, self.settings, self.method = model, plans, weights, settings, method
        self.tokens = plans.tokens
        self.notes: list[str] = []
        # the rows that are a text itself
        self.at_text = {row: w.index(1.0) for row, w in enumerate(weights) if 1.0 in w}
        self.waypoints = [Waypoint(row, w) for row, w in enumerate(weights)]
        self.sentences = 0  # a waypoint ends with so many; 0: where the model ends it

    def decoded(self) -> OperationRun:
        """Decoder only. Its BlockDone events come without steps."""
        settings = dataclasses.replace(self.settings, stop_at_end=True)
        self.notes.append("The flow was not used: the interpolated latents were decoded as they are.")
        b, ps, plans = self.model.block_size, self.model.patch_size, self.plans
        between = [plans.latents_of(w)[0] for w in self.weights]
        blocks = max(map(len, between)) // b
        latents = torch.zeros(len(between), plans.first + blocks * b, self.model.latent_dim)
        for row, z in enumerate(between):
            latents[row, : plans.first + len(z)] = torch.cat((plans.prefix, z))
        with torch.inference_mode():
            latents = latents.to(self.model.device)
            logits = self._logits(latents, [plans.first + len(z) for z in between])[:, plans.first * ps :]
            latents, ids = latents[:, plans.first :], logits.argmax(-1)
            for row, text in self.at_text.items():
                ids[row] = plans.ids[text][: ids.shape[1]].to(ids)
            logprobs = logits.log_softmax(-1).gather(-1, ids[..., None])[..., 0]
        lead = plans.lead * ps
        answers = [self._cut(row[lead : len(z) * ps]) for row, z in zip(ids.tolist(), between, strict=True)]
        reasons = ["end" if ended else "length" for _, ended in answers]
        token_ids = [ids for ids, _ in answers]
        for block in range(blocks):
            n, m = slice(block * b, (block + 1) * b), slice(block * b * ps, (block + 1) * b * ps)
            shown = [self.model.read(answer[: m.stop - lead]) for answer in token_ids]
            active = torch.tensor([len(z) >= n.stop for z in between])
            yield BlockDone(block, latents[:, n], ids[:, m], logprobs[:, m], logits[:, m], shown, active)
        texts = [self.model.read(answer) for answer in token_ids]
        for row, (answer, text) in enumerate(zip(token_ids, texts, strict=True)):
            self._complete(row, answer, text)
        yield self._so_far(settings, measured=True)
        yield Finished(reasons, texts, token_ids)

    def _logits(self, latents: Tensor, lengths: Sequence[int]) -> Tensor:
        """What the decoder reads in whole texts, (batch, n, d), of so many latents each. Those that end in the middle
        of a block of the VAE are read by themselves, so that nothing behind them is seen.
        """
        vae = self.model.vae
        logits = vae.decode(latents)
        for length in {length for length in lengths if length % vae.config.block_size}:
            rows = [row for row, own in enumerate(lengths) if own == length]
            logits[rows, : length * self.model.patch_size] = vae.decode(latents[rows, :length])
        return logits

    def through_flow(self, renoise: float, profile: str, tries: int) -> OperationRun:
        settings = dataclasses.replace(self.settings, stop_at_end=True, repetition_penalty=1.0,
                                       no_repeat_ngram_size=0)  # fmt: skip
        between = [row for row in range(len(self.weights)) if row not in self.at_text]
        if tries * len(between) > MAX_TRIES:
            found = Described(f"{tries} for each of {len(between)} waypoints")
            raise RecipeError("options.tries", found, f"at most {MAX_TRIES:,} in all")
        if renoise == 0:
            self.notes.append("The flow had nothing to do: without noise the interpolated latents stay where they are.")

        def plan(row: int, attempt: int) -> Plan:
            height = 1.0 if profile == "flat" else arch(self.weights[row])
            share = 0.0 if row in self.at_text else renoise * height * SHARES[attempt % len(SHARES)]
            made = self.plans.plan(self.weights[row], NOISE_TIME * share)
            return dataclasses.replace(made, sequence=attempt // len(SHARES))

        return self._flowing(settings, plan, between, tries if renoise and len(self.tokens) > 1 else 1)

    def _flowing(
        self, settings: SamplerSettings, plan: Callable[[int, int], Plan], between: list[int], tries: int
    ) -> OperationRun:
        taken = {row: (row, 0) for row in range(len(self.weights))}  # of each waypoint: made for which place, which try
        if tries > 1 and between and len(self.at_text) == len(self.tokens):
            self.sentences = _sentences([self.model.read(ids) for ids in self.tokens])
            yield self._so_far(settings)
            taken |= yield from self._choose(settings, plan, [(row, k) for row in between for k in range(tries)])
            for row in between:
                self.waypoints[row] = dataclasses.replace(self.waypoints[row], weights=self.weights[taken[row][0]])
        yield from self._follow(Batch([plan(*taken[row]) for row in sorted(taken)], settings), self.at_text)

    def _choose(
        self, settings: SamplerSettings, plan: Callable[[int, int], Plan], tried: list[tuple[int, int]]
    ) -> Generator[Any, Event | None, dict[int, tuple[int, int]]]:
        """Runs all candidates and says which (place, try) becomes which waypoint."""
        batch, places = Batch([plan(*one) for one in tried], settings), tuple(row for row, _ in tried)
        while not isinstance(event := (yield batch), Finished):
            assert event is not None  # a batch is answered with its next event
            yield Trying(event, places)
        ids = [self._ended(answer) for answer in event.token_ids]
        different = [list(answer) for answer in dict.fromkeys(map(tuple, ids))]
        misfits = text_misfits(self.model, different, self.plans.before, draws=DRAWS)
        cost = {tuple(x): misfit + self._unlike(x) for x, misfit in zip(different, misfits, strict=True)}
        costs = [cost[tuple(answer)] for answer in ids]
        found = text_distances(self.model, [*ids, *self.tokens], self.tokens)
        taken = {}
        ends = sorted(self.at_text, key=lambda row: self.at_text[row])
        for first, (start, end) in enumerate(itertools.pairwise(ends)):
            leg = [i for i, row in enumerate(places) if start < row < end]
            if not leg:
                continue
            distances = [found[i][first : first + 2] for i in leg]
            apart = found[len(ids) + first][first + 1]
            chosen = chain(distances, [costs[i] for i in leg], apart, end - start - 1)
            taken |= {start + 1 + place: tried[leg[i]] for place, i in enumerate(chosen)}
        return taken

    def noise_to_noise(self, settings: SamplerSettings, iterations: int) -> OperationRun:
        if settings != self.settings:
            self.notes.append("Sampled with guidance 1, no stochastic steps, the likeliest tokens, no repetition "
                              "penalty and the re-encoded history, which inversion needs.")  # fmt: skip
        yield self._so_far(settings)
        noises = yield from find_noise(self.plans.inversion_plans(), settings, iterations)
        between = [self.plans.noise_between(noises, weights) for weights in self.weights]
        plans = [self.plans.plan(w, NOISE_TIME, noise) for w, noise in zip(self.weights, between, strict=True)]
        yield from self._follow(Batch(plans, settings), {})

    def prompt_to_prompt(self) -> OperationRun:
        prompts = [self.plans.prompt(weights) for weights in self.weights]
        for row, (_, ids) in enumerate(prompts):
            self.waypoints[row] = dataclasses.replace(self.waypoints[row], prompt=self.model.read(ids))
        plans = [self.model.plan_encoded(prompt, self.settings) for prompt, _ in prompts]
        return self._follow(Batch(plans, self.settings), {}, [ids for _, ids in prompts])

    # running

    def _follow(self, batch: Batch, pinned: dict[int, int], prompts: list[list[int]] | None = None) -> OperationRun:
        """Passes the sampler's events on, with whole texts, and says when waypoints are complete."""
        read, prompts = self.model.read, prompts or [[] for _ in batch.plans]
        for row, text in pinned.items():
            self._complete(row, self.tokens[text], read(self.tokens[text]))
        yield self._so_far(batch.settings)
        while not isinstance(event := (yield batch), Finished):
            if isinstance(event, BlockDone):
                texts = [read(prompt) + text for prompt, text in zip(prompts, event.texts, strict=True)]
                event = dataclasses.replace(event, texts=texts)
            yield event
            if isinstance(event, BlockDone) and self._note_complete(event, batch):
                yield self._so_far(batch.settings)
        ids = [prompt + self._ended(answer) for prompt, answer in zip(prompts, event.token_ids, strict=True)]
        texts = [read(prompt) + text for prompt, text in zip(prompts, event.texts, strict=True)]
        if self.sentences:
            texts = [read(answer) for answer in ids]
        for row, (answer, text) in enumerate(zip(ids, texts, strict=True)):
            self._complete(row, answer, text)
        yield self._so_far(batch.settings, measured=True)
        yield Finished(event.reasons, texts, ids)

    def _note_complete(self, done: BlockDone, batch: Batch) -> bool:
        """Takes down the texts that are complete with this block; are there any that were not before?"""
        ends, news = frozenset(self.model.end_ids), False
        for row, ids in enumerate(done.token_ids.tolist()):
            plan = batch.plans[row]
            new = ids[plan.skip if done.block == 0 else 0 :]
            ended = batch.settings.stop_at_end and not ends.isdisjoint(new)
            complete = ended or done.block + 1 == plan.blocks
            if done.active[row] and complete and not self.waypoints[row].done:
                self.waypoints[row] = dataclasses.replace(self.waypoints[row], text=done.texts[row], done=True)
                news = True
        return news

    def _complete(self, row: int, ids: Sequence[int], text: str) -> None:
        self.waypoints[row] = dataclasses.replace(self.waypoints[row], text=text, token_ids=tuple(ids), done=True)

    def _cut(self, ids: list[int]) -> tuple[list[int], bool]:
        """Token ids up to the first end token, and whether there was one."""
        for i, token in enumerate(ids):
            if token in self.model.end_ids:
                return ids[:i], True
        return ids, False

    def _ended(self, ids: list[int]) -> list[int]:
        """Token ids up to the end of the last sentence that a waypoint has room for."""
        if self.sentences:
            for n in range(1, len(ids)):
                if len(SENTENCE_END.findall(self.model.read(ids[:n]))) >= self.sentences:
                    return ids[:n]
        return ids

    def _unlike(self, ids: list[int]) -> float:
        """What it costs a candidate to begin or end as no text does: in the middle of a sentence."""
        text, texts = self.model.read(ids), [self.model.read(known) for known in self.tokens]
        begins = (text[:1].isspace() and not any(known[:1].isspace() for known in texts)) or (
            not text[:1].isupper() and all(known[:1].isupper() for known in texts)
        )
        ends = self.sentences > 0 and not SENTENCE_END.fullmatch(text.rstrip()[-1:])
        return UNLIKE * (begins + ends)

    def _so_far(self, settings: SamplerSettings, measured: bool = False) -> Interpolation:
        if measured:
            self._measure()
        ends = tuple(sorted(self.at_text, key=lambda row: self.at_text[row]))
        return Interpolation(self.method, tuple(self.waypoints), ends, settings, tuple(self.notes))

    def _measure(self) -> None:
        """Fills in what is known only once all texts are complete."""
        texts = list(self.tokens)
        if self.method == "prompt_to_prompt":
            for row, text in self.at_text.items():
                texts[text] = list(self.waypoints[row].token_ids)
        ids = [list(waypoint.token_ids) for waypoint in self.waypoints]
        lost = [str(text + 1) for row, text in self.at_text.items() if ids[row] != list(texts[text])]
        if lost:
            self.notes.append(
                f"{'Text' if len(lost) == 1 else 'Texts'} {' and '.join(lost)} did not come back from the noise "
                "unchanged. Through the flow, and with the decoder alone, the ends are the texts themselves."
            )
        spans = text_distances(self.model, ids, texts)
        misfits = text_misfits(self.model, ids, self.plans.before, draws=DRAWS)
        before: Sequence[int] | None = None
        for row, waypoint in enumerate(self.waypoints):
            self.waypoints[row] = dataclasses.replace(
                waypoint,
                changed=() if before is None else changed_tokens(before, waypoint.token_ids),
                latent_distances=tuple(spans[row]),
                token_distances=tuple(token_distance(waypoint.token_ids, text) for text in texts),
                misfit=None if math.isnan(misfits[row]) else misfits[row],
            )
            before = waypoint.token_ids


def _sentences(texts: Sequence[str]) -> int:
    """How many sentences the longest of texts has; 0 where one of them does not end with the end of a sentence."""
    ends = [list(SENTENCE_END.finditer(text)) for text in texts]
    whole = all(found and found[-1].end() == len(text.rstrip()) for found, text in zip(ends, texts, strict=True))
    return max(map(len, ends)) if whole else 0

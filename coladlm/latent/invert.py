"""Text to noise and back: the flow run from t = 0 to 1000, block by block, with the text itself as history.

Sampling from that noise with the same settings gives the text back. What must hold for that:
- no stochastic steps: fresh noise cannot be undone;
- guidance 1: a guided velocity is no velocity of one flow, pulls a text to where it is likelier under the guidance, and
  its steps, longer than the field allows, often have no inverse at all;
- no tokens left out of the clean estimate, since a text may have any;
- the likeliest token at each position, and nothing against repetition, which would forbid a text to say a word twice;
- a clean history. The inversion reads every block after the text's own latents. Sampling with the re-encoded history
  reads the same ones as long as its tokens come out right, so that small errors of a block end with it.

A plain Euler step from t to t' is not undone by the plain step from t' to t, which asks for the velocity elsewhere.
`iterations` of a fixed point find the state from which the sampler's own step leads back (see `flow.inverse`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from ..batch import Batch, OperationRun, run_alone
from ..model import ColaDLM
from ..recipe import Described, Option, Recipe, RecipeError, check_options
from ..sampling.events import BlockDone, Event, Finished, Step
from ..sampling.flow import NOISE_TIME
from ..sampling.plan import Plan
from ..settings import TOKEN_SETTINGS, SamplerSettings
from .distances import token_distance
from .layout import LatentSpace, Layout, lay_out

ITERATIONS = 4
TEXTS = (1, 64)
MAX_TOKENS = 2048
SETTINGS_HELP = (
    "exact: guidance 1, no stochastic steps, the likeliest token, no repetition penalty and the re-encoded history, "
    "which inversion needs; as set: the recipe's own, which may lose the text."
)

DESCRIPTION = "Carries each text to the noise it comes from, and samples from that noise to see what comes back."
OPTIONS = (
    Option("iterations", int, ITERATIONS, "Fixed-point iterations that make each step the inverse of the sampler's.",
           low=0, high=64),
    Option("using", str, "exact", SETTINGS_HELP, choices=("exact", "as set")),
)  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class Inverting:
    """A step or a block of the way from text to noise, which comes before the events of the run itself."""

    event: Step | BlockDone


@dataclasses.dataclass(frozen=True, eq=False)
class RoundTrip:
    """What came back of a text. tokens: in the text. restored: how many came back in their place. text: what came back.

    latent_error: mean distance (see LatentSpace.distance) of the latents that came back from the text's own. noise:
    (blocks, b, d), the noise found. noise_size: its root mean square, 1 for noise as the sampler draws it.
    """

    tokens: int
    restored: int
    token_distance: int
    latent_error: float
    noise_size: float
    noise: Tensor
    text: str

    @property
    def share(self) -> float:
        """Share of tokens that came back."""
        return self.restored / self.tokens


@dataclasses.dataclass(frozen=True, eq=False)
class RoundTrips:
    """The outcome of an inversion, one round trip for each text; comes right before Finished."""

    trips: tuple[RoundTrip, ...]
    settings: SamplerSettings


def exact_settings(settings: SamplerSettings) -> SamplerSettings:
    """The settings with everything that a replay from noise cannot have switched off (see the top of this file)."""
    return dataclasses.replace(settings, guidance=1.0, stochasticity=0.0, temperature=0.0, repetition_penalty=1.0,
                               no_repeat_ngram_size=0, history="reencoded", stop_at_end=True, whole_sentences=False,
                               stagger=0.0, **TOKEN_SETTINGS)  # fmt: skip


def replay_settings(settings: SamplerSettings, using: str) -> SamplerSettings:
    """What an inversion runs with: the exact settings, or the recipe's own. Raises RecipeError."""
    if using == "exact":
        return exact_settings(settings)
    if settings.stochasticity > 0:
        raise RecipeError("settings.stochasticity", settings.stochasticity,
                          "0 where a text is inverted: fresh noise cannot be undone")  # fmt: skip
    return dataclasses.replace(settings, stop_at_end=True, whole_sentences=False, noises=1)


def text_plan(model: ColaDLM, layout: Layout, noise: Tensor | None = None, sequence: int = 0) -> Plan:
    """The plan that writes a whole layout from noise: to invert it, or to sample it from its noise (blocks, b, d)."""
    b, d = model.block_size, model.latent_dim
    source = layout.latents.view(-1, b, d)
    blocks = len(source)
    return Plan(torch.zeros(0, d), torch.zeros(0, dtype=torch.long), source, torch.full((blocks, b), NOISE_TIME),
                torch.full((blocks, b * model.patch_size), -1), len(layout.ids), sequence=sequence,
                noise=noise)  # fmt: skip


def find_noise(plans: Sequence[Plan], settings: SamplerSettings,
               iterations: int) -> Generator[Any, Event | None, list[Tensor]]:  # fmt: skip
    """Carries the sources of plans to noise as one batch; returns the noise of each, (blocks, b, d), on the CPU.

    A part of an operation (see `batch.py`), whose own events are Inverting.
    """
    whole = dataclasses.replace(settings, stop_at_end=False)  # what stands after the end token has its noise too
    noise: list[list[Tensor]] = [[] for _ in plans]
    batch = Batch(plans, whole, invert=True, inverse_iterations=iterations)
    while not isinstance(event := (yield batch), Finished):
        assert event is not None  # a batch is answered with its next event
        _collect(noise, event)
        yield Inverting(event)
    return [torch.stack(blocks) for blocks in noise]


def _collect(found: list[list[Tensor]], event: Event) -> None:
    """Takes down each sequence's latents (b, d) of a block, on the CPU."""
    if isinstance(event, BlockDone):
        for row, latents in enumerate(event.latents.float().cpu()):
            if event.active[row]:
                found[row].append(latents)


def round_trip_events(model: ColaDLM, layouts: Sequence[Layout], settings: SamplerSettings,
                      iterations: int) -> Generator[Event | Inverting | RoundTrips]:  # fmt: skip
    """Carries layouts to noise and back. Yields Inverting events, then those of the sampler and RoundTrips."""
    return run_alone(model, _round_trips(model, layouts, settings, iterations))


def _round_trips(model: ColaDLM, layouts: Sequence[Layout], settings: SamplerSettings, iterations: int) -> OperationRun:
    inversion = [text_plan(model, layout) for layout in layouts]
    noise = yield from find_noise(inversion, settings, iterations)
    batch = Batch([text_plan(model, layout, z) for layout, z in zip(layouts, noise, strict=True)], settings)
    reached: list[list[Tensor]] = [[] for _ in layouts]
    while not isinstance(event := (yield batch), Finished):
        assert event is not None  # a batch is answered with its next event
        _collect(reached, event)
        yield event
    space = LatentSpace(model.vae.config)
    rows = zip(layouts, noise, reached, event.token_ids, event.texts, strict=True)
    yield RoundTrips(tuple(_trip(space, *row) for row in rows), settings)
    yield event


def _trip(
    space: LatentSpace, layout: Layout, noise: Tensor, reached: list[Tensor], ids: list[int], text: str
) -> RoundTrip:
    wanted = layout.text_ids
    restored = sum(a == b for a, b in zip(wanted, ids, strict=False))
    latents = torch.cat(reached)
    n = min(len(latents), -(-layout.tokens * len(layout.latents) // len(layout.ids)))
    error = float(space.distance(latents[:n], layout.latents[:n]).mean())
    size = float(noise.square().mean().sqrt())
    return RoundTrip(len(wanted), restored, token_distance(wanted, ids), error, size, noise, text)


def round_trips(model: ColaDLM, texts: Sequence[str], settings: SamplerSettings | None = None,
                iterations: int = ITERATIONS) -> tuple[RoundTrip, ...]:  # fmt: skip
    """Texts to noise and back as one batch. settings: used as they are; the model's, made exact, if absent."""
    settings = exact_settings(model.defaults) if settings is None else settings
    layouts = lay_out(model, text_tokens(model, texts))
    for event in round_trip_events(model, layouts, settings, iterations):
        if isinstance(event, RoundTrips):
            return event.trips
    raise RuntimeError("the sampler ended without a result")


def run_invert(model: ColaDLM, recipe: Recipe) -> Iterator[Event | Inverting | RoundTrips]:
    """Runs the operation `invert` by itself. Raises RecipeError, PromptError, before the first event."""
    return run_alone(model, start_invert(model, recipe))


def start_invert(model: ColaDLM, recipe: Recipe) -> OperationRun:
    """The operation `invert` (see OPTIONS), with RoundTrips before its end. Raises RecipeError, PromptError."""
    options = check_options(recipe.options, OPTIONS)
    check_single(recipe)
    settings = replay_settings(recipe.settings, options["using"])
    layouts = lay_out(model, text_tokens(model, recipe.texts, MAX_TOKENS))
    return _round_trips(model, layouts, settings, options["iterations"])


def text_tokens(model: ColaDLM, texts: Sequence[str], most: int | None = None) -> list[list[int]]:
    """Token ids of texts that must hold something. Raises RecipeError, PromptError."""
    batch = [model.tokenize(text) for text in texts]
    for index, ids in enumerate(batch):
        if not ids:
            raise RecipeError(f"texts[{index}]", Described("empty"), "at least one token")
        if most is not None and len(ids) > most:
            raise RecipeError(
                f"texts[{index}]", Described(f"{len(ids):,} tokens long"), f"at most {most:,} tokens here"
            )
    return batch


def check_single(recipe: Recipe) -> None:
    """Raises RecipeError for a recipe that asks for variations where there is nothing to vary."""
    if recipe.variations != 1:
        raise RecipeError("variations", recipe.variations, f"1 for {recipe.operation}")

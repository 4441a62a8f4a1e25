"""Endpoints for what has no tab of its own: inversion, replaying a recipe, latents of a text, how likely one is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import gradio as gr

from coladlm import ColaDLM
from coladlm.latent.invert import RoundTrips
from coladlm.latent.round_trip import read_latents
from coladlm.recipe import MAX_TEXT, Described, Recipe, RecipeError
from coladlm.run import check_model, prompts
from coladlm.sampling.events import Finished
from coladlm.serve import Scheduler, Waiting

from ..shared.api_docs import described
from ..shared.errors import sentence
from ..shared.event_options import UNLIMITED
from ..shared.resident import Resident
from ..shared.session import current_visitor
from ..shared.settings_panel import check_limits
from ..shared.token_pieces import pieces
from .likelihood import add_likelihood

MOST_TOKENS = 16_384  # of all sequences of a run together: what keeps others waiting for a minute or so
MOST_TEXT_TOKENS = 4096  # of a text that is encoded, and of latents that are decoded


def add_api(resident: Resident) -> None:
    """Adds /invert, /replay, /encode, /decode and /likelihood to the current page."""
    _add_invert(resident)
    _add_replay(resident)
    _add_latents(resident)
    add_likelihood(resident)


def _add_invert(resident: Resident) -> None:
    start = resident.first.defaults

    @described
    def invert(
        texts: list[str],
        iterations: int = 4,
        using: str = "exact",
        steps: int = start.steps,
        guidance: float = start.guidance,
        solver: str = start.solver,
        block_size: int | None = start.block_size,
    ) -> Iterator[tuple[list[dict[str, Any]], dict[str, Any]]]:
        """Carries texts to the noise that they come from, and samples from that noise to see what comes back.

        Args:
            texts: each of at least one token.
            iterations: fixed-point iterations that make each step the inverse of the sampler's, 0 to 64.
            using: "exact" sets guidance 1, no stochastic steps and the likeliest tokens; "as set" keeps the settings.

        Returns:
            For each text what came back, how many of its tokens, the mean latent error and the size of the noise; and
            the recipe that repeats it.
        """
        options = {"iterations": iterations, "using": using}
        given = {"steps": steps, "guidance": guidance, "solver": solver, "block_size": block_size}
        yield from invert_texts(resident.model, resident.scheduler, texts, options, given)

    gr.api(invert, api_name="invert", **UNLIMITED)


def _add_replay(resident: Resident) -> None:
    @described
    def replay(recipe: dict[str, Any]) -> Iterator[tuple[list[str], dict[str, Any]]]:
        """Runs any recipe: what an endpoint, a link or a file of this program has given.

        Args:
            recipe: with operation and texts; settings, variations and options may be left out.

        Returns:
            The texts of all sequences, and the whole recipe with "note", a sentence if another model made it.
        """
        yield from replay_recipe(resident.model, resident.scheduler, recipe)

    gr.api(replay, api_name="replay", **UNLIMITED)


def _add_latents(resident: Resident) -> None:
    @described
    def encode(text: str) -> dict[str, Any]:
        """The latents of a text.

        Args:
            text: at least one token.

        Returns:
            Its "tokens" as pieces of text, "patch_size" tokens to a latent, and "mean" and "logvar" of the posterior:
            a list of numbers for each latent of the text's whole blocks, of which the last is padded.
        """
        return encode_text(resident.model, resident.scheduler, text)

    @described
    def decode(latents: list[list[float]]) -> dict[str, Any]:
        """The text that the decoder reads in latents.

        Args:
            latents: a list of numbers for each latent, such as the "mean" of /encode.

        Returns:
            The "text", and for each token its piece of text and its probability.
        """
        return decode_latents(resident.model, resident.scheduler, latents)

    gr.api(encode, api_name="encode", **UNLIMITED)
    gr.api(decode, api_name="decode", **UNLIMITED)


def invert_texts(
    model: ColaDLM, scheduler: Scheduler, texts: list[str], options: dict[str, Any], given: dict[str, Any]
) -> Iterator[tuple[list[dict[str, Any]], dict[str, Any]]]:
    """What came back of each text and the recipe, once at the end. Raises gr.Error with a sentence."""
    try:
        settings = model.plain(type(model.defaults).from_dict(given, base=model.defaults))
        recipe = Recipe("invert", tuple(texts), settings, options=options, model=model.fingerprint)
        check_size(model, recipe)
        trips: list[dict[str, Any]] = []
        for event in scheduler.run(model, recipe, current_visitor(), steps="none"):
            if isinstance(event, RoundTrips):
                trips = [_plain_trip(trip) for trip in event.trips]
            if isinstance(event, RoundTrips | Waiting):  # in the queue too: a caller who left is noticed
                yield trips, recipe.to_dict()
    except ValueError as error:
        raise gr.Error(sentence(error), print_exception=False) from error


def _plain_trip(trip: Any) -> dict[str, Any]:
    names = ("text", "tokens", "restored", "token_distance", "latent_error", "noise_size")
    return {name: getattr(trip, name) for name in names}


def replay_recipe(
    model: ColaDLM, scheduler: Scheduler, plain: Mapping[str, Any]
) -> Iterator[tuple[list[str], dict[str, Any]]]:
    """The texts so far and the whole recipe. Raises gr.Error with a sentence."""
    try:
        recipe = Recipe.from_dict(plain, base=model.defaults)
        check_size(model, recipe)
        described = {**recipe.to_dict(), "note": check_model(model, recipe) or ""}
        texts: list[str] = []
        for event in scheduler.run(model, recipe, current_visitor(), steps="none"):
            if isinstance(event, Finished):
                texts = event.texts
            if isinstance(event, Finished | Waiting):
                yield texts, described
    except ValueError as error:
        raise gr.Error(sentence(error), print_exception=False) from error


def check_size(model: ColaDLM, recipe: Recipe) -> None:
    """Refuses a recipe that would keep everybody else waiting. Raises RecipeError, SettingsError, PromptError."""
    check_limits(recipe.settings)
    sequences = len(prompts(recipe))
    longest = max(len(model.tokenize(text)) for text in recipe.texts) + recipe.settings.max_new_tokens
    if sequences * longest > MOST_TOKENS:
        raise RecipeError("the recipe", Described(f"{sequences} sequences of up to {longest:,} tokens"),
                          f"at most {MOST_TOKENS:,} tokens in all here")  # fmt: skip


def encode_text(model: ColaDLM, scheduler: Scheduler, text: str) -> dict[str, Any]:
    """The posterior of a text as plain data. Raises gr.Error with a sentence."""
    try:
        if isinstance(text, str) and len(text) > MAX_TEXT:
            raise RecipeError("text", Described(f"{len(text):,} characters long"), f"at most {MAX_TEXT:,}")
        ids = model.tokenize(text, limited=False)
        if not 0 < len(ids) <= MOST_TEXT_TOKENS:
            raise RecipeError("text", Described(f"{len(ids):,} tokens long"), f"1 to {MOST_TEXT_TOKENS:,}")
        posterior = scheduler.call(lambda: model.encode(text), current_visitor(), "encode")
        logvar = None if posterior.logvar is None else posterior.logvar.float().cpu().tolist()
        return {"tokens": pieces(model.tokenizer, ids, whole=True), "patch_size": model.patch_size,
                "mean": posterior.mean.float().cpu().tolist(), "logvar": logvar}  # fmt: skip
    except ValueError as error:
        raise gr.Error(sentence(error), print_exception=False) from error


def decode_latents(model: ColaDLM, scheduler: Scheduler, latents: Any) -> dict[str, Any]:
    """What the decoder reads in latents. Raises gr.Error with a sentence."""
    try:
        wanted = f"1 to {MOST_TEXT_TOKENS // model.patch_size:,} lists of {model.latent_dim} finite numbers"
        if not isinstance(latents, list) or not 0 < len(latents) <= MOST_TEXT_TOKENS // model.patch_size:
            raise RecipeError("latents", latents, wanted)
        for row in latents:
            right = isinstance(row, list) and len(row) == model.latent_dim
            if not right:
                raise RecipeError("a row of latents", row, f"a list of {model.latent_dim} numbers")
            if not all(type(x) in (int, float) and abs(x) < 1e6 for x in row):
                found = Described("a list with something that is not a number below 1e6")
                raise RecipeError("a row of latents", found, wanted)
        ids, probabilities = scheduler.call(lambda: read_latents(model, latents), current_visitor(), "decode")
        special = frozenset((*model.end_ids, model.pad_id))
        words = pieces(model.tokenizer, ids, special=special, whole=True)
        tokens = [{"text": "" if i in special else word, "probability": p}
                  for i, word, p in zip(ids, words, probabilities, strict=True)]  # fmt: skip
        return {"text": model.read(ids), "tokens": tokens}
    except ValueError as error:
        raise gr.Error(sentence(error), print_exception=False) from error

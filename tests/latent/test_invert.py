"""A text carried to its noise comes back from it."""

import dataclasses

import pytest
import torch

from coladlm import Finished, PlanError, PromptError, SamplerSettings
from coladlm.latent import (
    Inverting,
    RoundTrips,
    exact_settings,
    lay_out,
    round_trips,
    run_invert,
)
from coladlm.latent.invert import round_trip_events
from coladlm.recipe import Recipe, RecipeError

TEXTS = ("The cat sat", "She said hello to the bird.")
SETTINGS = SamplerSettings(steps=6)


def test_all_blocks_come_back_where_the_history_is_latents(model):
    settings = dataclasses.replace(exact_settings(SETTINGS), history="latents")
    for trip in round_trips(model, TEXTS, settings, iterations=6):
        assert trip.latent_error < 1e-3


def test_iterations_make_the_way_back_more_exact(model):
    settings = dataclasses.replace(exact_settings(SETTINGS), history="latents")
    errors = [round_trips(model, TEXTS[1:], settings, iterations=n)[0].latent_error for n in (0, 6)]
    assert errors[0] > 2 * errors[1] and errors[1] < 1e-3


@pytest.mark.parametrize("solver", ["midpoint", "heun"])
def test_other_solvers_come_back_too(model, solver):
    settings = dataclasses.replace(exact_settings(SETTINGS), history="latents", solver=solver)
    assert round_trips(model, TEXTS[1:], settings, iterations=6)[0].latent_error < 1e-3


@pytest.mark.parametrize("interval", [(500.0, 1000.0), (0.0, 500.0)])
def test_guidance_that_acts_in_an_interval_is_undone_too(model, interval):
    settings = dataclasses.replace(
        exact_settings(SETTINGS), history="latents", guidance=2.0, guidance_interval=interval
    )
    assert round_trips(model, TEXTS[1:], settings, iterations=6)[0].latent_error < 1e-3


def test_a_text_has_the_same_noise_alone_and_in_a_batch(model):
    together = round_trips(model, TEXTS, exact_settings(SETTINGS))
    for text, trip in zip(TEXTS, together, strict=True):
        alone = round_trips(model, [text], exact_settings(SETTINGS))[0]
        torch.testing.assert_close(alone.noise, trip.noise, rtol=0, atol=1e-4)


def test_the_way_there_comes_first_and_the_outcome_right_before_the_end(model):
    events = list(run_invert(model, Recipe("invert", TEXTS, SETTINGS)))
    kinds = [type(event).__name__ for event in events]
    turn = len(kinds) - kinds[::-1].index("Inverting")
    assert set(kinds[:turn]) == {"Inverting"} and "Inverting" not in kinds[turn:]
    assert isinstance(events[-2], RoundTrips) and isinstance(events[-1], Finished)
    assert events[0].event.t.max() == 0 and isinstance(events[0], Inverting)


def test_what_inversion_cannot_undo_is_switched_off_or_refused(model):
    wild = SamplerSettings(stochasticity=0.5, guidance=3.0, temperature=1.0)
    exact = exact_settings(wild)
    assert (exact.stochasticity, exact.guidance, exact.temperature, exact.repetition_penalty) == (0, 1, 0, 1)
    with pytest.raises(RecipeError, match=r"settings.stochasticity is 0.5, expected 0"):
        run_invert(model, Recipe("invert", TEXTS, wild, options={"using": "as set"}))
    with pytest.raises(PlanError, match="stochasticity"):
        next(round_trip_events(model, lay_out(model, [[5]]), wild, 0))


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        (Recipe("invert", ("",)), r"texts\[0\] is empty"),
        (Recipe("invert", ("a", "")), r"texts\[1\] is empty"),
        (Recipe("invert", ("word " * 1000,)), "expected at most 2,048 tokens"),
        (Recipe("invert", ("a",), variations=2), "variations is 2, expected 1"),
        (Recipe("invert", ("a",), options={"iterations": 65}), "options.iterations is 65"),
        (Recipe("invert", ("a",), options={"steps": 65}), "an option is 'steps'"),
    ],
)
def test_odd_input_gets_a_sentence(model, recipe, sentence):
    with pytest.raises((RecipeError, PromptError), match=sentence):
        run_invert(model, recipe)


def test_emoji_and_right_to_left_text_are_carried_like_any_other(model):
    for trip in round_trips(model, ["😀 👩‍👧", "שלום עולם"], exact_settings(SETTINGS)):
        assert trip.latent_error < 2


def test_held_out_sentences_come_back_with_the_bundled_model(bundled):
    """At the default setting at least 99 % of tokens, and nearly all latents."""
    sentences = [
        "The fox wanted to cross the river.",
        '"Can I have a turn?" asked Mia.',
    ]
    trips = round_trips(bundled, sentences)
    assert sum(trip.restored for trip in trips) >= 0.99 * sum(trip.tokens for trip in trips)
    assert max(trip.latent_error for trip in trips) < 0.05

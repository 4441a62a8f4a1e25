"""What the operations promise with the model that ships, on sentences of our own."""

import dataclasses

import torch

from coladlm import SamplerSettings
from coladlm.latent import (
    Edited,
    Interpolation,
    lay_out,
    run_edit,
    run_interpolate,
    turning,
)
from coladlm.latent.fit import velocity_error
from coladlm.recipe import Recipe

FIRST, SECOND = "The fox ran home.", "A little girl sang to her cat in the garden."
STORY = "Tom had a small red boat. He took the boat to the lake. The boat went fast. Tom was happy and ran home."


def test_noise_to_noise_begins_and_ends_at_its_texts(bundled):
    settings = dataclasses.replace(bundled.defaults, steps=8)
    recipe = Recipe("interpolate", (FIRST, SECOND), settings, options={"road": "noise_to_noise", "stops": 2})
    road = [event for event in run_interpolate(bundled, recipe) if isinstance(event, Interpolation)][-1]
    assert (road.waypoints[0].text, road.waypoints[-1].text) == (FIRST, SECOND)


def test_little_noise_at_its_own_latents_gives_a_text_back(bundled):
    options = {"renoise": 0.1, "profile": "flat", "weights": [0.5, 0.5]}
    settings = dataclasses.replace(bundled.defaults, stochasticity=0.0)
    recipe = Recipe("interpolate", (SECOND, SECOND), settings, options=options)
    road = [event for event in run_interpolate(bundled, recipe) if isinstance(event, Interpolation)][-1]
    assert road.waypoints[0].text == SECOND


def test_a_direction_turns_held_out_sentences(bundled):
    settings = SamplerSettings(steps=4, guidance=1.5, history="reencoded", repetition_penalty=1.0)
    assert turning.measure(bundled, "happy-sad", settings, candidates=1).turned > 0.3
    assert turning.measure(bundled, "happy-sad", settings, strength=0.01, candidates=1).turned < 0.1


def test_the_rest_fits_the_true_words_better_than_others(bundled):
    """The velocity error of what follows tells the words that were there from words that make no sense there."""
    ids = bundled.tokenize(STORY)
    where = ids.index(bundled.tokenize(" boat")[0])
    texts = [ids] + [
        [*ids[:where], bundled.tokenize(word)[0], *ids[where + 1 :]] for word in (" said", " because", " of")
    ]
    latents = torch.stack([layout.latents for layout in lay_out(bundled, texts)])
    asked = (torch.arange(latents.shape[1]) > where) & (torch.arange(latents.shape[1]) < len(ids))
    errors = velocity_error(bundled, latents, asked)[:, asked].mean(1)
    assert int(errors.argmin()) == 0


def test_an_edit_keeps_the_rest_with_the_bundled_model(bundled):
    ids = bundled.tokenize(STORY)
    recipe = Recipe("edit", (STORY,), bundled.defaults, 3, {"start": 10, "end": 13})
    edited = [event for event in run_edit(bundled, recipe) if isinstance(event, Edited)][-1]
    for candidate in edited.candidates:
        assert candidate.token_ids[:10] == tuple(ids[:10]) and candidate.token_ids[13:] == tuple(ids[13:])

"""On a CPU a text of the bundled model is the same to the last bit alone and in a batch, captured and eagerly.

Its products come from packed weights, where each row is the same whatever stands beside it, and attention looks at
numbers of places over which its sums keep their order. A processor with other kernels gets the same up to rounding.
"""

import contextlib
import dataclasses

import pytest
import torch

from coladlm import BlockDone
from coladlm.latent.other_texts import negative_of, pull_of
from coladlm.networks.layers import FEW_ROWS
from coladlm.sampling import shared_run
from coladlm.sampling.capture import tape
from coladlm.sampling.graph import GraphEngine

PROMPTS = ("Once upon a time, there was a girl", "Tom went to the beach. He found a shell and a crab there",
           "One day it rained. " * 9)  # fmt: skip
TEXTS = ("The dog barked. The big dog ran.", "It was a sunny day. " * 12, "a cat")


def assert_same(found: torch.Tensor, wanted: torch.Tensor, rows_stay: bool):
    torch.testing.assert_close(found, wanted, **({"rtol": 0, "atol": 0} if rows_stay else {"rtol": 1e-3, "atol": 1e-3}))


def settings_of(bundled, **changes):
    """Of runs of two or three blocks of two steps: the first of each, and one that another came before. Where words
    come at once, of two noises.
    """
    tokens = 3 * changes["block_size"] if "block_size" in changes else 8
    own = {"steps": 2, "noises": 2, "max_new_tokens": tokens, **changes}
    return dataclasses.replace(bundled.defaults, stop_at_end=False, whole_sentences=False, **own)


def blocks(model, plans, settings) -> list[torch.Tensor]:
    return [event.latents for event in model.run_plans(plans, settings) if isinstance(event, BlockDone)]


def assert_the_same_alone(model, plans, settings, rows_stay):
    together = blocks(model, plans, settings)
    assert len(together) > 1
    for row, plan in enumerate(plans):
        for alone, block in zip(blocks(model, [plan], settings), together, strict=False):
            assert_same(alone[0], block[row], rows_stay)


@pytest.mark.parametrize("changes", [
    {}, {"stagger": 0.0, "history": "latents"}, {"block_size": 1},
    {"block_size": 2, "stagger": 0.0, "history": "latents"},
    {"guidance_interval": (200.0, 700.0), "solver": "heun", "steps": 3},
], ids=str)  # fmt: skip
def test_a_text_in_a_batch_is_the_text_alone(bundled, rows_stay, changes):
    settings = settings_of(bundled, **changes)
    plans = [bundled.plan(prompt, settings, i) for i, prompt in enumerate(PROMPTS)]
    assert_the_same_alone(bundled, plans, settings, rows_stay)


@pytest.mark.parametrize("block_size", [1, 2])
def test_short_prompts_beside_a_long_one_of_an_uneven_number_of_latents_have_their_texts_alone(
    bundled, rows_stay, block_size
):
    settings = settings_of(bundled, block_size=block_size)
    long = "Once upon a time, there was a little girl who liked to play in the park with her dog. " * 3
    prompts = ("A cat", "Once upon a time", long)
    plans = [bundled.plan(prompt, settings, i) for i, prompt in enumerate(prompts)]
    assert len(plans[2].prefix) > 64 and len(plans[2].prefix) % FEW_ROWS
    assert_the_same_alone(bundled, plans, settings, rows_stay)


def test_a_text_whose_long_prompt_is_read_before_it_joins_is_the_text_alone(bundled, rows_stay, monkeypatch):
    monkeypatch.setattr(shared_run, "PREFILL_LATENTS", 40)
    settings = settings_of(bundled)
    plans = [bundled.plan(prompt, settings, i) for i, prompt in enumerate(PROMPTS)]
    assert len(plans[2].prefix) > 40 >= len(plans[1].prefix)
    shared, written = shared_run.SharedRun(bundled.sampler, settings), {}
    with contextlib.closing(shared):
        groups = [shared.join(plans[:2]), shared.join(plans[2:])]
        while shared.rows:
            for group in shared.advance():
                if isinstance(shared.event, BlockDone):
                    written.setdefault(group, []).append(shared.of(group).latents)
    for group, own in zip(groups, (plans[:2], plans[2:]), strict=True):
        for row, plan in enumerate(own):
            for block, alone in zip(written[group], blocks(bundled, [plan], settings), strict=False):
                assert_same(block[row], alone[0], rows_stay)


@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_a_text_that_is_drawn_towards_another_is_the_same_beside_other_pulls(bundled, rows_stay, guidance):
    settings = settings_of(bundled, guidance=guidance)
    plans = [
        dataclasses.replace(bundled.plan(prompt, settings, i), pull=pull_of(bundled, {"towards": text, "pull": 0.6}))
        for i, (prompt, text) in enumerate(zip(PROMPTS, TEXTS, strict=True))
    ]
    assert_the_same_alone(bundled, plans, settings, rows_stay)


def test_a_text_that_is_led_away_from_another_is_the_same_beside_other_negative_prompts(bundled, rows_stay):
    settings = settings_of(bundled)
    plans = [dataclasses.replace(bundled.plan(prompt, settings, i), negative=negative_of(bundled, {"negative": text}))
             for i, (prompt, text) in enumerate(zip(PROMPTS, TEXTS, strict=True))]  # fmt: skip
    assert_the_same_alone(bundled, plans, settings, rows_stay)


@pytest.mark.parametrize("changes", [
    {"stagger": 0.0}, {"stagger": 0.0, "solver": "midpoint"}, {"guidance_interval": (200.0, 700.0), "steps": 4},
    # two thirds of the way lie at 800, but for a rounding
    {"stagger": 0.0, "guidance_interval": (300.0, 800.0), "solver": "heun", "steps": 3}, {"block_size": 1},
], ids=str)  # fmt: skip
def test_captured_steps_are_the_eager_ones(bundled, rows_stay, monkeypatch, changes):
    settings = settings_of(bundled, **changes)
    plans = [bundled.plan(PROMPTS[0], settings)]
    monkeypatch.setattr(bundled.sampler, "graphs", None)
    eager = blocks(bundled, plans, settings)
    monkeypatch.setattr(bundled.sampler, "graphs", GraphEngine(bundled.dit, tape))
    for one, other in zip(blocks(bundled, plans, settings), eager, strict=True):
        assert_same(one, other, rows_stay)

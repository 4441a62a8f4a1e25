"""The two velocities behind a guided one: computed where somebody asks for them, and nothing else depends on that."""

import contextlib
import dataclasses

import pytest
import torch

from coladlm import BlockDone, Step
from coladlm.sampling.shared_run import SharedRun

PROMPT = "Once upon a time there was a little"


@pytest.fixture(scope="module")
def settings(bundled):
    return dataclasses.replace(bundled.defaults, steps=2, max_new_tokens=8, stop_at_end=False, whole_sentences=False)


def seen(events):
    """Velocities and latents, and whether the two behind are told."""
    numbers, told = [], set()
    for event in events:
        if isinstance(event, Step):
            numbers.append(event.velocity)
            told.add(event.conditional is not None and event.unconditional is not None)
        elif isinstance(event, BlockDone):
            numbers.append(event.latents)
    return numbers, told


@pytest.mark.parametrize("changes", [{}, {"solver": "heun"}, {"guidance": 0.5}, {"flow_temperature": 0.8}], ids=str)
def test_a_run_that_does_without_them_is_the_same(bundled, settings, changes, rows_stay):
    settings = dataclasses.replace(settings, **changes)
    assert settings.guides_logits(bundled.block_size)
    plans = bundled.plans([PROMPT, "The cat"], settings)
    with_them, told = seen(bundled.sampler.run(plans, settings))
    without, not_told = seen(bundled.sampler.run(plans, settings, behind=False))
    assert told == {True} and not_told == {False} and len(with_them) == len(without) > 6
    for found, wanted in zip(without, with_them, strict=True):
        close = {"rtol": 0, "atol": 0} if rows_stay else {"rtol": 1e-4, "atol": 1e-4}
        torch.testing.assert_close(found, wanted, **close)


def test_a_text_is_written_without_them_and_is_the_same(bundled, settings, monkeypatch):
    asked, run = [], bundled.sampler.run
    monkeypatch.setattr(bundled.sampler, "run", lambda *given, **how: asked.append(how) or run(*given, **how))
    text = bundled.generate([PROMPT], settings)
    assert asked == [{"behind": False}]
    *_, finished = bundled.sample([PROMPT], settings)
    assert finished.texts == text


def test_of_a_batch_all_are_told_them_as_long_as_one_asks(bundled, settings):
    shared = SharedRun(bundled.sampler, settings)
    short = dataclasses.replace(settings, max_new_tokens=4)

    def plans(settings):
        return [dataclasses.replace(plan, settings=settings) for plan in bundled.plans([PROMPT], settings)]

    with contextlib.closing(shared):
        shared.join(plans(settings), behind=False)
        first, told = shared.join(plans(short)), []
        while shared.rows:
            there = shared.advance()
            if isinstance(shared.event, Step):
                told.append((first in there, shared.of(there[0]).conditional is not None))
    assert {(True, True), (False, False)} == set(told)


def test_guidance_between_velocities_always_has_them(model, settings):
    settings = dataclasses.replace(model.defaults, steps=2, max_new_tokens=6, guidance=2.0)
    plans = model.plans([PROMPT], settings)
    numbers, told = seen(model.sampler.run(plans, settings, behind=False))
    wanted, _ = seen(model.sampler.run(plans, settings))
    assert told == {True} and all(torch.equal(a, b) for a, b in zip(numbers, wanted, strict=True))

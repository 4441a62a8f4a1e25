"""Previews that are computed beside the steps: whatever the device does first, they and the texts are the same."""

import dataclasses
import functools
import random

import pytest
import torch

from coladlm import BlockDone, SamplerSettings, Step
from coladlm.hardware.side_stream import InOrder
from coladlm.sampling import block_run
from coladlm.sampling.capture import tape
from coladlm.sampling.graph import GraphEngine
from coladlm.sampling.history import History
from coladlm.sampling.shared_run import SharedRun

from ..late_side import LateSide

SHORT = SamplerSettings(steps=3, guidance=2.0, max_new_tokens=10, stop_at_end=False)
PROMPTS = ["Once upon a time there was a little", "The cat sat", "", "She said hello to the bird. One day it went away"]


def played(model, base, side, looks=0.6):
    """What visitors who come, look and leave at random see of a shared run: previews, some called at once and the
    others in the end, the logits of finished blocks, and texts. looks: how often a visitor does.
    """
    draw, shared, groups, steps, blocks = random.Random(14), SharedRun(model.sampler, base), [], [], []
    while len(groups) < 5 or shared.rows:
        if len(groups) < 5 and draw.random() < 0.3:
            settings = dataclasses.replace(base, seed=len(groups), max_new_tokens=4 + 5 * (len(groups) % 3))
            prompts = draw.sample(PROMPTS, draw.choice((1, 1, 2)))
            plans = [dataclasses.replace(plan, settings=settings) for plan in model.plans(prompts, settings)]
            groups.append(shared.join(plans))
        there = shared.advance()
        if isinstance(shared.event, Step):
            looking = [group for group in there if draw.random() < looks]
            if looking:
                with side.work() as work:
                    shared.read(looking, work)
            seen = [shared.of(group) for group in looking]
            steps.extend(step.preview().clone() if draw.random() < 0.2 else step for step in seen)
        elif isinstance(shared.event, BlockDone):
            blocks.append(shared.event.logits)
        if there and draw.random() < 0.05:
            shared.leave(draw.choice(there))
    shared.close()
    settled = not getattr(side, "waiting", [])  # the memory of the run is given away now
    previews = [step.preview() if isinstance(step, Step) else step for step in steps]
    return [*previews, *blocks], [group.token_ids for group in groups], settled


def parted(found, wanted):
    """How many previews and logits are others, and whether the texts are."""
    (numbers, texts, _), (wanted_numbers, wanted_texts, _) = found, wanted
    assert len(numbers) == len(wanted_numbers) > 20
    return sum(not torch.equal(a, b) for a, b in zip(numbers, wanted_numbers, strict=True)), texts != wanted_texts


@pytest.fixture(scope="module")
def in_order(model):
    """in_order(base) is what they see where all is done in order, once for all tests."""
    return functools.cache(lambda base: played(model, base, InOrder()))


CHANGES = [{}, {"history": "latents"}, {"block_size": 2}, {"block_size": 8, "stagger": 0.5}, {"stop_when_settled": 1}]


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_previews_and_texts_do_not_depend_on_when_the_device_comes_to_the_side_work(model, in_order, changes):
    base, side = dataclasses.replace(SHORT, **changes), LateSide()
    found = played(model, base, side)
    assert parted(found, in_order(base)) == (0, False)
    *_, settled = found
    assert side.count > 10 and settled


@pytest.mark.parametrize("changes", CHANGES[:3], ids=str)
def test_the_same_where_both_streams_work_at_once(model, changes):
    base, side = dataclasses.replace(SHORT, **changes), LateSide()
    with side.between(seed=5):
        found = played(model, base, side, looks=1.0)  # of all rows: in the cache itself, not in a copy
    assert parted(found, played(model, base, InOrder(), looks=1.0)) == (0, False)
    assert side.count > 10


def test_what_a_preview_is_made_of_is_held_until_the_side_has_read_it(model, monkeypatch):
    held = []
    monkeypatch.setattr(block_run, "held_here", lambda x: held.append(x.data_ptr()))
    for changes in ({}, {"stop_when_settled": 1}):
        shared = SharedRun(model.sampler, dataclasses.replace(SHORT, **changes))
        group = shared.join(model.plans(PROMPTS[:2], SHORT))
        while not group.finished:
            shared.advance()
            if isinstance(step := shared.event, Step):
                held.clear()
                shared.read([group])
                assert {x.data_ptr() for x in (step.z, step.velocity, step.t)} <= set(held)
                known = getattr(step.decode, "args", ())
                assert {x.data_ptr() for x in known if isinstance(x, torch.Tensor)} <= set(held)
        shared.close()


def test_the_same_of_captured_steps(model, monkeypatch):
    monkeypatch.setattr(model.sampler, "graphs", GraphEngine(model.dit, tape))
    assert parted(played(model, SHORT, LateSide()), played(model, SHORT, InOrder())) == (0, False)


def test_the_same_where_one_of_several_noises_is_kept(one):
    base = dataclasses.replace(SHORT, noises=3, stagger=0.0)
    assert parted(played(one, base, LateSide()), played(one, base, InOrder())) == (0, False)


@pytest.mark.parametrize("changes", CHANGES[:3], ids=str)
def test_without_waiting_for_the_side_they_would(model, in_order, changes, monkeypatch):
    base = dataclasses.replace(SHORT, **changes)
    wanted = in_order(base)
    monkeypatch.setattr(History, "settle", lambda history: None)
    previews, _ = parted(played(model, base, LateSide()), wanted)
    assert previews > 0

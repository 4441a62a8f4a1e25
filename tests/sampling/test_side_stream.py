"""Previews that are computed beside the steps: whatever the device does first, they and the texts are the same."""

import contextlib
import dataclasses
import random

import pytest
import torch

from coladlm import SamplerSettings, Step
from coladlm.hardware.side_stream import InOrder
from coladlm.sampling.capture import tape
from coladlm.sampling.graph import GraphEngine
from coladlm.sampling.history import History
from coladlm.sampling.shared_run import SharedRun

from ..late_side import LateSide
from ..token_models import with_tokens

SHORT = SamplerSettings(steps=3, guidance=2.0, max_new_tokens=10, stop_at_end=False)
PROMPTS = ["Once upon a time there was a little", "The cat sat", "", "She said hello to the bird. One day it went away"]


@pytest.fixture(scope="module")
def one(model):
    """A model that names tokens, some of which are likelier than others."""
    torch.manual_seed(0)
    made = with_tokens(model)
    with torch.no_grad():
        made.dit.tokens.proj.weight.normal_(std=0.5)
    return made


def played(model, base, side):
    """What visitors who come, look and leave at random see of a shared run: previews, all called late, and texts."""
    draw, shared, groups, steps = random.Random(3), SharedRun(model.sampler, base), [], []
    with contextlib.closing(shared):
        while len(groups) < 7 or shared.rows:
            if len(groups) < 7 and draw.random() < 0.3:
                settings = dataclasses.replace(base, seed=len(groups), max_new_tokens=4 + 5 * (len(groups) % 3))
                prompts = draw.sample(PROMPTS, draw.choice((1, 1, 2)))
                plans = [dataclasses.replace(plan, settings=settings) for plan in model.plans(prompts, settings)]
                groups.append(shared.join(plans))
            there = shared.advance()
            if isinstance(shared.event, Step):
                looking = [group for group in there if draw.random() < 0.6]
                if looking:
                    with side.work() as work:
                        shared.read(looking, work)
                steps.extend(shared.of(group) for group in looking)
            if there and draw.random() < 0.05:
                shared.leave(draw.choice(there))
    return [step.preview() for step in steps], [group.token_ids for group in groups]


def parted(found, wanted):
    """How many previews are others, and whether the texts are."""
    (previews, texts), (wanted_previews, wanted_texts) = found, wanted
    assert len(previews) == len(wanted_previews) > 20
    return sum(not torch.equal(a, b) for a, b in zip(previews, wanted_previews, strict=True)), texts != wanted_texts


CHANGES = [{}, {"history": "latents"}, {"block_size": 2}, {"block_size": 8, "stagger": 0.5}, {"stop_when_settled": 1}]


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_previews_and_texts_do_not_depend_on_when_the_device_comes_to_the_side_work(model, changes):
    base, side = dataclasses.replace(SHORT, **changes), LateSide()
    assert parted(played(model, base, side), played(model, base, InOrder())) == (0, False)
    assert side.count > 10 and not side.waiting  # each was waited for


def test_the_same_of_captured_steps(model, monkeypatch):
    monkeypatch.setattr(model.sampler, "graphs", GraphEngine(model.dit, tape))
    assert parted(played(model, SHORT, LateSide()), played(model, SHORT, InOrder())) == (0, False)


def test_the_same_where_one_of_several_noises_is_kept(one):
    base = dataclasses.replace(SHORT, noises=3, stagger=0.0)
    assert parted(played(one, base, LateSide()), played(one, base, InOrder())) == (0, False)


@pytest.mark.parametrize("changes", CHANGES[:3], ids=str)
def test_without_waiting_for_the_side_they_would(model, changes, monkeypatch):
    base = dataclasses.replace(SHORT, **changes)
    wanted = played(model, base, InOrder())
    monkeypatch.setattr(History, "settle", lambda history: None)
    previews, _ = parted(played(model, base, LateSide()), wanted)
    assert previews > 5  # texts would, too, if the device came to it before the block is remembered

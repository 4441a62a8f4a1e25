"""Sequences of different people in one batch: each comes out as it does alone."""

import dataclasses
import random

import pytest
import torch

from coladlm import BlockDone, ColaDLM, Finished, PlanError, SamplerSettings, Step
from coladlm.dit import BlockCausalDiT
from coladlm.shared_run import SharedRun

SHORT = SamplerSettings(steps=3, guidance=2.0, max_new_tokens=10, stop_at_end=False)
PROMPTS = ["Once upon a time there was a little", "The cat sat", "", "She said hello to the bird. One day it went away"]


@pytest.fixture(scope="module")
def model(golden_folder) -> ColaDLM:
    """The golden model with exact attention: no rounding that could blow up the differences of float32 sums."""
    rounding = ColaDLM.from_pretrained(golden_folder, device="cpu", dtype="float32")
    dit = BlockCausalDiT(dataclasses.replace(rounding.dit.config, attention_dtype="float32"))
    dit.load_state_dict(rounding.dit.state_dict())
    return ColaDLM(rounding.vae, dit, rounding.tokenizer)


def plans_of(model, prompts, settings):
    return [dataclasses.replace(plan, settings=settings) for plan in model.plans(prompts, settings)]


def own_settings(base, index):
    """Settings of the same flow that differ in everything else."""
    return dataclasses.replace(
        base,
        seed=index,
        max_new_tokens=4 + 7 * (index % 4),
        temperature=(0.0, 1.0)[index % 2],
        top_k=(0, 5)[index % 3 == 0],
        repetition_penalty=(1.0, 1.4)[index % 3 == 1],
        no_repeat_ngram_size=(0, 2, 3)[index % 3],
    )


@pytest.mark.parametrize("history", ["latents", "reencoded"])
@pytest.mark.parametrize("stochasticity", [0.0, 1.0])
def test_whoever_joins_when_gets_what_it_gets_alone(model, history, stochasticity):
    base = dataclasses.replace(SHORT, history=history, stochasticity=stochasticity)
    shared = SharedRun(model.sampler, base)
    asked, groups = [], []
    draw = random.Random(7)
    while len(groups) < 9 or not all(group.finished for group in groups):
        if len(groups) < 9 and draw.random() < 0.4:
            settings = own_settings(base, len(groups))
            prompts = draw.sample(PROMPTS, draw.choice((1, 1, 2)))
            asked.append((prompts, settings))
            groups.append(shared.join(plans_of(model, prompts, settings)))
        shared.advance()
    assert shared.rows == 0
    for (prompts, settings), group in zip(asked, groups, strict=True):
        assert group.texts == model.generate(prompts, settings)


def test_a_group_sees_its_own_rows_as_it_does_alone(model):
    shared = SharedRun(model.sampler, SHORT)
    others = shared.join(plans_of(model, PROMPTS[:1], own_settings(SHORT, 3)))
    shared.advance()
    mine = dataclasses.replace(SHORT, seed=5, temperature=1.0)
    group, seen = shared.join(plans_of(model, PROMPTS[1:3], mine)), []
    while not group.finished:
        if group in shared.advance():
            seen.append(shared.of(group))
    seen.append(group.result())
    alone = []
    for event in model.sample(PROMPTS[1:3], mine):
        alone.append((event, event.preview() if isinstance(event, Step) else None))
    assert [type(event) for event in seen] == [type(event) for event, _ in alone]
    for event, (expected, preview) in zip(seen, alone, strict=True):
        if isinstance(event, Step):
            assert (event.block, event.index) == (expected.block, expected.index)
            assert torch.allclose(event.z, expected.z, atol=1e-4)
            assert torch.allclose(event.preview(), preview, atol=1e-3)
        elif isinstance(event, BlockDone):
            assert event.block == expected.block and event.texts == expected.texts
            assert torch.equal(event.token_ids, expected.token_ids)
        else:
            assert event == expected and isinstance(event, Finished)
    assert not others.finished


def test_who_leaves_in_the_middle_of_a_block_changes_nothing_for_the_others(model):
    shared = SharedRun(model.sampler, SHORT)
    stays = shared.join(plans_of(model, PROMPTS[:1], SHORT))
    leaves = shared.join(plans_of(model, PROMPTS[1:], SHORT))
    shared.advance()
    shared.leave(leaves)
    assert shared.rows == 1
    shared.advance()
    assert len(shared.event.z) == 4 and shared.event.active.tolist() == [True, False, False, False]
    while not stays.finished:
        assert leaves not in shared.advance()
    assert stays.texts == model.generate(PROMPTS[:1], SHORT)


def test_who_leaves_before_its_first_block_is_never_computed(model):
    shared = SharedRun(model.sampler, SHORT)
    shared.leave(shared.join(plans_of(model, PROMPTS[:1], SHORT)))
    assert shared.advance() == [] and shared.rows == 0


def test_when_all_have_left_the_run_ends_and_begins_anew_for_the_next(model):
    shared = SharedRun(model.sampler, SHORT)
    group = shared.join(plans_of(model, PROMPTS[:1], SHORT))
    shared.advance()
    shared.leave(group)
    assert shared.advance() == []
    later = shared.join(plans_of(model, PROMPTS[1:2], SHORT))
    while not later.finished:
        assert shared.advance() == [later]
    assert later.texts == model.generate(PROMPTS[1:2], SHORT)


def test_another_flow_is_refused(model):
    shared = SharedRun(model.sampler, SHORT)
    with pytest.raises(PlanError, match="another flow"):
        shared.join(plans_of(model, PROMPTS[:1], dataclasses.replace(SHORT, steps=4)))


def test_a_plan_that_resumes_in_a_block_is_refused(model):
    plan = model.plan("", SHORT)
    plan.state, plan.first_step = torch.zeros(plan.source.shape[1:]), 1
    with pytest.raises(PlanError, match="middle of a block"):
        SharedRun(model.sampler, SHORT).join([plan])


def test_a_long_run_of_comings_and_goings_does_not_grow(model):
    shared, settings = SharedRun(model.sampler, SHORT), dataclasses.replace(SHORT, max_new_tokens=20)
    plans = [plans_of(model, [prompt], settings) for prompt in PROMPTS]
    longest = max(len(plan.prefix) + 2 * plan.source[..., 0].numel() for (plan,) in plans)
    for index in range(16):
        shared.join(plans[index % 4])
        for _ in range(4):
            shared.advance()
        assert len(shared._run.plans) <= 6
        assert shared._run.flow_cache.capacity <= longest

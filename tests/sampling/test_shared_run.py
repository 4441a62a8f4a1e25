"""Sequences of different people in one batch: each comes out as it does alone."""

import dataclasses
import random

import pytest
import torch

from coladlm import (
    BlockDone,
    ColaDLM,
    Finished,
    PlanError,
    SamplerSettings,
    Step,
)
from coladlm.latent import exact_settings, lay_out
from coladlm.latent.invert import text_plan
from coladlm.sampling import history, shared_run
from coladlm.sampling.shared_run import SharedRun

SHORT = SamplerSettings(steps=3, guidance=2.0, max_new_tokens=10, stop_at_end=False)
PROMPTS = ["Once upon a time there was a little", "The cat sat", "", "She said hello to the bird. One day it went away"]


@pytest.fixture(scope="module")
def model(golden_folder) -> ColaDLM:
    return ColaDLM.from_pretrained(golden_folder, device="cpu", dtype="float32")


def plans_of(model, prompts, settings):
    return [dataclasses.replace(plan, settings=settings) for plan in model.plans(prompts, settings)]


def own_settings(base, index):
    """Settings of the same flow that differ in everything else."""
    return dataclasses.replace(
        base,
        seed=index,
        max_new_tokens=4 + 5 * (index % 4),
        temperature=(0.0, 1.0)[index % 2],
        top_k=(0, 5)[index % 3 == 0],
        repetition_penalty=(1.0, 1.4)[index % 3 == 1],
        no_repeat_ngram_size=(0, 2, 3)[index % 3],
    )


@pytest.mark.parametrize("kind", ["latents", "reencoded"])
@pytest.mark.parametrize("stochasticity", [0.0, 1.0])
def test_whoever_joins_when_gets_what_it_gets_alone(model, kind, stochasticity):
    base = dataclasses.replace(SHORT, history=kind, stochasticity=stochasticity)
    shared = SharedRun(model.sampler, base)
    asked, groups = [], []
    draw = random.Random(7)
    while len(groups) < 7 or not all(group.finished for group in groups):
        if len(groups) < 7 and draw.random() < 0.4:
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


@pytest.mark.parametrize("block_size", [None, 2])  # smaller ones than the VAE's are read again with what follows
@pytest.mark.parametrize("kind", ["latents", "reencoded"])
def test_a_preview_is_read_of_those_who_ask_alone_and_in_one_pass(model, monkeypatch, kind, block_size):
    settings = dataclasses.replace(SHORT, history=kind, block_size=block_size)
    shared = SharedRun(model.sampler, settings)
    groups = [shared.join(plans_of(model, prompts, settings)) for prompts in (PROMPTS[:1], PROMPTS[1:3], PROMPTS[3:])]
    decode, read = history.History.decode, []
    while not groups[0].finished:
        shared.advance()
        if not isinstance(shared.event, Step):
            continue
        whole = shared.event.preview()
        monkeypatch.setattr(history.History, "decode", lambda *given: read.append(len(given[1])) or decode(*given))
        shared.read(groups[1:])
        previews = [shared.of(group).preview() for group in groups[1:]]
        monkeypatch.undo()
        assert read.pop() == 3 and not read
        assert torch.allclose(torch.cat(previews), whole[1:], atol=1e-4)
        assert torch.allclose(shared.event.preview(), whole, atol=1e-6)  # so nothing was left of it in the caches


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


@pytest.fixture
def short_passes(monkeypatch):
    """A prefix of more than 8 latents is a long one."""
    for module in (history, shared_run):
        monkeypatch.setattr(module, "PREFILL_LATENTS", 8)


LONG_PROMPT = "Once upon a time there was a little dog. One day it went away and the cat sat and said hello. " * 2


@pytest.mark.parametrize("kind", ["latents", "reencoded"])
def test_while_a_long_prompt_is_read_the_others_go_on(model, short_passes, kind):
    base = dataclasses.replace(SHORT, history=kind, max_new_tokens=24)
    shared = SharedRun(model.sampler, base)
    first = shared.join(plans_of(model, PROMPTS[1:2], base))
    shared.advance()
    plans = plans_of(model, [LONG_PROMPT, PROMPTS[3]], own_settings(base, 3))
    passes = -(-len(plans[0].prefix) // 8)
    assert passes > 5
    long, beside = shared.join(plans), shared.join(plans_of(model, PROMPTS[2:3], own_settings(base, 4)))
    for _ in range(passes - 1):
        there = shared.advance()
        assert first in there and long not in there
    assert beside.blocks > 0  # it did not wait
    while shared.rows:
        shared.advance()
    assert first.texts == model.generate(PROMPTS[1:2], base)
    assert long.texts == model.generate([LONG_PROMPT, PROMPTS[3]], own_settings(base, 3))
    assert beside.texts == model.generate(PROMPTS[2:3], own_settings(base, 4))


def test_long_prompts_alone_begin_together_and_whoever_leaves_is_not_read_on(model, short_passes):
    shared = SharedRun(model.sampler, SHORT)
    left, mine = (shared.join(plans_of(model, [LONG_PROMPT], own_settings(SHORT, i))) for i in (1, 2))
    other = shared.join(plans_of(model, [LONG_PROMPT[40:]], own_settings(SHORT, 3)))
    assert shared.advance() == [] and shared.rows == 3
    shared.leave(left)
    assert shared.rows == 2
    while shared.rows:
        assert left not in shared.advance()
    assert mine.texts == model.generate([LONG_PROMPT], own_settings(SHORT, 2))
    assert other.texts == model.generate([LONG_PROMPT[40:]], own_settings(SHORT, 3))


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


@pytest.mark.parametrize("stochasticity", [0.0, 1.0])
def test_a_plan_that_resumes_in_a_block_ends_beside_others_as_it_does_alone(model, stochasticity):
    settings = dataclasses.replace(SHORT, steps=4, stochasticity=stochasticity)
    [plan] = plans_of(model, PROMPTS[:1], settings)
    states = [step.z[0] for step in model.run_plans([plan], settings) if isinstance(step, Step) and step.block == 0]
    resumed = dataclasses.replace(plan, state=states[2], first_step=2)
    shared = SharedRun(model.sampler, settings)
    other = shared.join(plans_of(model, PROMPTS[1:], settings))
    shared.advance()
    group, seen = shared.join([resumed]), []
    while not (group.finished and other.finished):
        if group in shared.advance() and isinstance(shared.event, Step):
            seen.append(shared.of(group))
    alone = [event for event in model.run_plans([resumed], settings) if isinstance(event, Step)]
    assert [(step.block, step.index) for step in seen] == [(step.block, step.index) for step in alone]
    assert (seen[0].block, seen[0].index) == (0, 2)
    for step, expected in zip(seen, alone, strict=True):
        assert torch.allclose(step.z, expected.z, atol=1e-4)
    assert group.texts == model.generate(PROMPTS[:1], settings)
    assert other.texts == model.generate(PROMPTS[1:], settings)


def test_inversions_share_a_run_and_each_finds_the_noise_that_it_finds_alone(model):
    settings = exact_settings(SHORT)
    whole = dataclasses.replace(settings, stop_at_end=False)
    layouts = lay_out(model, [model.tokenize(text) for text in (PROMPTS[0], PROMPTS[3], PROMPTS[1])])
    plans = [dataclasses.replace(text_plan(model, layout), settings=whole) for layout in layouts]
    shared = SharedRun(model.sampler, whole, invert=True, inverse_iterations=3)
    groups, found = [shared.join(plans[:1])], {}
    while not all(group.finished for group in groups):
        for group in shared.advance():
            if isinstance(shared.event, BlockDone):
                found.setdefault(group, []).append(shared.of(group).latents)
        if len(groups) < len(plans):
            groups.append(shared.join(plans[len(groups) :][:1]))
    for group, plan in zip(groups, plans, strict=True):
        alone = [event.latents for event in model.run_plans([plan], whole, True, 3) if isinstance(event, BlockDone)]
        assert torch.allclose(torch.cat(found[group]), torch.cat(alone), atol=1e-4)


def test_a_long_run_of_comings_and_goings_does_not_grow(model):
    shared, settings = SharedRun(model.sampler, SHORT), dataclasses.replace(SHORT, max_new_tokens=20)
    plans = [plans_of(model, [prompt], settings) for prompt in PROMPTS]
    longest = max(len(plan.prefix) + 2 * plan.source[..., 0].numel() for (plan,) in plans)
    for index in range(16):
        shared.join(plans[index % 4])
        for _ in range(4):
            shared.advance()
        assert len(shared._run.batch) <= 6
        assert shared._run.history.flow_cache.capacity <= longest

"""A branch goes on from a state of a run: as the run did, if nothing is changed; and what was before stays."""

import dataclasses

import numpy as np
import pytest

from coladlm import SamplerSettings
from coladlm.latent.branch import (
    BranchError,
    BranchRecorder,
    Spot,
    check_fits,
    history_of,
    plan_branch,
    run_branch,
    sequence_key,
)
from coladlm.recipe import Recipe
from coladlm.run import recorder, run

PROMPTS = ("Once upon a time there was a little", "The cat sat", "")
SETTINGS = SamplerSettings(steps=5, guidance=3.0, max_new_tokens=14, stop_at_end=False, repetition_penalty=1.3,
                           no_repeat_ngram_size=2, seed=4)  # fmt: skip


def traced(model, settings=SETTINGS, dtype="float32"):
    recipe = Recipe("generate", PROMPTS, settings, model=model.fingerprint)
    record = recorder(recipe, dtype=dtype)
    for _ in record.watch(run(model, recipe)):
        pass
    return record.trace()


@pytest.fixture(scope="module")
def trace(model):
    return traced(model)


def branched(model, trace, spot, settings=None, fresh=None):
    settings = settings or trace.recipe.settings
    recipe = Recipe("branch", (trace.prompts[spot.sequence],), settings,
                    options={"key": sequence_key(trace, spot.sequence) if fresh is None else fresh})  # fmt: skip
    record = BranchRecorder(trace, spot, settings, recipe)
    for _ in record.watch(run_branch(model, trace, spot, settings, fresh)):
        pass
    return record.trace(model)


def assert_same_run(branch, trace, sequence):
    blocks = int(trace.active[sequence].sum())
    np.testing.assert_array_equal(branch.token_ids[0, :blocks], trace.token_ids[sequence, :blocks])
    np.testing.assert_allclose(branch.latents[0, :blocks], trace.latents[sequence, :blocks], rtol=0, atol=1e-4)
    assert branch.texts == [trace.texts[sequence]]
    assert branch.answers == [trace.answers[sequence]]


@pytest.mark.parametrize("sequence", [0, 1, 2])
@pytest.mark.parametrize(("block", "step"), [(0, 0), (0, 3), (1, 0), (2, 4)])
def test_a_branch_that_changes_nothing_ends_as_the_run(model, trace, sequence, block, step):
    assert_same_run(branched(model, trace, Spot(sequence, block, step)), trace, sequence)


@pytest.mark.parametrize(
    "change",
    [
        {"solver": "heun"},
        {"stochasticity": 0.7},
        {"history": "reencoded"},
        {"temperature": 1.0, "top_k": 0, "top_p": 1.0},
        {"guidance": 1.0},
        {"time_grid": "cosine", "time_shift": 2.0},
        {"stagger": 0.6},
    ],
)
def test_it_does_so_under_every_kind_of_sampling(model, change):
    trace = traced(model, dataclasses.replace(SETTINGS, **change))
    assert_same_run(branched(model, trace, Spot(0, 1, 2)), trace, 0)


@pytest.mark.parametrize("changes", [{}, {"stagger": 0.0, "noises": 3}], ids=str)
def test_the_sentence_that_is_left_out_may_begin_before_the_branch(bundled, changes):
    settings = dataclasses.replace(bundled.defaults, steps=4, max_new_tokens=16, seed=2, stop_at_end=False, **changes)
    recipe = Recipe("generate", ("Once upon a time, there was a little fox who",), settings, model=bundled.fingerprint)
    record = recorder(recipe, dtype="float32")
    for _ in record.watch(run(bundled, recipe)):
        pass
    trace = record.trace()
    (answer,), written = trace.answers, trace.token_ids[0].size
    assert bundled.read(list(answer)).endswith(".") and len(answer) < written - bundled.block_size
    assert_same_run(branched(bundled, trace, Spot(0, trace.token_ids.shape[1] - 1, 1)), trace, 0)


def test_a_run_that_was_recorded_whole_joins_its_branch(model, trace):
    spot = Spot(0, 1, 3)
    branch = branched(model, trace, spot)
    assert branch.recorded[:, :].all()
    np.testing.assert_array_equal(branch.z[0, 0], trace.z[0, 0])
    np.testing.assert_array_equal(branch.z[0, 1, :3], trace.z[0, 1, :3])
    np.testing.assert_array_equal(branch.preview_ids[0, 1, :3], trace.preview_ids[0, 1, :3])


def test_other_noise_leaves_what_was_before_and_changes_what_comes(model, trace):
    branch = branched(model, trace, Spot(0, 1, 1), fresh=77)
    np.testing.assert_array_equal(branch.latents[0, 0], trace.latents[0, 0])
    np.testing.assert_array_equal(branch.z[0, 1, 0], trace.z[0, 1, 0])
    assert not np.allclose(branch.z[0, 1, 1], trace.z[0, 1, 1])
    assert not np.allclose(branch.latents[0, 2], trace.latents[0, 2])


def test_other_noise_keeps_the_clean_estimate_and_the_pinned_places(model, trace):
    spot = Spot(0, 0, 2)
    plan = plan_branch(model, trace, spot, fresh=5)
    pinned = trace.t[0, 0, 2] == 0
    assert pinned.any()
    np.testing.assert_array_equal(plan.state[pinned], trace.z[0, 0, 2][pinned])
    share = trace.t[0, 0, 2][~pinned][:, None] / 1000
    noise = (plan.state[~pinned].numpy() - (1 - share) * trace.clean()[0, 0, 2][~pinned]) / share
    assert 0.5 < noise.std() < 1.6


def test_another_stagger_takes_finished_positions_back_to_noise(model):
    trace = traced(model, dataclasses.replace(SETTINGS, stagger=1.0, steps=8))
    spot = Spot(0, 1, 4)  # two of four positions are finished
    together = dataclasses.replace(SETTINGS, stagger=0.0, steps=8)
    plan = plan_branch(model, trace, spot, together)
    share = 1 - plan.first_step / 8  # all at noise and half of it are as near
    assert 0.5 <= share <= 1
    clean = trace.clean()[0, 1, 4][:2]
    noise = (plan.state[:2].numpy() - (1 - share) * clean) / share
    assert 0.4 < noise.std() < 1.7
    assert list(run_branch(model, trace, spot, together))[-1].texts


def test_other_steps_begin_where_the_state_stands(model, trace):
    finer = dataclasses.replace(SETTINGS, steps=10)
    plan = plan_branch(model, trace, Spot(1, 1, 2), finer)
    assert plan.first_step == 4
    np.testing.assert_allclose(plan.state, trace.z[1, 1, 2], rtol=1e-6)
    branch = branched(model, trace, Spot(1, 1, 2), finer)
    assert branch.t[0, 1, 4, 0] == pytest.approx(600)
    assert not branch.recorded[1, :4].any()
    assert branch.recorded[1, 4:10].all()


def test_a_grid_without_this_time_is_entered_along_the_velocity(model, trace):
    coarser = dataclasses.replace(SETTINGS, steps=3)
    plan = plan_branch(model, trace, Spot(1, 1, 2), coarser)  # t = 600, the nearest is 2000/3
    moved = trace.z[1, 1, 2] - (600 - 2000 / 3) / 1000 * trace.velocity[1, 1, 2]
    np.testing.assert_allclose(plan.state, moved, rtol=1e-5, atol=1e-6)


def test_a_branch_of_a_branch_goes_on_too(model, trace):
    first = branched(model, trace, Spot(0, 1, 2))
    assert_same_run(branched(model, first, Spot(0, 2, 1)), trace, 0)


def test_a_trace_in_half_precision_branches_to_nearly_the_same(model):
    trace = traced(model, dtype="float16")
    branch = branched(model, trace, Spot(0, 1, 4))
    np.testing.assert_allclose(branch.latents[0, 1], trace.latents[0, 1], atol=0.05)


def test_the_history_is_what_later_blocks_read(model, trace):
    history = history_of(model, trace, 0, 2)
    prompt = model.encode_texts([PROMPTS[0]])[0]
    np.testing.assert_array_equal(history.latents[:12], prompt.latents[:12])
    np.testing.assert_array_equal(history.latents[12:], trace.latents[0, :2].reshape(-1, 8))
    assert len(history.ids) == len(history.latents)


@pytest.mark.parametrize("spot", [Spot(3, 0, 0), Spot(0, 9, 0), Spot(0, 0, 5), Spot(-1, 0, 0), Spot(1, 4, 0)])
def test_a_spot_that_the_run_never_reached_is_refused(model, trace, spot):
    with pytest.raises(BranchError, match="there is no state before step"):
        plan_branch(model, trace, spot)


def test_a_trace_of_another_operation_is_refused(model, trace):
    other = dataclasses.replace(trace, recipe=dataclasses.replace(trace.recipe, operation="edit"))
    with pytest.raises(BranchError, match="operation 'edit', expected one of 'generate'"):
        plan_branch(model, other, Spot(0, 0, 0))


def test_a_trace_of_another_model_is_refused(model, trace):
    foreign = dataclasses.replace(trace, token_ids=trace.token_ids + 100_000)
    with pytest.raises(BranchError, match="token_ids go up to 100"):
        check_fits(model, foreign)

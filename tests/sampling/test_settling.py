"""A block that is ended early: when, with what words, and the same alone, in a batch, and when it is replayed."""

import dataclasses

import pytest
import torch

from coladlm import BlockDone, ColaDLM, Finished, SamplerSettings, Step
from coladlm.latent.branch import BranchError, Spot, plan_branch
from coladlm.recipe import Recipe
from coladlm.run import run
from coladlm.sampling.settling import Settling
from coladlm.sampling.shared_run import SharedRun
from coladlm.trace.measures import measure
from coladlm.trace.recorder import TraceRecorder

PROMPTS = ["Once upon a time there was a little", "The cat sat", "", "She said hello to the bird. One day"]
# short steps at the end, where words of random weights come to rest too
SETTLED = SamplerSettings(steps=8, guidance=2.0, max_new_tokens=6, stop_at_end=False, time_grid="quadratic",
                          stop_when_settled=1)  # fmt: skip


@pytest.fixture(scope="module")
def model(golden_folder) -> ColaDLM:
    return ColaDLM.from_pretrained(golden_folder, device="cpu", dtype="float32")


def looks(patience, words, free=None, begun=None):
    """After how many looks each row has settled; None for never. words: rows of the words of each step."""
    ids = torch.tensor(words)  # (rows, steps, b)
    rows, steps, b = ids.shape
    settling = Settling(patience, torch.ones(rows, b, dtype=torch.bool) if free is None else torch.tensor(free))
    found = [None] * rows
    for step in range(steps):
        settling.look(ids[:, step], torch.tensor([step >= first for first in begun or [0] * rows]))
        for row in range(rows):
            if settling.done[row] and found[row] is None:
                found[row] = step + 1
    return found


def test_a_row_settles_after_so_many_steps_without_a_change():
    assert looks(1, [[[1], [1], [1]]]) == [2]
    assert looks(2, [[[1], [1], [1]]]) == [3]
    assert looks(3, [[[1], [1], [1]]]) == [None]
    assert looks(2, [[[1], [2], [2], [2]], [[1], [1], [2], [2]]]) == [4, None]


def test_every_position_counts_but_those_that_are_pinned():
    words = [[[1, 1], [1, 2], [1, 2], [1, 3]]]
    assert looks(2, words) == [None]
    assert looks(2, words, free=[[True, False]]) == [3]


def test_a_row_that_begins_later_is_looked_at_from_there():
    assert looks(2, [[[1]] * 6, [[1]] * 6], begun=[0, 2]) == [3, 5]


def steps_of(model, prompts, settings):
    events = list(model.sample(prompts, settings))
    return [event for event in events if isinstance(event, Step)], events


@pytest.mark.parametrize("changes", [{}, {"stagger": 0.5}, {"solver": "heun"}])
def test_a_block_ends_at_its_clean_estimate_once_its_words_have_stood(model, changes):
    settings = dataclasses.replace(SETTLED, max_new_tokens=4, **changes)
    whole, _ = steps_of(model, [""], dataclasses.replace(settings, stop_when_settled=0))
    words = [step.preview().argmax(-1)[0].tolist() for step in model.sample([""], dataclasses.replace(
        settings, stop_when_settled=0)) if isinstance(step, Step)]  # fmt: skip
    waits = sum(bool((step.t == 1000).any()) for step in whole)
    assert waits == (1 if "stagger" not in changes else 5)
    wanted = waits + looks(1, [words[waits:]])[0]
    seen, events = steps_of(model, [""], settings)
    assert len(seen) == wanted < settings.steps
    done = next(event for event in events if isinstance(event, BlockDone))
    torch.testing.assert_close(done.latents, whole[wanted - 1].clean)
    assert done.token_ids[0].tolist() == words[wanted - 1]


def test_none_takes_every_step_and_a_patience_beyond_them_changes_nothing(model):
    off, late = (dataclasses.replace(SETTLED, stop_when_settled=k) for k in (0, 8))
    (seen, events), (others, same) = steps_of(model, PROMPTS, off), steps_of(model, PROMPTS, late)
    assert len(seen) == len(others) == 8 * sum(isinstance(event, BlockDone) for event in events)
    for step, other in zip(seen, others, strict=True):
        assert torch.equal(step.z, other.z)
    assert events[-1] == same[-1]


@pytest.mark.parametrize("changes", [{"stagger": 0.5}, {"stochasticity": 0.3, "history": "reencoded"},
                                     {"solver": "heun"}])  # fmt: skip
def test_a_row_that_settles_in_a_batch_is_the_one_that_settles_alone(model, changes):
    settings = dataclasses.replace(SETTLED, **changes)
    together, events = steps_of(model, PROMPTS, settings)
    assert len(together) < settings.steps * sum(isinstance(event, BlockDone) for event in events)
    for row, prompt in enumerate(PROMPTS):
        own = list(model.sample([prompt], settings, sequences=[row]))
        alone = [event for event in own if isinstance(event, Step)]
        assert own[-1].texts[0] == events[-1].texts[row]
        for step in alone:
            other = next(s for s in together if (s.block, s.index) == (step.block, step.index))
            torch.testing.assert_close(other.z[row], step.z[0], rtol=1e-3, atol=1e-4)
        done = [event.latents[row] for event in events if isinstance(event, BlockDone)]
        for found, wanted in zip(done, (e.latents[0] for e in own if isinstance(e, BlockDone)), strict=False):
            torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)


def test_a_row_that_has_settled_stands_still_with_its_words(model):
    seen, events = steps_of(model, PROMPTS, SETTLED)
    latents = {event.block: event.latents for event in events if isinstance(event, BlockDone)}
    still = [(step, row) for step in seen for row in range(4) if step.active[row] and not step.t[row].any()]
    assert still
    for step, row in still:
        assert not step.velocity[row].any() and not step.t_next[row].any()
        assert torch.equal(step.z[row], latents[step.block][row])


def test_whoever_joins_and_leaves_gets_what_it_gets_alone(model):
    shared = SharedRun(model.sampler, SETTLED)

    def join(prompts, seed):
        own = dataclasses.replace(SETTLED, seed=seed)
        plans = [dataclasses.replace(plan, settings=own) for plan in model.plans(prompts, own)]
        return shared.join(plans), prompts, own

    asked = [join(PROMPTS[:1], 1)]
    shared.advance()
    asked += [join(PROMPTS[1:3], 2), join(PROMPTS[3:], 3)]
    left, _, _ = join(PROMPTS[2:], 4)
    while not left.blocks:
        shared.advance()
    shared.advance()
    shared.leave(left)
    while shared.rows:
        shared.advance()
    for group, prompts, own in asked:
        assert group.texts == model.generate(prompts, own)


def test_a_recorded_run_is_replayed_to_the_same_text(model):
    recipe = Recipe("generate", tuple(PROMPTS), SETTLED, 1, {}, model.fingerprint)
    recorder = TraceRecorder(recipe)
    *_, finished = recorder.watch(run(model, recipe))
    trace = recorder.trace()
    assert isinstance(finished, Finished) and trace.texts == finished.texts
    assert not trace.recorded.all() and trace.recorded[:, 0].all() and trace.finished.all()
    *_, again = run(model, Recipe.from_json(recipe.to_json()))
    assert again.texts == finished.texts


def test_a_trace_knows_when_words_settled_and_where_there_is_nothing_to_branch_from(model):
    recipe = Recipe("generate", ("", PROMPTS[1]), SETTLED, 1, {}, model.fingerprint)
    recorder, alone = TraceRecorder(recipe), TraceRecorder(dataclasses.replace(recipe, texts=("",)))
    for watched in (recorder, alone):
        for _ in watched.watch(run(model, watched.recipe)):
            pass
    trace, own = recorder.trace(), alone.trace()
    taken = int(own.recorded[0].sum())
    assert taken < SETTLED.steps
    settled = measure(own).settled[0, 0]
    assert (settled <= taken - 1 - SETTLED.stop_when_settled).all() and settled.max() > 0
    assert (measure(trace).settled[0, 0] == settled).all()
    plan_branch(model, trace, Spot(0, 0, taken - 1))
    with pytest.raises(BranchError, match="no state before step"):
        plan_branch(model, trace, Spot(0, 0, taken))


def test_an_inversion_takes_every_step(model):
    settings = dataclasses.replace(SETTLED, guidance=1.0)
    plans = model.plans([PROMPTS[3]], settings)
    seen = [event for event in model.run_plans(plans, settings, invert=True) if isinstance(event, Step)]
    assert len(seen) % settings.steps == 0

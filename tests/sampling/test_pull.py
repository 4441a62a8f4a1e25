"""A text that is drawn towards another one: the arithmetic, alone as in a batch, replayed and branched, and refused."""

import contextlib
import dataclasses

import pytest
import torch

from coladlm import Finished, SamplerSettings
from coladlm.latent.branch import Spot, run_branch
from coladlm.latent.other_texts import BLOCKS, pull_of
from coladlm.recipe import Recipe, RecipeError
from coladlm.run import recorder, run
from coladlm.sampling.events import Step
from coladlm.sampling.plan import PlanError
from coladlm.sampling.shared_run import SharedRun

SETTINGS = SamplerSettings(steps=2, max_new_tokens=10, guidance=2.0, stop_at_end=False)
PROMPT, TOWARDS = "Once upon a time there was a", "The dog barked. The big dog ran."
TOLERANCE = (
    1e-4  # of velocities of size 1 in float32, summed in another order over a sequence that is not cut in blocks
)


def recipe(settings=SETTINGS, variations=1, prompt=PROMPT, **options) -> Recipe:
    return Recipe("generate", (prompt,), settings, variations, options)


def steps(model, recipe) -> list[Step]:
    return [event for event in run(model, recipe) if isinstance(event, Step)]


def answers(model, recipe) -> list[list[int]]:
    return next(event for event in run(model, recipe) if isinstance(event, Finished)).token_ids


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("prompt", [PROMPT, ""])
@pytest.mark.parametrize("stagger", [0.0, 0.5])
def test_the_velocity_has_that_after_the_text_less_that_after_nothing(model, guidance, prompt, stagger):
    settings = dataclasses.replace(SETTINGS, guidance=guidance, stagger=stagger)
    pull = pull_of(model, {"towards": TOWARDS})
    with_pull, without = (
        steps(model, recipe(settings, prompt=prompt, towards=TOWARDS, pull=0.7)),
        steps(model, recipe(settings, prompt=prompt)),
    )
    first, plain = with_pull[0], without[0]
    torch.testing.assert_close(first.z, plain.z, rtol=0, atol=0)
    t, n = first.t[0], len(pull.latents)
    after = model.velocity(torch.cat((pull.latents, first.z[0])), torch.cat((torch.zeros(n), t)))[n:]
    alone = model.velocity(first.z[0], t)
    torch.testing.assert_close(first.velocity[0], plain.velocity[0] + 0.7 * (after - alone), rtol=0, atol=TOLERANCE)


def test_it_acts_between_its_times_alone(model):
    window = {"towards": TOWARDS, "pull": 3.0, "pull_low": 900.0, "pull_high": 1000.0}
    never = {**window, "pull_low": 999.5, "pull_high": 999.6}
    assert answers(model, recipe(**never)) == answers(model, recipe())
    with_pull, without = steps(model, recipe(**window)), steps(model, recipe())
    assert not torch.equal(with_pull[0].velocity, without[0].velocity)


def test_without_a_strength_nothing_changes(model):
    assert answers(model, recipe(towards=TOWARDS, pull=0.0)) == answers(model, recipe())


@pytest.mark.parametrize("options", [{"pull": 2.0}, {"pull": 0.0}, {"pull_low": 500.0}])
def test_a_strength_without_a_text_is_refused(model, options):
    (name, value), *_ = options.items()
    wanted = "a text that the answer is drawn towards, since options"
    with pytest.raises(RecipeError, match=rf"options.towards is missing, expected {wanted}.{name} is {value:g}"):
        run(model, recipe(**options))


def test_variations_are_the_same_alone_and_in_a_batch(model):
    several, alone = recipe(variations=3, towards=TOWARDS), recipe(towards=TOWARDS)
    assert answers(model, several)[0] == answers(model, alone)[0]


def test_rows_with_other_pulls_and_none_share_a_batch_that_they_join_and_leave(model):
    plans = []
    for sequence, text in enumerate((TOWARDS, None, "It was a sunny day. " * 8, "a cat")):
        plan = model.plan(PROMPT, SETTINGS, sequence)
        pull = None if text is None else pull_of(model, {"towards": text, "pull": -0.5})
        plans.append(dataclasses.replace(plan, pull=pull))
    alone = [list(model.run_plans([plan], SETTINGS))[-1].token_ids[0] for plan in plans]
    shared = SharedRun(model.sampler, SETTINGS)
    with contextlib.closing(shared):
        groups = [shared.join(plans[:2])]
        shared.advance()
        groups.append(shared.join(plans[2:]))
        stays = groups[1]
        while shared.rows:
            shared.advance()
            if groups[0].blocks == 2 and not groups[0].left:
                shared.leave(groups[0])
    assert stays.token_ids == alone[2:]
    assert alone[0][: len(groups[0].token_ids[0])] == groups[0].token_ids[0]


def test_a_branch_that_changes_nothing_gives_the_run_again(model):
    made = recipe(towards=TOWARDS)
    record = recorder(made, dtype="float32")
    for _ in record.watch(run(model, made)):
        pass
    trace = record.trace()
    *_, end = run_branch(model, trace, Spot(0, 1, 1))
    assert trace.answer(0)[-len(end.token_ids[0]) :] == end.token_ids[0]


def test_a_short_text_is_repeated_and_a_long_one_cut_to_whole_blocks(model):
    b = model.block_size
    short, long = (pull_of(model, {"towards": text}).latents for text in ("dog", TOWARDS * 10))
    assert BLOCKS * b <= len(short) and len(short) % b == 0
    assert len(long) == len(model.tokenize(TOWARDS * 10)) // b * b


@pytest.mark.parametrize(
    ("options", "sentence"),
    [({"towards": " \n"}, "options.towards is empty"), ({"towards": "a b " * 600}, "expected at most 512"),
     ({"towards": "a", "pull": 5.0}, "options.pull"), ({"towards": ""}, "options.towards"),
     ({"towards": "a", "pull_low": 700.0, "pull_high": 300.0}, "options.pull_low is 700")],
)  # fmt: skip
def test_odd_input_gets_a_sentence(model, options, sentence):
    with pytest.raises(RecipeError, match=sentence):
        list(run(model, recipe(**options)))


def test_a_pull_of_broken_blocks_is_refused(model):
    plan = model.plan(PROMPT, SETTINGS)
    pull = dataclasses.replace(pull_of(model, {"towards": TOWARDS}), latents=torch.zeros(3, model.latent_dim))
    with pytest.raises(PlanError, match="3 latents, expected whole blocks"):
        model.run_plans([dataclasses.replace(plan, pull=pull)], SETTINGS)

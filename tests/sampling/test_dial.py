"""A text that a direction turns: the arithmetic, alone as in a batch, replayed and branched, and refused."""

import contextlib
import dataclasses

import pytest
import torch

from coladlm import Finished, SamplerSettings
from coladlm.latent.branch import Spot, run_branch
from coladlm.latent.other_texts import dial_of, with_other_texts
from coladlm.recipe import Recipe, RecipeError
from coladlm.run import recorder, run
from coladlm.sampling.events import Step
from coladlm.sampling.plan import PlanError
from coladlm.sampling.shared_run import SharedRun

SETTINGS = SamplerSettings(steps=3, max_new_tokens=10, guidance=2.0, stop_at_end=False)
PROMPT, SAD = "Once upon a time there was a", {"direction": "happy-sad"}
OWN = {"direction_first": ["The cat sat.", "A cat ran."], "direction_second": ["The dog sat.", "A dog ran."]}
TOLERANCE = 1e-4  # of velocities of size 1 in float32, summed in another order


def recipe(settings=SETTINGS, variations=1, prompt=PROMPT, **options) -> Recipe:
    return Recipe("generate", (prompt,), settings, variations, options)


def steps(model, recipe) -> list[Step]:
    return [event for event in run(model, recipe) if isinstance(event, Step)]


def answers(model, recipe) -> list[list[int]]:
    return next(event for event in run(model, recipe) if isinstance(event, Finished)).token_ids


@pytest.mark.parametrize(
    ("changes", "prompt", "options"),
    [({"guidance": 1.0}, "", OWN), ({"guidance": 3.0, "stagger": 0.5}, PROMPT, OWN), ({"block_size": 2}, PROMPT, OWN),
     ({}, PROMPT, {**OWN, "negative": "A cat sat.", "towards": "A dog ran."})],
)  # fmt: skip
def test_the_velocity_has_that_after_the_second_end_less_that_after_the_first(model, changes, prompt, options):
    settings = dataclasses.replace(SETTINGS, **changes)
    model = model.in_blocks_of(settings)
    dial = dial_of(model, options)
    others = {name: value for name, value in options.items() if not name.startswith("direction")}
    turned = steps(model, recipe(settings, prompt=prompt, **options, direction_strength=-0.7))[0]
    plain = steps(model, recipe(settings, prompt=prompt, **others))[0]
    torch.testing.assert_close(turned.z, plain.z, rtol=0, atol=0)
    first, second = (
        model.velocity(torch.cat((end, plain.z[0])), torch.cat((torch.zeros(len(end)), plain.t[0])))[len(end) :]
        for end in (dial.first, dial.second)
    )
    torch.testing.assert_close(turned.velocity[0], plain.velocity[0] - 0.7 * (second - first), rtol=0, atol=TOLERANCE)


def test_it_acts_between_its_times_alone(model):
    window = {**OWN, "direction_strength": 3.0, "direction_low": 900.0}
    never = {**window, "direction_low": 999.5, "direction_high": 999.6}
    assert answers(model, recipe(**never)) == answers(model, recipe())
    assert not torch.equal(steps(model, recipe(**window))[0].velocity, steps(model, recipe())[0].velocity)
    late = steps(model, recipe(**{**window, "direction_low": 0.0, "direction_high": 900.0}))
    assert torch.equal(late[0].velocity[0, -1], steps(model, recipe())[0].velocity[0, -1])  # the others are given


def test_without_a_strength_nothing_changes(model):
    assert answers(model, recipe(**SAD, direction_strength=0.0)) == answers(model, recipe())


@pytest.mark.parametrize("options", [{"direction_strength": 2.0}, {"direction_high": 500.0}])
def test_a_strength_without_a_direction_is_refused(model, options):
    (name, value), *_ = options.items()
    wanted = "a direction, or sentences at both ends of one, since options"
    with pytest.raises(RecipeError, match=rf"options.direction is missing, expected {wanted}.{name} is {value:g}"):
        run(model, recipe(**options))


def test_a_recipe_without_a_direction_is_written_as_it_always_was(model):
    assert not [name for name in recipe().to_dict()["options"] if name.startswith("direction")]


def test_it_turns_the_text_the_same_each_time_alone_and_in_a_batch(model):
    several = recipe(variations=3, **SAD, direction_strength=2.0)
    found = answers(model, several)
    assert found[0] != answers(model, recipe())[0]
    assert answers(model, Recipe.from_url(several.to_url())) == found
    assert answers(model, recipe(**SAD, direction_strength=2.0))[0] == found[0]


def test_rows_with_other_dials_and_none_share_a_batch_that_they_join_and_leave(model):
    plans = []
    for sequence, options in enumerate(
        (
            SAD,
            {},
            {**OWN, "towards": "a cat"},
            {"direction_first": OWN["direction_second"], "direction_second": ["It was a sunny day. " * 8]},
        )
    ):
        plan = model.plan(PROMPT, SETTINGS, sequence)
        plans += with_other_texts(model, [plan], {**options, "direction_strength": -0.5} if options else {})
    alone = [list(model.run_plans([plan], SETTINGS))[-1].token_ids[0] for plan in plans]
    shared = SharedRun(model.sampler, SETTINGS)
    with contextlib.closing(shared):
        groups = [shared.join(plans[:2])]
        shared.advance()
        groups.append(shared.join(plans[2:]))
        while shared.rows:
            shared.advance()
            if groups[0].blocks == 2 and not groups[0].left:
                shared.leave(groups[0])
    assert groups[1].token_ids == alone[2:]
    assert alone[0][: len(groups[0].token_ids[0])] == groups[0].token_ids[0]


def test_a_branch_that_changes_nothing_gives_the_run_again(model):
    made = recipe(**OWN)
    record = recorder(made, dtype="float32")
    for _ in record.watch(run(model, made)):
        pass
    trace = record.trace()
    *_, end = run_branch(model, trace, Spot(0, 1, 1))
    assert trace.answer(0)[-len(end.token_ids[0]) :] == end.token_ids[0]


def test_what_fills_holes_is_turned_too(model):
    holed = Recipe("fill", ("The ___ was ___ and ___.",), SETTINGS, 2, {"longest": 1})
    turned = dataclasses.replace(holed, options={"longest": 1, **OWN, "direction_strength": 3.0})
    assert answers(model, turned) != answers(model, holed)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [({"direction": "up-down"}, "direction is 'up-down', expected one of .*happy-sad"),
     ({**SAD, **OWN}, "options.direction is 'happy-sad' together with lists of sentences"),
     ({"direction_first": ["a cat"]}, "options.direction_second is missing"),
     ({"direction_first": ["a", " "], "direction_second": ["b"]}, r"options.direction_first\[1\] is empty"),
     ({**OWN, "direction_second": ["a b " * 300]}, "options.direction_second is .* tokens long, expected at most 512"),
     ({**SAD, "direction_strength": 5.0}, "options.direction_strength"),
     ({**SAD, "direction_low": 700.0, "direction_high": 300.0}, "options.direction_low is 700")],
)  # fmt: skip
def test_odd_input_gets_a_sentence(model, options, sentence):
    with pytest.raises(RecipeError, match=sentence):
        list(run(model, recipe(**options)))


def test_a_dial_of_broken_blocks_is_refused(model):
    plan = model.plan(PROMPT, SETTINGS)
    dial = dataclasses.replace(dial_of(model, SAD), second=torch.zeros(3, model.latent_dim))
    with pytest.raises(PlanError, match="the second end of its dial has 3 latents, expected whole blocks"):
        model.run_plans([dataclasses.replace(plan, dial=dial)], SETTINGS)

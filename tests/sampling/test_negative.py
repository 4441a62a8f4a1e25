"""A negative prompt, which guidance leads away from: the arithmetic, alone as in a batch, replayed, and refused."""

import contextlib
import dataclasses

import pytest
import torch

from coladlm import Finished, SamplerSettings
from coladlm.latent.branch import Spot, run_branch
from coladlm.latent.other_texts import negative_of, with_other_texts
from coladlm.recipe import Recipe, RecipeError
from coladlm.run import recorder, run
from coladlm.sampling.events import Step
from coladlm.sampling.plan import PlanError
from coladlm.sampling.shared_run import SharedRun

SETTINGS = SamplerSettings(steps=2, max_new_tokens=10, guidance=2.0, stop_at_end=False)
PROMPT, NEGATIVE = "Once upon a time there was a", "The dog barked. The big dog ran."
TOLERANCE = 1e-4  # of velocities of size 1 in float32, summed in another order


def recipe(settings=SETTINGS, variations=1, prompt=PROMPT, **options) -> Recipe:
    return Recipe("generate", (prompt,), settings, variations, options)


def first_step(model, recipe) -> Step:
    return next(event for event in run(model, recipe) if isinstance(event, Step))


def answers(model, recipe) -> list[list[int]]:
    return next(event for event in run(model, recipe) if isinstance(event, Finished)).token_ids


@pytest.mark.parametrize("prompt", [PROMPT, ""])
@pytest.mark.parametrize("options", [{}, {"towards": "A cat sat.", "pull": 0.5}])
def test_guidance_leads_from_the_velocity_after_the_text_to_that_after_the_history(model, prompt, options):
    plain = dataclasses.replace(SETTINGS, guidance=1.0, stagger=0.5)
    conditional = first_step(model, recipe(plain, prompt=prompt)).velocity
    pulled = first_step(model, recipe(plain, prompt=prompt, **options)).velocity - conditional
    guided = first_step(model, recipe(dataclasses.replace(plain, guidance=3.0), prompt=prompt, negative=NEGATIVE,
                                        **options))  # fmt: skip
    latents = negative_of(model, {"negative": NEGATIVE})
    n, t = len(latents), guided.t[0]
    after = model.velocity(torch.cat((latents, guided.z[0])), torch.cat((torch.zeros(n), t)))[n:]
    expected = after + 3 * (conditional[0] - after) + pulled[0]
    torch.testing.assert_close(guided.velocity[0], expected, rtol=0, atol=10 * TOLERANCE)
    torch.testing.assert_close(guided.unconditional[0], after, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("settings", [{"guidance": 1.0}, {"guidance_interval": (999.5, 999.6)}])
def test_where_no_guidance_acts_it_says_nothing(model, settings):
    settings = dataclasses.replace(SETTINGS, **settings)
    assert answers(model, recipe(settings, negative=NEGATIVE)) == answers(model, recipe(settings))


def test_variations_are_the_same_alone_and_in_a_batch(model):
    several, alone = recipe(variations=3, negative=NEGATIVE), recipe(negative=NEGATIVE)
    assert answers(model, several)[0] == answers(model, alone)[0] != answers(model, recipe())[0]


def test_rows_with_other_negative_prompts_and_none_share_a_batch_that_they_join_and_leave(model):
    others = [(PROMPT, NEGATIVE), (PROMPT, None), ("", "It was a sunny day. " * 8), ("", None), (PROMPT, "a cat")]
    plans = []
    for sequence, (prompt, text) in enumerate(others):
        options = {"negative": text, "towards": "a dog" if sequence % 2 else None}
        plans += with_other_texts(model, [model.plan(prompt, SETTINGS, sequence)], options)
    alone = [list(model.run_plans([plan], SETTINGS))[-1].token_ids[0] for plan in plans]
    shared = SharedRun(model.sampler, SETTINGS)
    with contextlib.closing(shared):
        leaves = shared.join(plans[:2])
        shared.advance()
        stays = shared.join(plans[2:])
        while shared.rows:
            shared.advance()
            if leaves.blocks == 2 and not leaves.left:
                shared.leave(leaves)
    assert stays.token_ids == alone[2:]
    assert alone[0][: len(leaves.token_ids[0])] == leaves.token_ids[0]


def test_a_recipe_that_was_sent_gives_the_run_again_and_so_does_a_branch_that_changes_nothing(model):
    made = recipe(negative=NEGATIVE)
    record = recorder(made, dtype="float32")
    for _ in record.watch(run(model, made)):
        pass
    trace = record.trace()
    *_, end = run_branch(model, trace, Spot(0, 1, 1))
    assert trace.answer(0) == answers(model, Recipe.from_url(made.to_url()))[0]
    assert trace.answer(0)[-len(end.token_ids[0]) :] == end.token_ids[0]


def test_holes_are_filled_away_from_it(bundled):
    texts = [Recipe("fill", ("The ___ ran to the ___.",), SETTINGS, 2, options) for options in
             ({}, {"negative": NEGATIVE})]  # fmt: skip
    assert answers(bundled, texts[0]) != answers(bundled, texts[1])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [(" \n", "options.negative is empty"), ("a b " * 600, r"options\.negative is .* expected at most 512"),
     ("", "options.negative"), (7, "options.negative is 7, expected a text")],
)  # fmt: skip
def test_odd_input_gets_a_sentence(model, text, sentence):
    with pytest.raises(RecipeError, match=sentence):
        list(run(model, recipe(negative=text)))


def test_broken_blocks_are_refused(model):
    plan = dataclasses.replace(model.plan(PROMPT, SETTINGS), negative=torch.zeros(3, model.latent_dim))
    with pytest.raises(PlanError, match="its negative prompt has 3 latents, expected whole blocks"):
        model.run_plans([plan], SETTINGS)

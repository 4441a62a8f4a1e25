"""What a picture of a run says of how it was made."""

import dataclasses

from app.shared.links import link_of
from app.shared.run_facts import run_facts
from coladlm import SamplerSettings
from coladlm.recipe import Recipe

SETTINGS = SamplerSettings(seed=4, steps=24, guidance=3.0)


def test_the_settings_that_people_use_stand_in_a_line(model):
    settings = dataclasses.replace(SETTINGS, stagger=0.5, stochasticity=0.0)
    facts = run_facts(model, Recipe("generate", ("Once",), settings))
    assert facts["line"] == "seed 4, 24 steps a block, guidance 3, stagger 0.5" and facts["seed"] == 4
    assert not facts["fresh"]


def test_fresh_noise_and_the_text_of_several_are_said(model):
    settings = dataclasses.replace(SETTINGS, stagger=0.0, stochasticity=0.3)
    facts = run_facts(model, Recipe("generate", ("Once",), settings, 3), 1)
    assert facts["line"].endswith("guidance 3, stochasticity 0.3, text 2 of 3") and facts["fresh"]


def test_a_run_of_a_prompt_has_the_link_of_its_recipe_and_a_branch_none(model):
    recipe = Recipe("generate", ("Once",), SETTINGS)
    assert run_facts(model, recipe)["query"] == link_of(recipe)["query"] != ""
    branch = Recipe("branch", ("Once",), SETTINGS, options={"run": "r", "block": 0, "step": 0, "key": 1})
    assert run_facts(model, branch)["query"] == ""

"""How many passes of the DiT a recipe is said to make: as many as it makes."""

import dataclasses

import pytest

from coladlm import SamplerSettings
from coladlm.recipe import Recipe, RecipeError
from coladlm.run import run
from coladlm.serve.passes import flow_batches

from ..token_models import with_tokens

SETTINGS = SamplerSettings(steps=2, max_new_tokens=6, guidance=2.0, stop_at_end=False)
PROMPT, OTHER = "Once upon a time there was a cat.", "The dog barked."
SPAN = {"start": 3, "end": 9}
RECIPES = {
    "generate": ({}, {}),
    "generate, two for each text": ({}, {"variations": 2}),
    "generate, midpoint": ({"solver": "midpoint"}, {}),
    "generate, heun": ({"solver": "heun", "steps": 3}, {}),
    "generate, unguided": ({"guidance": 1.0}, {}),
    "generate, staggered": ({"stagger": 0.5}, {}),
    "generate, blocks of 2": ({"block_size": 2}, {}),
    "generate, steered": ({}, {"options": {"steered": " It was big and"}}),
    "generate, pull": ({}, {"options": {"towards": OTHER}}),
    "generate, pull of nothing": ({}, {"options": {"towards": OTHER, "pull": 0}}),
    "generate, pull, unguided": ({"guidance": 1.0}, {"options": {"towards": OTHER}}),
    "generate, dial": ({}, {"options": {"direction": "happy-sad"}}),
    "generate, dial of one's own": ({}, {"options": {"direction_first": ["I am."], "direction_second": ["I was."]}}),
    "generate, negative": ({}, {"options": {"negative": OTHER}}),
    "generate, negative, unguided": ({"guidance": 1.0}, {"options": {"negative": OTHER}}),
    "generate, all of them": ({"solver": "heun"}, {"options": {"towards": OTHER, "negative": OTHER,
                                                               "direction": "happy-sad"}}),
    "fill": ({}, {"texts": ("Once upon a time the ___ ran to the ___ and home.",), "variations": 5}),
    "fill, pull": ({}, {"texts": ("He sat down and the ___ ran.",), "variations": 6,
                        "options": {"towards": OTHER, "longest": 3}}),
    "edit": ({}, {"options": SPAN, "variations": 3}),
    "edit, all that follows": ({}, {"options": {**SPAN, "follow": 0.5}}),
    "edit, strengths": ({"solver": "midpoint"}, {"options": {**SPAN, "method": "renoise", "strengths": [0.2, 0.5]}}),
    "edit, mix": ({}, {"texts": (PROMPT, OTHER), "options": {**SPAN, "method": "mix"}}),
    "invert": ({}, {}),
    "invert, plainly": ({}, {"options": {"iterations": 0}}),
    "invert, heun": ({"solver": "heun"}, {"options": {"iterations": 3}, "texts": (PROMPT, OTHER)}),
    "interpolate": ({}, {"texts": (PROMPT, OTHER), "options": {"stops": 5}}),
    "interpolate, tries": ({}, {"texts": (PROMPT, OTHER), "options": {"stops": 4, "tries": 3}}),
    "interpolate, after a text": ({}, {"texts": (PROMPT, OTHER), "options": {"stops": 3, "before": "He sat down."}}),
    "interpolate, weights": ({}, {"texts": (PROMPT, "Once there was a big dog in the park."),
                                  "options": {"weights": [1, 2], "tries": 3}}),
    "interpolate, decoder alone": ({}, {"texts": (PROMPT, OTHER), "options": {"road": "decoder_only"}}),
    "interpolate, by noise": ({}, {"texts": (PROMPT, OTHER), "options": {"road": "noise_to_noise", "stops": 3}}),
    "interpolate, by prompts": ({}, {"texts": (PROMPT, OTHER), "options": {"road": "prompt_to_prompt", "stops": 3}}),
}  # fmt: skip


def recipe_of(name) -> Recipe:
    settings, fields = RECIPES[name]
    return Recipe(name.split(",")[0], **{"texts": (PROMPT,), "settings": dataclasses.replace(SETTINGS, **settings),
                                         **fields})  # fmt: skip


def promised(model, recipe) -> int:
    return sum(batch.blocks * batch.passes for batch in flow_batches(model, recipe))


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_makes_the_passes_that_are_promised(model, monkeypatch, name):
    made, velocity = [], model.dit.velocity

    def counted(*args):
        made.append(len(args[0]))
        return velocity(*args)

    recipe = recipe_of(name)
    rows = {batch.rows for batch in flow_batches(model, recipe)}
    monkeypatch.setattr(model.dit, "velocity", counted)
    for _ in run(model, recipe):
        pass
    assert len(made) == promised(model, recipe)
    assert not made or max(made) == max(rows)


def test_without_a_history_there_are_no_more_passes_than_are_promised(model, monkeypatch):
    made, velocity = [], model.dit.velocity
    monkeypatch.setattr(model.dit, "velocity", lambda *args: (made.append(1), velocity(*args))[1])
    recipe = Recipe("generate", ("",), SETTINGS, options={"towards": OTHER})
    for _ in run(model, recipe):
        pass
    assert 2 / 3 * promised(model, recipe) <= len(made) <= promised(model, recipe)


def test_what_is_known_to_fail_is_refused(model):
    for recipe in (
        Recipe("edit", (PROMPT,)),
        Recipe("fill", (PROMPT,)),
        Recipe("generate", (PROMPT,), options={"a": 1}),
    ):
        with pytest.raises(RecipeError):
            flow_batches(model, recipe)


@pytest.mark.parametrize(
    ("operation", "options", "drafts"),
    [("generate", {}, 6), ("fill", {}, 6), ("edit", SPAN, 2), ("edit", {**SPAN, "method": "renoise",
     "strengths": [0.2, 0.5]}, 4), ("interpolate", {"stops": 3}, 3), ("invert", {"using": "as set"}, 1)],
)  # fmt: skip
def test_a_block_has_a_draft_for_each_noise_but_where_rows_have_it_in_common(model, monkeypatch, operation, options,
                                                                             drafts):  # fmt: skip
    one, made = with_tokens(model), []
    velocity = one.dit.velocity
    monkeypatch.setattr(one.dit, "velocity", lambda *args: made.append(len(args[0])) or velocity(*args))
    texts = {"fill": ("Once upon a time the ___ ran home.",), "interpolate": (PROMPT, OTHER)}.get(operation, (PROMPT,))
    several = 2 if operation in ("generate", "fill", "edit") else 1
    recipe = Recipe(operation, texts, dataclasses.replace(SETTINGS, noises=3), variations=several, options=options)
    batches = flow_batches(one, recipe)
    for _ in run(one, recipe):
        pass
    assert sum(batch.blocks * batch.passes for batch in batches) == len(made)
    assert max(made) == max(batch.rows for batch in batches) == drafts

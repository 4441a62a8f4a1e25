"""Links restore recipes."""

import pytest

from app.shared.links import link_of, recipe_from
from coladlm import SamplerSettings
from coladlm.recipe import Recipe, RecipeError


def _query(link):
    key, _, word = link["query"].removeprefix("?").partition("=")
    return {key: word}


def test_a_link_restores_its_recipe():
    recipe = Recipe("generate", ("Ein Fuchs 🦊 שלום",), SamplerSettings(seed=7, steps=3), model="abc")
    assert recipe_from(_query(link_of(recipe)), "generate") == recipe


def test_a_link_of_another_operation_is_left_alone():
    assert recipe_from(_query(link_of(Recipe("invert", ("x",)))), "generate") is None


def test_an_address_without_a_recipe_is_no_link():
    assert recipe_from({}, "generate") is None
    assert recipe_from({"r": ""}, "generate") is None


def test_a_text_too_long_for_a_link_has_none():
    words = " ".join(str(i * 7919 % 100003) for i in range(9000))
    assert link_of(Recipe("generate", (words,)))["query"] == ""


@pytest.mark.parametrize("word", ["nonsense", "%00", "a" * 50_000, "eJwDAAAAAAE", "../../etc/passwd"])
def test_a_broken_link_is_refused(word):
    with pytest.raises(RecipeError):
        recipe_from({"r": word}, "generate")

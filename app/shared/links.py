"""Recipes to and from links: the query `r=` of the page's address is a recipe in its URL form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coladlm.recipe import Recipe, RecipeError

KEY = "r"
MAX_LINK = 8000  # characters: servers and messengers cut what is longer


def link_of(recipe: Recipe) -> dict[str, Any]:
    """What a ShareLink needs to restore `recipe`: the query of the link, "" where its texts are too long for one, and
    the recipe itself as JSON, for a file and for the browser's history.
    """
    try:
        query = f"?{KEY}={recipe.to_url()}"
    except RecipeError:
        query = ""
    return {"query": query if len(query) <= MAX_LINK else "", "recipe": recipe.to_json()}


def recipe_from(query: Mapping[str, str], *operations: str) -> Recipe | None:
    """The recipe in the query of a link, or None if there is none for these operations. Raises RecipeError."""
    word = query.get(KEY)
    if not word:
        return None
    recipe = Recipe.from_url(word)
    return recipe if recipe.operation in operations else None

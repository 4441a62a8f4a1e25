"""The keys, the glossary and which tab an address opens."""

import re
from pathlib import Path

import pytest

from app.components.help import GLOSSARY, SHORTCUTS, Help
from app.components.history import History
from app.components.own_html import HERE
from app.page import TABS, tab_of
from app.shared.links import link_of
from coladlm.recipe import Recipe


def test_every_word_of_the_glossary_comes_once():
    words = [word for word, _ in GLOSSARY]
    assert len(words) == len(set(words))
    assert all(text.endswith(".") for _, text in GLOSSARY)


def test_the_documentation_has_every_shortcut_word_and_tab():
    text = (Path(__file__).parents[2] / "docs" / "page.md").read_text()
    for key, what in SHORTCUTS:
        assert f"| {key} | {what} |" in text
    for word, what in GLOSSARY:
        assert f"- **{word}.** {what}" in re.sub(r"\n  ", " ", text)
    for tab in TABS:
        assert f"## {tab.label}" in text


def test_every_tab_that_opens_recipes_has_its_event():
    script = (HERE / "history" / "history.js").read_text()
    for tab in TABS:
        assert (f"'open_{tab.name}'" in script) == bool(tab.operations)


@pytest.mark.parametrize("kind", [lambda: Help(["a"]), lambda: History("x", [["generate", "Generate", ["generate"]]])])
def test_components_of_the_header_are_plain_data(kind):
    component = kind()
    assert component.postprocess(component.example_payload()) == component.example_payload()


def _query(recipe, tab=""):
    return {"r": link_of(recipe)["query"].removeprefix("?r="), "tab": tab}


@pytest.mark.parametrize(
    "query, name",
    [
        ({}, None),
        ({"tab": "map"}, "map"),
        ({"tab": "nonsense"}, None),
        ({"r": "broken"}, None),
        (_query(Recipe("generate", ("x",))), "generate"),
        (_query(Recipe("generate", ("x",)), "trajectories"), "trajectories"),
        (_query(Recipe("generate", ("x",)), "edit"), "generate"),
        (_query(Recipe("edit", ("x",))), "edit"),
        (_query(Recipe("invert", ("x",)), "generate"), None),
    ],
)
def test_an_address_opens_the_tab_of_its_recipe(query, name):
    assert tab_of(query) == name

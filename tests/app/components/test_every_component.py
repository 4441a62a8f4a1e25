"""What holds for every component of the page."""

import time

import gradio as gr
import pytest

from app.components.own_html import OwnHTML
from app.components.saver import Saver

from ...conftest import PATIENCE
from .conftest import NARROW, WIDE

TEXTS = "names => names.map(name => document.getElementById(name).innerText)"


def test_every_component_starts_without_an_error_and_fits_a_phone(parts, bare):
    every = {f"part-{i}": part for i, part in enumerate(parts.all())}
    page = bare(every, NARROW, bench="bench")
    assert len(every) > 30
    for name in every:
        assert page.locator(f"#{name} > .html > *").count() > 0, name
    assert page.overflow() <= 0


def test_every_component_keeps_what_it_is_made_of_when_gradio_has_lost_its_props(parts, bare):
    """Of a component in a closed accordion or tab, gradio 6.31 forgets all props but the value at a gr.skip()."""
    every = {f"part-{i}": part for i, part in enumerate(parts.all())}
    lost = {name: part._replace(props={"value": part.props["value"]}) for name, part in every.items()}
    pages = [bare(lost, WIDE, bench="bench"), bare(every, WIDE, bench="bench", beside=True)]  # that one is a new page
    deadline = time.monotonic() + PATIENCE / 1000  # some draw when a library has come
    while (texts := [page.page.evaluate(TEXTS, list(every)) for page in pages]) and texts[0] != texts[1]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    assert texts[0] == texts[1] and any(texts[0])


def test_no_component_gives_gradio_props_to_lose(parts):
    ours = [block.get_config() for block in parts.page.blocks.values() if isinstance(block, OwnHTML)]
    assert len(ours) > 30 and not any(config["props"] for config in ours)


def test_a_component_has_the_events_of_its_script_and_its_props_and_nothing_else(parts):
    saver = next(block for block in parts.page.blocks.values() if isinstance(block, Saver))
    assert callable(saver.select) and saver.part == saver.props["part"]
    with pytest.raises(AttributeError, match="'Saver' object has no attribute 'choose'"):
        saver.choose  # noqa: B018


def test_no_list_of_the_page_opens_by_the_focus(parts):
    """gr.Dropdown's does, and stays open over what is below it."""
    assert [block for block in parts.page.blocks.values() if isinstance(block, gr.Dropdown)] == []

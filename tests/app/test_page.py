"""The page as a server sees it: what it offers, what it refuses, and its API."""

import copy
import itertools
import json
import re
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import gradio as gr
import httpx
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from app.components.flow_map import FlowMap
from app.components.progress_line import again, progress_value
from app.page import _opened, build_page, header, launch_options, repeats
from app.shared.cloud_holder import CloudHolder
from app.shared.tab_links import Restore
from coladlm import SamplerSettings
from coladlm.recipe import Recipe
from coladlm.run import OPERATIONS, run


@pytest.fixture(scope="module")
def page(model):
    return build_page(model)


@pytest.fixture(scope="module")
def address(page):
    page.queue(max_size=8)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    _, address, _ = page.launch(
        server_name="127.0.0.1", server_port=port, prevent_thread_lock=True, quiet=True, **launch_options()
    )
    yield address.rstrip("/")
    page.close(verbose=False)


@pytest.fixture(scope="module")
def client(address):
    return Client(address, verbose=False)


def test_when_umaps_have_come_the_map_of_runs_shows_what_is_chosen_by_then(model, monkeypatch):
    """And not what was chosen when their fit began: the event that shows it begins at its end."""
    monkeypatch.setattr(CloudHolder, "complete", False)  # as before any were fitted
    events = list(build_page(model).fns.values())
    (shown,) = (event for event in events if event.name == "on_fitted")
    (fit,) = (event for event in events if event._id == shown.trigger_after)
    assert fit.name == "on_fit" and not any(isinstance(block, FlowMap) for block in fit.outputs)
    assert any(isinstance(block, FlowMap) for block in shown.outputs)
    assert {type(block) for block in shown.inputs} == {gr.State, gr.CheckboxGroup}


def test_the_api_offers_operations_alone_and_says_what_they_take(client):
    endpoints = client.view_api(return_format="dict")["named_endpoints"]
    assert "/generate" in endpoints
    assert {name.removeprefix("/") for name in endpoints} <= set(OPERATIONS)
    names = [parameter["parameter_name"] for parameter in endpoints["/generate"]["parameters"]]
    assert names[:3] == ["prompt", "max_new_tokens", "seed"]


def test_the_api_writes_what_the_recipe_gives(client, model):
    text, recipe = client.predict("Once upon a time", max_new_tokens=9, steps=3, seed=4, api_name="/generate")
    *_, finished = run(model, Recipe.from_json(json.dumps(recipe)))
    assert finished.texts == [text]


def test_the_api_streams_block_by_block(client):
    job = client.submit("Once upon a time", max_new_tokens=12, steps=2, api_name="/generate")
    job.result(timeout=60)
    texts = [text for text, _ in job.outputs()]
    assert len(texts) >= 3
    for one, later in itertools.pairwise(texts):
        assert later.startswith(one) and len(later) >= len(one)
    assert len(texts[0]) < len(texts[-1])


@pytest.mark.parametrize("given, note", [({"steps": 0}, "steps"), ({"max_new_tokens": 10**9}, "max_new_tokens")])
def test_the_api_refuses_with_a_sentence(client, given, note):
    with pytest.raises(AppError, match=note):
        client.predict("x", api_name="/generate", **given)


@pytest.mark.parametrize("path", ["/etc/passwd", "app.py", "../app.py", "/proc/self/environ"])
def test_no_path_of_a_request_is_opened(address, path):
    assert httpx.get(f"{address}/gradio_api/file={path}").status_code in (403, 404)


def test_the_page_names_no_other_host_to_load_from(address):
    """Whatever else a page may try is stopped in the browser: tests/browser/heard.py."""
    config = httpx.get(f"{address}/config").json()
    assert config["stylesheets"] == []
    assert not config["analytics_enabled"]
    loaded = re.findall(r"""<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=["']?(\w*:?//[^"'\s>]+)""",
                        httpx.get(address).text)  # fmt: skip
    assert [found for found in loaded if not found.startswith(address)] == []


@pytest.mark.parametrize(("changed", "found"), [
    ({"seed": 9007199254740993}, "seed is 9007199254740993"), ({"temperature": 101}, "temperature is 101"),
])  # fmt: skip
def test_a_recipe_of_a_file_that_is_refused_is_told_of_on_its_tab(model, changed, found):
    recipe = Recipe("generate", ("The cat",), SamplerSettings()).to_dict()
    recipe["settings"] |= changed
    restore = Restore(("generate",), lambda query: pytest.fail("there is nothing to restore"), ["prompt", "progress"])
    event = SimpleNamespace(recipe=json.dumps(recipe), source="file")
    tabs, unchanged, progress = _opened("generate", restore)(event)
    assert tabs.selected == "generate" and unchanged == gr.skip()
    assert progress["state"] == "error"
    assert progress["message"].startswith("The file could not be read: ") and found in progress["message"]


def test_the_browser_keeps_no_component_of_an_endpoint(page):
    config = page.config
    of_page, of_endpoints = (set(config["page"][name]["components"]) for name in ("", "api"))
    arguments = {component["id"] for component in config["components"] if component["type"] == "api"}
    assert arguments and arguments <= of_endpoints
    assert not arguments & of_page


def test_the_configuration_of_the_page_is_plain_data(page):
    components = page.config["components"]
    assert len(components) > 100
    assert copy.deepcopy(components) == components  # as gradio does for every visitor
    assert [type(value) for value in leaves(components) if type(value) not in (str, int, float, bool, type(None))] == []


def leaves(data: Any) -> Iterator[Any]:
    """What stands in nested lists, tuples and dicts, their keys among it."""
    if isinstance(data, dict):
        yield from data
        data = [value for key, value in data.items() if key != "delete_callback"]  # gradio's own, of a State
    elif not isinstance(data, list | tuple):
        yield data
        return
    for value in data:
        yield from leaves(value)


@pytest.mark.parametrize(
    "given, yes",
    [({}, True), ({"model": "another"}, False), ({"model": ""}, False), ({"texts": ("a", "b")}, False),
     ({"variations": 9}, False), ({"operation": "interpolate", "texts": ("a", "b")}, True)],
)  # fmt: skip
def test_a_link_runs_by_itself_where_it_gives_the_very_result(model, given, yes):
    recipe = {"operation": "generate", "texts": ("a",), "settings": SamplerSettings(), "model": model.fingerprint}
    assert repeats(model, Recipe(**(recipe | given))) is yes


def test_nothing_is_run_again_where_there_is_no_recipe_or_a_broken_one(model):
    assert not repeats(model, None)
    assert "press" not in again(progress_value("error", message="The link could not be read."))
    assert again(progress_value("idle"))["press"]


def test_the_header_says_what_is_loaded_and_escapes_it(model):
    name, model.name = model.name, "<b>&model"
    try:
        shown = header(model)
    finally:
        model.name = name
    assert "&lt;b&gt;&amp;model" in shown
    assert f"{model.parameters:,}" in shown
    assert "float32" in shown

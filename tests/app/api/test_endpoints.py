"""Every endpoint of Gradio's API and every tool of the MCP server, called as their users do."""

import ast
import errno

import httpx
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

from app.api.openai_api import ApiOptions
from app.server import Options, Served
from coladlm.evaluate.text_likelihood import BoundSettings, text_bound
from coladlm.recipe import Recipe
from coladlm.run import run
from coladlm.serve import Limits
from coladlm.settings import DESCRIPTIONS

PAIR = ("The sun was warm", "The night was cold")
QUICK = {"max_new_tokens": 6, "steps": 2, "seed": 4}
CALLS = {
    "/generate": (("Once upon a time",), {**QUICK, "negative": "a cat"}),
    "/fill": (("The ___ ran to the ___.",), {"candidates": 2, "steps": 2}),
    "/interpolate": ((list(PAIR),), {"stops": 3, "steps": 2}),
    "/edit": (("The dog ran home.", 1, 3), {"candidates": 2, "steps": 2}),
    "/invert": ((["The cat sat"],), {"steps": 2, "iterations": 1}),
    "/replay": (({"operation": "generate", "texts": ["The cat"], "settings": QUICK, "variations": 2},), {}),
    "/encode": (("The cat sat",), {}),
    "/decode": (([[0.0] * 8],), {}),
    "/likelihood": (("The cat sat",), {"context": "One day.", "draws": 2}),
}

OWN_MEANINGS = {("interpolate", "max_new_tokens"), ("likelihood", "guidance"), ("likelihood", "seed")}  # of settings


@pytest.fixture(scope="module")
def address(model):
    served = Served(model, Limits(), ApiOptions(), Options(mcp=True, quiet=True))
    yield served.address
    served.close()


@pytest.fixture(scope="module")
def client(address):
    return Client(address, verbose=False)


def call(client, model, name):
    positional, named = CALLS[name]
    if name == "/decode":
        positional = ([[0.0] * model.latent_dim],)
    return client.predict(*positional, api_name=name, **named)


def test_every_endpoint_is_called_here_and_says_what_it_takes(client):
    endpoints = client.view_api(return_format="dict")["named_endpoints"]
    assert set(CALLS) <= set(endpoints)
    for name in CALLS:
        told = endpoints[name]
        assert told["description"] and all(parameter["label"] for parameter in told["parameters"])


@pytest.mark.parametrize("name", CALLS)
def test_an_endpoint_answers(client, model, name):
    assert call(client, model, name)


def test_a_road_comes_with_its_recipe(client):
    stops, recipe = client.predict(list(PAIR), stops=3, steps=2, api_name="/interpolate")
    assert (stops[0]["text"], stops[-1]["text"]) == PAIR and len(stops) == 3
    assert recipe["operation"] == "interpolate"


def test_candidates_come_with_their_recipe(client):
    candidates, recipe = client.predict("The dog ran home.", 1, 3, candidates=2, steps=2, api_name="/edit")
    assert len(candidates) == 2 and recipe["options"]["start"] == 1


def test_what_is_out_of_range_gets_a_sentence(client):
    with pytest.raises(AppError, match="renoise"):
        client.predict(list(PAIR), renoise=7, api_name="/interpolate")
    with pytest.raises(AppError, match="span"):
        client.predict("The dog ran home.", 3, 3, api_name="/edit")


@pytest.mark.parametrize("name", ["/generate", "/interpolate", "/edit", "/invert"])
def test_the_recipe_of_an_endpoint_gives_the_same_when_it_is_replayed(client, model, name):
    _, recipe = call(client, model, name)
    texts, told = client.predict(recipe, api_name="/replay")
    *_, finished = run(model, Recipe.from_dict(recipe))
    assert texts == finished.texts
    assert told["note"] == "" and {**told, "note": ""} == {**recipe, "note": ""}


@pytest.mark.parametrize("name", ["/generate", "/fill"])
def test_other_texts_are_options_of_the_recipe(client, name):
    positional, named = CALLS[name]
    given = {"negative": "a cat", "towards": "a dog", "direction": "happy-sad", "direction_strength": -1.5}
    _, recipe = client.predict(*positional, api_name=name, **{**named, **given})
    options = {name: value for name, value in recipe["options"].items() if name != "longest"}
    window = {"direction_low": 0.0, "direction_high": 1000.0}
    assert options == {**given, **window, "pull": 1.0}
    own = {"direction_first": ["The cat sat."], "direction_second": ["The dog sat."]}
    _, recipe = client.predict(*positional, api_name=name, **named, **own)
    options = {name: value for name, value in recipe["options"].items() if name.startswith("direction")}
    assert options == {**own, **window, "direction_strength": 1.0}


@pytest.mark.parametrize("name", ["/generate", "/fill"])
def test_a_recipe_has_no_option_of_what_is_not_asked_for(client, model, name):
    _, recipe = call(client, model, name)
    assert recipe["options"].keys() <= {"longest", *CALLS[name][1]}


def test_an_unknown_direction_gets_a_sentence(client):
    with pytest.raises(AppError, match=r"irection is 'up-down', expected one of .*happy-sad"):
        client.predict("The", api_name="/generate", direction="up-down")


@pytest.mark.parametrize("name", ["/generate", "/fill", "/interpolate", "/edit", "/invert"])
def test_the_size_of_blocks_can_be_chosen(client, model, name):
    positional, named = CALLS[name]
    for size, told in ((1, 1), (model.block_size, None)):  # the model's own is no setting of a recipe
        _, recipe = client.predict(*positional, api_name=name, **named, block_size=size)
        assert recipe["settings"].get("block_size") == told
    with pytest.raises(AppError, match=f"block_size is 3, expected a number that divides {model.block_size}"):
        client.predict(*positional, api_name=name, **named, block_size=3)


def test_a_recipe_of_another_model_says_so(client):
    _, told = client.predict({"operation": "generate", "texts": ["x"], "settings": QUICK, "model": "other"},
                             api_name="/replay")  # fmt: skip
    assert "made with the model other" in told["note"]


def test_latents_come_back_as_the_text(client, model):
    encoded = client.predict("The cat sat", api_name="/encode")
    decoded = client.predict(encoded["mean"], api_name="/decode")
    assert "".join(encoded["tokens"]) == "The cat sat"
    assert len(encoded["mean"]) == len(encoded["logvar"]) == len(model.encode("The cat sat").mean)
    ids = model.decode(model.encode("The cat sat").mean).argmax(-1).tolist()
    assert decoded["text"] == model.read(ids)
    assert all(0 < token["probability"] <= 1 for token in decoded["tokens"])


def test_the_likelihood_of_a_text_is_the_one_of_the_library(client, model):
    found = call(client, model, "/likelihood")
    bound = text_bound(model, "The cat sat", "One day.", BoundSettings(draws=2))
    assert found["bound"] == bound.to_dict(model)
    assert found["transformer"]["nats"] > 0


WRONG = {
    "a likelihood of nothing": ("/likelihood", ("",), "no token"),
    "a text for everybody's patience": ("/likelihood", ("word " * 600,), "at most 512"),
    "guidance in words": (
        "/likelihood",
        ("a", "", False, "tokens", 2, "x"),
        "guidance is 'x', expected a number from 0 to 100",
    ),
    "half a draw": ("/likelihood", ("a", "", False, "tokens", 2.5), "draws is 2.5, expected a whole number"),
    "an end in words": ("/likelihood", ("a", "", "perhaps"), "ended is 'perhaps', expected true or false"),
    "too few draws": ("/likelihood", ("a", "", False, "tokens", 1), "draws is 1"),
    "no text": ("/encode", ("",), "tokens"),
    "latents of another width": ("/decode", ([[0.0]],), "is a list of 1, expected a list of 8 numbers"),
    "no latents": ("/decode", ([],), "expected"),
    "latents that are words": ("/decode", (["a"],), "expected"),
    "no recipe": ("/replay", ({"texts": ["x"]},), "operation"),
    "an operation that is not there": ("/replay", ({"operation": "sing", "texts": ["x"]},), "sing"),
    "a recipe for everybody's patience": (
        "/replay",
        ({"operation": "generate", "texts": ["x"] * 256, "settings": {"max_new_tokens": 1000}},),
        "at most",
    ),
    "an empty text to invert": ("/invert", ([""],), "token"),
}


@pytest.mark.parametrize("name, given, note", WRONG.values(), ids=WRONG)
def test_what_is_wrong_gets_a_sentence(client, name, given, note):
    with pytest.raises(AppError, match=note):
        client.predict(*given, api_name=name)


@pytest.mark.parametrize(
    "number, status, note", [(errno.ENOSPC, 507, "disk of the server is full"), (errno.EIO, 500, "")]
)
def test_an_upload_that_finds_no_room_is_told_so(address, monkeypatch, number, status, note):
    async def fails(*_, **__):
        raise OSError(number, "no room")

    monkeypatch.setattr("gradio.routes.upload_fn", fails)
    answer = httpx.post(f"{address}/gradio_api/upload", files={"files": ("a.txt", b"text")})
    assert answer.status_code == status and note in answer.text


def test_an_mcp_client_lists_and_calls_the_tools(address, model, complete):
    async def ask():
        async with (
            streamable_http_client(f"{address}/gradio_api/mcp/") as (receive, send, _),
            ClientSession(receive, send) as session,
        ):
            await session.initialize()
            tools = (await session.list_tools()).tools
            answer = await session.call_tool("generate", {"prompt": "Once upon a time", **QUICK})
            return tools, answer

    tools, answer = complete(ask())
    named = {tool.name: tool for tool in tools}
    assert {name.removeprefix("/") for name in CALLS} <= set(named)
    assert "prompt" in named["generate"].inputSchema["properties"]
    assert named["generate"].description.startswith("Continues a prompt")
    for name in (name.removeprefix("/") for name in CALLS):
        about = {key: value["description"] for key, value in named[name].inputSchema["properties"].items()}
        assert all(told.endswith(".") for told in about.values()), name  # whole, in how many lines it may be written
        assert ".," not in named[name].description, name
        for setting in set(about) & set(DESCRIPTIONS):
            own = (name, setting) in OWN_MEANINGS
            assert (about[setting] == DESCRIPTIONS[setting].text) != own, (name, setting)
    assert not answer.isError
    *_, finished = run(
        model, Recipe("generate", ("Once upon a time",), model.defaults.from_dict(QUICK, model.defaults))
    )
    assert ast.literal_eval(answer.content[0].text)[0] == finished.texts[0]

"""The endpoints of the latent operations, called over HTTP as their users do."""

import socket

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from app.page import build_page, launch_options

PAIR = ("The sun was warm", "The night was cold")


@pytest.fixture(scope="module")
def client(model):
    page = build_page(model)
    page.queue(max_size=8)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    _, address, _ = page.launch(
        server_name="127.0.0.1", server_port=port, prevent_thread_lock=True, quiet=True, **launch_options()
    )
    yield Client(address.rstrip("/"), verbose=False)
    page.close(verbose=False)


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

"""A visitor costs no copy of the page's configuration, and has states and changed components as ever."""

import gradio as gr
import pytest
from fastapi import FastAPI
from gradio.state_holder import SessionState
from starlette.testclient import TestClient

from app.light_sessions import keep_sessions_light


@pytest.fixture(scope="module")
def page():
    with gr.Blocks(analytics_enabled=False) as page:
        words = gr.Radio(["sun"], value="sun")
        times = gr.State(0)
        offer, choose = gr.Button(), gr.Button()
        offer.click(lambda: gr.Radio(choices=["sun", "moon"]), None, words, api_name="offer")
        outputs = [words, times, gr.Number()]
        choose.click(lambda word, n: (word, n + 1, n + 1), [words, times], outputs, api_name="choose")
    return page


@pytest.fixture(scope="module")
def client(page):
    app = FastAPI()
    gr.mount_gradio_app(app, page, "/")
    with TestClient(app) as client:
        yield client


def call(client, visitor, name, *data):
    return client.post(f"/gradio_api/run/{name}", json={"data": data, "session_hash": visitor})


def test_a_visitor_begins_without_a_configuration_and_an_event_keeps_no_value(page, client):
    keep_sessions_light()
    assert SessionState(page).config_values == {}
    assert call(client, "first", "choose", "sun", None).json()["data"] == ["sun", None, 1]
    kept = page.state_holder["first"].config_values.values()
    assert [each["type"] for each in kept] == ["state"]


def test_each_visitor_has_states_and_changed_components_of_its_own(client):
    keep_sessions_light()
    assert call(client, "changed", "offer").status_code == 200
    assert [call(client, "changed", "choose", "moon", None).json()["data"] for _ in range(2)] == [
        ["moon", None, 1], ["moon", None, 2]]  # fmt: skip
    assert call(client, "other", "choose", "moon", None).status_code != 200
    assert call(client, "other", "choose", "sun", None).json()["data"] == ["sun", None, 1]

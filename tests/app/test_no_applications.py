"""A page is laid out without the applications that gradio would make meanwhile, and served as ever."""

import gradio as gr
from fastapi import FastAPI
from starlette.testclient import TestClient

from app.no_applications import no_applications


def laid_out() -> gr.Blocks:
    with gr.Blocks(analytics_enabled=False) as page:
        gr.HTML("a word")
    return page


def test_a_page_has_no_application_before_it_is_mounted_and_is_served_then():
    with no_applications():
        page = laid_out()
    assert page.app is None and laid_out().app is not None
    app = FastAPI()
    gr.mount_gradio_app(app, page, "/")
    components = TestClient(app).get("/config").json()["components"]
    assert [each["props"]["value"] for each in components if each["type"] == "html"] == ["a word"]

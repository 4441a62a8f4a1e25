"""The script that stands before those of gradio in what the server sends."""

import gzip

import pytest
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from app.early_script import EarlyScript

PAGE = "<!doctype html><html><head><script src='gradio.js'></script></head><body>ä <head></body></html>"
PACKED = {"content-encoding": "gzip"}
SCRIPT = "early('ä');"


async def pieces():
    for at in range(0, len(PAGE), 40):
        yield PAGE[at : at + 40]


ANSWERS = {
    "page": lambda: HTMLResponse(PAGE),
    "data": lambda: JSONResponse({"page": PAGE}),
    "compressed": lambda: Response(
        gzip.compress(PAGE.encode()), media_type="text/html", headers={"content-encoding": "gzip"}
    ),
    "none": lambda: HTMLResponse("", status_code=304),
    "headless": lambda: HTMLResponse("<p>Not found</p>", status_code=404),
    "pieces": lambda: StreamingResponse(pieces(), media_type="text/html"),
}


@pytest.fixture(scope="module")
def answers():
    def get(name, path="/"):
        app = Starlette(routes=[Route(path, lambda request: ANSWERS[name]())])
        return TestClient(EarlyScript(app, SCRIPT, "<link>", ["/other"])).get(path), TestClient(app).get(path)

    return get


@pytest.mark.parametrize(("name", "path"), [("page", "/"), ("pieces", "/"), ("page", "/other")])
def test_it_comes_first_in_the_head_of_a_document(answers, name, path):
    with_script, _ = answers(name, path)
    assert with_script.text == PAGE.replace("<head>", f"<head><script>{SCRIPT}</script><link>", 1)


def test_the_length_that_is_told_is_that_of_the_whole(answers):
    with_script, plain = answers("page")
    assert int(with_script.headers["content-length"]) == len(with_script.content) > len(plain.content)


@pytest.mark.parametrize("name", sorted(set(ANSWERS) - {"page", "pieces"}))
def test_everything_else_stays_as_it_is(answers, name):
    with_script, plain = answers(name)
    assert (with_script.status_code, with_script.content, with_script.headers) == (
        plain.status_code,
        plain.content,
        plain.headers,
    )


def test_a_file_of_a_visitor_stays_as_it_is(answers):
    with_script, plain = answers("page", "/file=report.html")
    assert with_script.content == plain.content

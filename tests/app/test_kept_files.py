"""What browsers keep: files whose address names their version, and nothing else."""

import re
from pathlib import Path

import gradio
import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from app.component_scripts import component_scripts
from app.components.own_html import OwnHTML
from app.kept_files import FOREVER, HASHED, KeptFiles


def answered(path, status=200, method="GET"):
    async def answer(request):
        return Response("x", status, {"Cache-Control": "no-cache"} if "runs" in path else {})

    app = Starlette(routes=[Route("/{rest:path}", answer, methods=["GET", "HEAD", "POST"])])
    return TestClient(KeptFiles(app)).request(method, path).headers.get("cache-control")


@pytest.mark.parametrize("path", [
    "/assets/index-DphvyggB.js", "/assets/Index-Akn07EZk2.js", "/cola/assets/src-1GSBhSW9.js",
    "/assets/Blocks-0aNuD791.css", "/assets/KaTeX_AMS-Regular-BQhdFMY1.woff2", "/assets/core-Bdx_-80F.js",
    "/theme.css?v=efad31", "/components.js?v=1",
])  # fmt: skip
def test_a_file_with_a_version_is_kept_for_good(path):
    assert answered(path) == answered(path, method="HEAD") == FOREVER


@pytest.mark.parametrize("path", [
    "/", "/?v=1", "/assets/index.js", "/assets/index-short.js", "/static/fonts/IBMPlexMono-Regular.woff2",
    "/theme.css", "/theme.css?v=", "/components.js", "/gradio_api/info?v=2", "/assets/index-DphvyggB.json",
])  # fmt: skip
def test_nothing_else_is(path):
    assert answered(path) is None


def test_what_was_not_found_or_says_itself_how_long_it_holds_or_was_sent_is_not_kept():
    assert answered("/assets/index-DphvyggB.js", status=404) is None
    assert answered("/assets/index-DphvyggB.js", method="POST") is None
    assert answered("/runs/run_client.js") == "no-cache"


def test_the_components_have_one_file_whose_address_changes_with_it(monkeypatch):
    asks, route = component_scripts()
    address = re.fullmatch(r'<script defer src="(components\.js\?v=[0-9a-f]{12})"></script>', asks)[1]
    browser = TestClient(KeptFiles(Starlette(routes=[route])))
    answer = browser.get(f"/{address}")
    assert answer.text == OwnHTML.scripts() and answer.headers["content-type"].startswith("text/javascript")
    assert answer.headers["cache-control"] == FOREVER
    assert browser.get("/components.js?v=of-another-server").headers["cache-control"] == "no-store"
    monkeypatch.setattr(OwnHTML, "scripts", lambda: "another")
    assert component_scripts()[0] != asks


def test_every_asset_of_gradio_that_the_page_asks_for_is_known_by_its_hash():
    folder = Path(gradio.__file__).parent / "templates" / "frontend" / "assets"
    names = [file.name for file in folder.iterdir() if file.suffix in (".js", ".css")]
    assert len(names) > 100 and [name for name in names if not HASHED.search(f"/assets/{name}")] == []

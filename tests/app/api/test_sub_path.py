"""The page and the APIs below a path of another server: the configuration in docs/serving.md, in a real nginx."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from pathlib import Path

import httpx
import pytest
from gradio_client import Client
from openai import OpenAI
from playwright.sync_api import expect

from app.api.openai_api import ApiOptions
from app.server import Options, Served
from coladlm.serve import Limits

from ...conftest import OTHER_NAME as NAME
from .server_process import CLIENT, PATIENCE, ROOT, free_port

PATH = "/explorer"
NGINX = """
daemon off;
pid {folder}/pid;
error_log stderr;
events {{}}
http {{
    access_log {folder}/access.log combined;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        {location}
    }}
}}
"""


@pytest.fixture(scope="module")
def server(model):
    running = Served(model, Limits(), ApiOptions(), Options(root_path=PATH, names=(NAME,), quiet=True))
    yield running
    running.end(grace=0)


def documented(address: str) -> str:
    """The configuration of the documentation, for a server at `address`."""
    text = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
    (location,) = re.findall(r"```nginx\n(.*?)```", text, flags=re.DOTALL)
    assert "http://127.0.0.1:7860/" in location
    return location.replace("http://127.0.0.1:7860/", f"{address}/")


@pytest.fixture(scope="module")
def nginx(server, tmp_path_factory):
    """(port, access log) of an nginx before the server."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/local/bin:/opt/homebrew/bin:/usr/bin")
    if program is None:
        pytest.fail("found no nginx: install it (`make nginx`)")
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port, location=documented(server.address)))
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen([program, "-c", str(folder / "nginx.conf")], stdout=log, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + PATIENCE
        while not answers(port):
            assert process.poll() is None and time.monotonic() < deadline, (folder / "log.txt").read_text()
            time.sleep(0.05)
        yield port, folder / "access.log"
    finally:
        process.terminate()
        process.wait(PATIENCE)


def answers(port: int) -> bool:
    try:
        return CLIENT.get(f"http://127.0.0.1:{port}{PATH}/health").status_code == 200
    except httpx.HTTPError:
        return False


def asked_for(log: Path, last: str) -> dict[str, int]:
    """The paths that a browser has asked nginx for, with the status of each, once `last` is among them: nginx
    notes a request after it has answered it.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        lines = re.findall(r'"[A-Z]+ (\S+) HTTP/[^"]*" (\d+) .*Chrom', log.read_text())
        asked = {path: int(status) for path, status in lines}
        if last in asked:
            return asked
        assert time.monotonic() < deadline, f"nginx has noted {sorted(asked)}, expected {last} among them"
        time.sleep(0.05)


def test_the_apis_answer_below_the_path(nginx, model):
    address = f"http://127.0.0.1:{nginx[0]}{PATH}"
    with OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client:
        ask = {"model": model.name, "prompt": "The cat", "max_tokens": 6, "seed": 1, "extra_body": {"steps": 2}}
        text = client.completions.create(**ask).choices[0].text
        assert "".join(part.choices[0].text for part in client.completions.create(**ask, stream=True)) == text
    settings = {"max_new_tokens": 6, "seed": 1, "steps": 2}
    assert Client(address, verbose=False).predict("The cat", api_name="/generate", **settings)[0] == text
    missing = httpx.get(f"{address}/v1/nothing")
    assert missing.status_code == 404 and missing.json()["error"]["code"] == "not_found"


def test_another_host_name_is_refused_behind_the_proxy_too(nginx):
    address = f"http://127.0.0.1:{nginx[0]}{PATH}/"
    assert httpx.get(address, headers={"Host": "evil.example"}).status_code == 421
    assert httpx.get(address, headers={"Host": NAME}).status_code == 200


def test_the_page_runs_below_the_path_and_asks_for_nothing_outside_of_it(nginx, browser):
    port, log = nginx
    page = browser.new_page()
    page.set_default_timeout(1000 * PATIENCE * 3)
    page.goto(f"http://{NAME}:{port}{PATH}/")
    page.get_by_role("button", name="Run", exact=True).first.click()
    expect(page.locator(".answer .token").filter(visible=True).first).to_be_visible(timeout=1000 * PATIENCE * 3)
    icon = page.evaluate(  # which a browser without windows does not ask for by itself
        "(async () => { const { href } = document.querySelector('link[rel=icon]'); await fetch(href); return href; })()"
    )
    page.close()
    assert icon == f"http://{NAME}:{port}{PATH}/favicon.ico"
    asked = asked_for(log, f"{PATH}/favicon.ico")
    assert asked[f"{PATH}/favicon.ico"] == 200
    asked.pop("/favicon.ico", None)  # browsers ask for this by themselves, before the page has named its icon
    assert {path for path in asked if not path.startswith(f"{PATH}/")} == set()
    bad = {path: status for path, status in asked.items() if status >= 400}
    # nginx's word for a browser that does not wait for an answer, here to the beacon that says it has left
    assert {path: status for path, status in bad.items() if not (path.endswith("/leave") and status == 499)} == {}

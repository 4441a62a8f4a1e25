"""The run endpoints over HTTP: what a browser asks, in which order it may ask it, and who may."""

import asyncio
import contextlib
import gc
import itertools
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.runs.access import COOKIE, VisitorCookie
from app.runs.registry import Registry, RunLimits
from app.runs.routes import MOST_BODY, run_routes

PATIENCE = 60  # seconds; on a busy machine all is late
ME = {"Cookie": f"{COOKIE}={'m' * 32}"}
OTHER = {"Cookie": f"{COOKIE}={'o' * 32}"}
BODY = {"view": "count", "controls": {"to": 3}}


def count(context, controls):
    if controls["to"] < 0:
        raise ValueError("The count is negative.")
    try:
        for n in range(controls["to"]):
            yield {"n": n, "text": "x" * n}
            time.sleep(controls.get("pause", 0))
    finally:
        context.show({"last": True})


@pytest.fixture
def registry(request):
    registry = Registry(getattr(request, "param", RunLimits(active=2, orphan=0.3, left=0.1)))
    registry.add_view("count", count)
    registry.open()
    yield registry
    registry.close()


@pytest.fixture
def app(registry):
    app = FastAPI()
    app.include_router(run_routes(registry))

    @app.get("/")
    def page() -> str:
        return "page"

    app.add_middleware(VisitorCookie, opened=registry.come_back)
    return app


@pytest.fixture
def ask(app):
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield client


@pytest.fixture
def address(app):
    """A real server: a client of tests does not stream."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.started)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(PATIENCE)


def until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def events(lines):
    """[(event, id, data)] of a stream."""
    found, now = [], {}
    for line in lines:
        if line == "" and "data" in now:
            found.append((now["event"], int(now["id"]), json.loads(now["data"])))
            now = {}
        elif ": " in line and not line.startswith(":"):
            field, value = line.split(": ", 1)
            now[field] = value
    return found


def followed(ask, id_, **more):
    answer = ask.get(f"/runs/{id_}/events", headers={**ME, **more})
    assert answer.headers["content-type"].startswith("text/event-stream")
    return events(answer.text.split("\n"))


def test_a_run_is_started_once_and_followed_to_its_end(ask):
    first, again = (ask.put("/runs/id-number-1", json=BODY, headers=ME) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == "id-number-1"
    assert first.json()["state"] in ("running", "done")  # it is short: a busy machine may answer after its end
    told = followed(ask, "id-number-1")
    assert told[0][0] == "snapshot" and told[-1] == ("end", told[-1][1], {"outcome": "done", "message": ""})
    assert [number for _, number, _ in told] == sorted(number for _, number, _ in told)


def test_a_finished_run_is_found_as_it_was_and_goes_on_from_what_is_known(ask):
    ask.put("/runs/id-number-1", json=BODY, headers=ME)
    last = followed(ask, "id-number-1")[-1][1]
    (kind, _, data), end = followed(ask, "id-number-1")
    assert kind == "snapshot" and data["parts"] == {"n": 2, "text": "xx", "last": True} and end[0] == "end"
    assert [kind for kind, *_ in followed(ask, "id-number-1", **{"Last-Event-ID": str(last)})] == ["end"]
    told = events(ask.get(f"/runs/id-number-1/events?after={last}", headers=ME).text.split("\n"))
    assert [kind for kind, *_ in told] == ["end"]


def test_stop_that_comes_first_is_kept(ask, registry):
    assert ask.delete("/runs/id-number-1", headers=ME).json()["state"] == "stopped"
    answer = ask.put("/runs/id-number-1", json=BODY, headers=ME)
    assert (answer.status_code, answer.json()["state"]) == (200, "stopped")
    assert [kind for kind, *_ in followed(ask, "id-number-1")] == ["snapshot", "end"]


def test_stop_may_be_said_any_number_of_times(ask):
    ask.put("/runs/id-number-1", json={"view": "count", "controls": {"to": 1000, "pause": 0.01}}, headers=ME)
    assert {ask.delete("/runs/id-number-1", headers=ME).status_code for _ in range(3)} == {200}
    told = followed(ask, "id-number-1")
    assert told[-1][2]["outcome"] == "stopped"
    assert any(data.get("parts", {}).get("last") for _, _, data in told)


def test_wrong_controls_are_the_end_of_a_run_with_a_sentence(ask):
    ask.put("/runs/id-number-1", json={"view": "count", "controls": {"to": -1}}, headers=ME)
    assert followed(ask, "id-number-1")[-1][2] == {"outcome": "error", "message": "The count is negative."}


def test_half_a_character_does_not_break_the_stream(ask, registry):
    registry.add_view("say", lambda context, controls: iter([{"text": controls["text"]}]))
    body = '{"view": "say", "controls": {"text": "\\ud83d"}}'
    ask.put("/runs/id-number-1", content=body, headers={**ME, "Content-Type": "application/json"})
    assert followed(ask, "id-number-1")[0][2]["parts"] == {"text": "\ud83d"}


BAD = {
    "a view that is not there": ({"view": "sing", "controls": {}}, 400, "sing"),
    "no controls": ({"view": "count"}, 422, "controls"),
    "controls that are a list": ({"view": "count", "controls": []}, 422, "controls"),
    "a field that is not known": ({**BODY, "more": 1}, 422, "more"),
}


@pytest.mark.parametrize("body, status, note", BAD.values(), ids=BAD)
def test_what_is_wrong_gets_a_sentence(ask, body, status, note):
    answer = ask.put("/runs/id-number-1", json=body, headers=ME)
    assert answer.status_code == status
    assert note in answer.json()["error"]["message"] and answer.json()["error"]["code"] == "invalid_request"


@pytest.mark.parametrize("id_", ["short", "x" * 65, "with.a.point", "with%20space1"])
def test_an_id_of_another_form_is_refused(ask, id_):
    assert ask.put(f"/runs/{id_}", json=BODY, headers=ME).status_code == 422


def test_a_body_beyond_all_measure_is_refused(ask):
    body = {"view": "count", "controls": {"to": 1, "x": "x" * MOST_BODY}}
    answer = ask.put("/runs/id-number-1", json=body, headers=ME)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
    pieces = iter([b'{"view": "count", "controls": {"x": "', b"x" * MOST_BODY, b'"}}'])
    answer = ask.put("/runs/id-number-1", content=pieces, headers={**ME, "Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")


def test_there_is_an_end_to_the_room(ask):
    long = {"view": "count", "controls": {"to": 1000, "pause": 0.01}}
    for number in (1, 2):
        assert ask.put(f"/runs/id-number-{number}", json=long, headers=ME).status_code == 201
    answer = ask.put("/runs/id-number-3", json=long, headers=ME)
    assert answer.status_code == 429 and answer.headers["retry-after"]
    assert "under way" in answer.json()["error"]["message"]


def test_a_run_is_for_its_visitor_alone(ask):
    ask.put("/runs/id-number-1", json=BODY, headers=ME)
    asked = [
        lambda id_, who: ask.get(f"/runs/{id_}/events", headers=who),
        lambda id_, who: ask.post(f"/runs/{id_}/leave", headers=who),
    ]
    for one in asked:
        foreign, missing = one("id-number-1", OTHER), one("id-number-2", OTHER)
        assert foreign.status_code == missing.status_code == 404
        assert foreign.json() == missing.json()
    assert ask.put("/runs/id-number-1", json=BODY, headers=OTHER).status_code == 404
    assert ask.delete("/runs/id-number-1", headers=OTHER).status_code == 404


def test_without_cookies_the_id_alone_is_the_key(ask):
    assert ask.put("/runs/id-number-1", json=BODY).status_code == 201
    assert ask.get("/runs/id-number-1/events").status_code == 200
    assert ask.get("/runs/id-number-1/events", headers=ME).status_code == 404


FOREIGN = {
    "another site": {"Sec-Fetch-Site": "cross-site"},
    "another port or name of the same site": {"Sec-Fetch-Site": "same-site"},
    "another origin": {"Origin": "http://elsewhere.test"},
    "another port": {"Origin": "http://127.0.0.1:9"},
    "a page without an origin": {"Origin": "null"},
}


@pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN)
def test_pages_of_other_origins_are_refused(ask, headers):
    for answer in (
        ask.put("/runs/id-number-1", json=BODY, headers={**ME, **headers}),
        ask.delete("/runs/id-number-1", headers={**ME, **headers}),
        ask.get("/runs/id-number-1/events", headers={**ME, **headers}),
        ask.post("/runs/id-number-1/leave", headers={**ME, **headers}),
    ):
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "other_origin")


OWN = {
    "the page": {"Sec-Fetch-Site": "same-origin", "Origin": "https://example.test"},
    "an address that was typed": {"Sec-Fetch-Site": "none"},
    "the page of an old browser": {"Origin": "http://127.0.0.1"},
    "the page behind a proxy": {"Origin": "https://example.test", "X-Forwarded-Host": "example.test"},
}


@pytest.mark.parametrize("headers", OWN.values(), ids=OWN)
def test_the_page_itself_is_heard(ask, headers):
    assert ask.put("/runs/id-number-1", json=BODY, headers={**ME, **headers}).status_code == 201


def test_a_visitor_gets_one_cookie_with_the_page(ask):
    first = ask.get("/")
    cookie = first.headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}=") and "HttpOnly" in cookie and "SameSite=Lax" in cookie
    assert "Secure" not in cookie
    assert "set-cookie" not in ask.get("/").headers
    assert "set-cookie" not in ask.get("/runs/run_client.js").headers


def test_the_cookie_of_a_page_over_https_is_for_https_alone(app):
    with TestClient(app, base_url="https://127.0.0.1") as client:
        assert "; Secure" in client.get("/").headers["set-cookie"]


@pytest.mark.parametrize("value", ["", "x", "a b", "run 12", "x" * 100, '"'])
def test_a_cookie_that_is_not_ours_is_replaced(ask, value):
    assert "set-cookie" in ask.get("/", headers={"Cookie": f"{COOKIE}={value}"}).headers


SCRIPTS = {
    "gradio_connection": "function withoutReloads",
    "run_client": "class RunClient",
    "run_state": "function reduce",
    "run_transport": "class Transport",
}


@pytest.mark.parametrize("name, defines", SCRIPTS.items())
def test_the_scripts_of_the_page_are_served(ask, name, defines):
    answer = ask.get(f"/runs/{name}.js")
    assert answer.headers["content-type"].startswith("text/javascript")
    assert f"export {defines}" in answer.text


LONG = {"view": "count", "controls": {"to": 10_000, "pause": 0.01}}


@contextlib.contextmanager
def listening(address, id_="id-number-1", **headers):
    with httpx.stream("GET", f"{address}/runs/{id_}/events", headers={**ME, **headers}, timeout=PATIENCE) as answer:
        yield answer.iter_lines()


def test_frames_come_while_the_run_goes_on(address):
    httpx.put(f"{address}/runs/id-number-1", json=LONG, headers=ME)
    with listening(address) as lines:
        kinds = [next(lines) for _ in range(12)]
    assert "event: delta" in kinds


def test_a_listener_that_goes_for_good_ends_the_run(address, registry):
    httpx.put(f"{address}/runs/id-number-1", json=LONG, headers=ME)
    with listening(address) as lines:
        next(lines)
    until(lambda: registry.numbers()["active"] == 0)
    assert followed_at(address)[-1][2]["outcome"] == "lost"


def test_a_listener_that_goes_while_something_is_sent_to_it_is_let_go_at_once(app, registry):
    """Not at the next search for garbage, which may be far off."""
    run, _ = registry.start("m" * 32, "id-number-1", "count", {"to": 10_000, "pause": 0.001})
    path = "/runs/id-number-1/events"
    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": "GET",
        "scheme": "http", "path": path, "raw_path": path.encode(), "root_path": "", "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in ME.items()],
    }  # fmt: skip

    async def listen():
        gone = asyncio.Event()

        async def receive():
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            if message["type"] == "http.response.body":
                assert run.listeners
                until_then = run.version + 10  # more than would be kept for it on the way
                while run.version < until_then:
                    await asyncio.sleep(0.001)
                gone.set()
                await asyncio.Event().wait()  # it takes nothing more

        await app(scope, receive, send)
        return not run.listeners

    gc.disable()
    try:
        with ThreadPoolExecutor(1) as threads:  # the main thread may have Playwright's event loop
            assert threads.submit(asyncio.run, asyncio.wait_for(listen(), PATIENCE)).result()
    finally:
        gc.enable()


def followed_at(address):
    with listening(address) as lines:
        return events(lines)


@pytest.mark.parametrize("registry", [RunLimits(orphan=60)], indirect=True, ids=["runs wait for a listener"])
def test_a_broken_connection_goes_on_with_what_it_missed(address, registry):
    go_on = threading.Event()

    def waits(context, controls):
        yield {"n": 1}
        assert go_on.wait(PATIENCE)
        yield {"n": 2}

    registry.add_view("waits", waits)
    httpx.put(f"{address}/runs/id-number-1", json={"view": "waits", "controls": {}}, headers=ME)
    before = []
    with listening(address) as lines:
        while not (before and before[-1][2]["parts"].get("n")):
            before += events(itertools.chain(iter(lambda: next(lines), ""), [""]))
    go_on.set()
    with listening(address, **{"Last-Event-ID": str(before[-1][1])}) as lines:
        after = events(lines)
    assert after[0][0] == "delta" and after[0][1] > before[-1][1]
    assert after[-1][2]["outcome"] == "done"


def test_two_listeners_get_the_same(address):
    httpx.put(f"{address}/runs/id-number-1", json={"view": "count", "controls": {"to": 20, "pause": 0.01}}, headers=ME)
    with listening(address) as first, listening(address) as second:
        ends = [events(lines)[-1] for lines in (first, second)]
    assert ends[0] == ends[1] and ends[0][0] == "end"


def test_the_end_of_the_server_reaches_a_listener(address, registry):
    httpx.put(f"{address}/runs/id-number-1", json=LONG, headers=ME)
    with listening(address) as lines:
        threading.Timer(0.2, registry.close).start()
        assert "shutting down" in events(lines)[-1][2]["message"]

"""Which Host headers a server answers to, and where it can listen."""

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from app.api.hosts import AllowedHosts, allowed_hosts
from app.server import _listen


async def page(_):
    return PlainTextResponse("page")


async def socket(websocket):
    await websocket.accept()
    await websocket.close()


def client_of(*names):
    routes = [Route("/", page, methods=["GET", "POST"]), WebSocketRoute("/socket", socket)]
    return TestClient(Starlette(routes=routes, middleware=[Middleware(AllowedHosts, names=names)]))


def status(client, host):
    return client.get("/", headers={"Host": host}).status_code


OWN = ("localhost", "LocalHost:7860", "localhost.", "127.0.0.1", "127.0.0.1:80", "127.1.2.3", "[::1]", "[::1]:7860")
OTHERS = ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example:7860", "evil.example@localhost", "10.0.0.1",
          "", "x@127.0.0.1", "localhost/x", "[::1].evil", "[evil]", "::1", "localhost:80:80", "0.0.0.0")  # fmt: skip


@pytest.mark.parametrize("host", OWN)
def test_a_local_server_answers_to_its_own_names(host):
    assert status(client_of(), host) == 200


@pytest.mark.parametrize("host", OTHERS)
def test_a_local_server_refuses_every_other_name_with_a_sentence(host):
    answer = client_of().get("/", headers={"Host": host})
    error = answer.json()["error"]
    assert answer.status_code == 421 and error["code"] == "unknown_host" and repr(host) in error["message"]


def test_names_that_are_given_pass_with_any_port():
    client = client_of("Explorer.example.org")
    assert status(client, "explorer.example.org") == status(client, "explorer.example.org:8443") == 200
    assert status(client, "localhost") == 200
    assert status(client, "example.org") == 421


def test_two_host_headers_are_refused():
    assert client_of().get("/", headers=[("Host", "localhost"), ("Host", "evil.example")]).status_code == 421


def test_a_websocket_for_another_name_is_not_opened():
    client = client_of()
    with client.websocket_connect("/socket", headers={"Host": "localhost"}):
        pass
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/socket", headers={"Host": "evil.example"}):
        pass


def test_a_star_lets_every_name_pass():
    assert status(client_of("*"), "evil.example") == 200


@pytest.mark.parametrize(
    "listening, more, share, names",
    [
        ("127.0.0.1", (), False, ()),
        ("localhost", ("a.example",), False, ("a.example",)),
        ("::1", (), False, ()),
        ("0.0.0.0", (), False, ("*",)),
        ("192.168.0.7", ("a.example",), False, ("a.example",)),
        ("127.0.0.1", (), True, ("*",)),
    ],
)
def test_names_are_checked_where_only_this_machine_listens_or_names_are_given(listening, more, share, names):
    assert allowed_hosts(listening, more, share) == names


def test_an_address_of_another_machine_is_refused_in_a_sentence():
    with pytest.raises(OSError, match=r"At 999\.1\.1\.1, port 7860: .*expected an address of this machine"):
        _listen("999.1.1.1", 0)

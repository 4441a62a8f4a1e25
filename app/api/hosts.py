"""Host names that a server answers to: a page elsewhere must not reach a server of this machine by DNS rebinding.

A site that has its own name resolve to 127.0.0.1 gets the browser of a visitor to send it the answers of whatever
listens there. The browser still names that site in the Host header, so a server that only this machine reaches answers
requests for its own names alone. Knows nothing about what is served.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

ANY = "*"
HOST_HEADER = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\s:/?#@\[\]]+)(:\d*)?")  # RFC 9110, 7.2: a name and perhaps a port


def is_loopback(host: str) -> bool:
    """Is `host` an address, or the name of one, that only this machine reaches?"""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def allowed_hosts(listening: str, more: Iterable[str] = (), share: bool = False) -> tuple[str, ...]:
    """The names for `AllowedHosts` of a server that listens at `listening`: all names where other machines reach it
    (share: through a tunnel) and none is given, else those given in `more` beside the names of this machine.
    """
    named = tuple(more)
    return named if named or (is_loopback(listening) and not share) else (ANY,)


class AllowedHosts:
    """ASGI middleware: refuses requests whose Host header is neither a name of this machine's own address (localhost,
    127.0.0.1, [::1]) nor in `names`, with status 421 and {"error": {"message", "type", "param", "code"}}.

    names: without ports, in any case; "*" lets every name pass.
    """

    def __init__(self, app: ASGIApp, names: Iterable[str] = ()) -> None:
        self.app, self.names = app, frozenset(name.lower().rstrip(".") for name in names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or ANY in self.names:
            return await self.app(scope, receive, send)
        found = Headers(scope=scope).getlist("host")
        if len(found) == 1 and self.allows(found[0]):
            return await self.app(scope, receive, send)
        if scope["type"] == "websocket":
            return await send({"type": "websocket.close", "code": 1008})  # before it is accepted: the status is 403
        return await _refusal(found)(scope, receive, send)

    def allows(self, host: str) -> bool:
        """May a request with this Host header pass?"""
        match = HOST_HEADER.fullmatch(host)
        name = match[1].lower().rstrip(".") if match else ""
        return bool(name) and (name in self.names or is_loopback(name))


def _refusal(found: list[str]) -> Response:
    given = f"the host name {found[0][:100]!r}" if len(found) == 1 else f"{len(found)} Host headers"
    message = f"the request has {given}; this server answers to localhost, to 127.0.0.1 and to each --allowed-host"
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": "unknown_host"}
    return Response(json.dumps({"error": error}), 421, media_type="application/json")

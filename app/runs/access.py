"""Who may ask for what: the visitor's cookie, and requests from pages of other origins."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "coladlm_visitor"
_VISITOR = re.compile(r"[A-Za-z0-9_-]{22,64}")


def visitor_of(headers: Headers, run: str = "") -> str:
    """The visitor that a request belongs to. run: an id that the request names.

    A browser that keeps no cookies, such as one that shows the page inside that of another site, is known by the id of
    its run alone, which nobody can guess.
    """
    found = cookie_parser(headers.get("cookie", "")).get(COOKIE, "")
    return found if _VISITOR.fullmatch(found) else _of_run(run)


def owner_of(visitor: str, run: str) -> str:
    """Whose run this is if it is the visitor's: the visitor, or who is known by the id of that very run alone."""
    return _of_run(run) if visitor.startswith(_of_run("")) else visitor


def _of_run(run: str) -> str:
    return f"run {run}"


def is_own(headers: Headers) -> bool:
    """Does a request come from a page of this server, or from no page at all? Browsers say where it comes from."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = headers.get("origin")
    if origin is None:
        return True
    forwarded = headers.get("x-forwarded-host", "").split(",")[0].strip()
    return urlsplit(origin).netloc.lower() in {headers.get("host", "").lower(), forwarded.lower()} - {""}


class VisitorCookie:
    """Middleware: gives a browser that opens the page its cookie, and says so when it has one already.

    path: of the page. opened: called with the visitor who asks for the page.
    """

    def __init__(self, app: ASGIApp, opened: Callable[[str], None], root_path: str = "") -> None:
        self.app, self.opened, self.path = app, opened, (root_path.rstrip("/") or "") + "/"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET" or not is_page(scope):
            return await self.app(scope, receive, send)
        visitor = visitor_of(Headers(scope=scope))
        if not visitor.startswith("run "):
            self.opened(visitor)
            return await self.app(scope, receive, send)
        secure = "; Secure" if _is_https(scope) else ""

        async def with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                value = f"{COOKIE}={secrets.token_urlsafe(24)}; Path={self.path}; HttpOnly; SameSite=Lax{secure}"
                MutableHeaders(scope=message).append("set-cookie", value)
            await send(message)

        await self.app(scope, receive, with_cookie)


def is_page(scope: Scope, *others: str) -> bool:
    """Is the page itself asked for, or another one of these paths, such as "/api"?"""
    return scope["path"].removeprefix(scope.get("root_path", "")) in ("", "/", *others)


def _is_https(scope: Scope) -> bool:
    forwarded = Headers(scope=scope).get("x-forwarded-proto", "").split(",")[0].strip()
    return (forwarded or scope.get("scheme", "")) == "https"

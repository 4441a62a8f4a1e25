"""Files that never change: a browser that has them asks for them no more."""

from __future__ import annotations

import re
from urllib.parse import parse_qs

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# As gradio's build names its files: a hash of what is in them, which is another one when that changes.
HASHED = re.compile(r"/assets/[^/]+-[\w-]{8,10}\.(js|css|woff2?|ttf|svg|png|wasm)$")
FOREVER = "public, max-age=31536000, immutable"


class KeptFiles:
    """ASGI middleware: has browsers keep what a hash in its address tells from every later version of it, unless the
    answer says how long it holds.

    gradio says nothing of its scripts, so that a browser asks for all eighty again soon after an installation. With a
    hash there are its scripts and styles, and what has a version `v` in its query.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD") or not has_version(scope):
            return await self.app(scope, receive, send)

        async def with_header(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:
                MutableHeaders(scope=message).setdefault("Cache-Control", FOREVER)
            await send(message)

        await self.app(scope, receive, with_header)


def has_version(scope: Scope) -> bool:
    """Does the address name one version of a file?"""
    path, query = scope["path"], parse_qs(scope["query_string"].decode("latin-1"))
    return bool(HASHED.search(path) or (path.endswith((".css", ".js")) and query.get("v")))

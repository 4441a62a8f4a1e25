"""A script that the page runs before those of gradio: what gradio itself puts into a head comes after them."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .runs.access import is_page

HEAD = b"<head>"


class EarlyScript:
    """ASGI middleware: puts a script first into the head of the page, which comes uncompressed from gradio.

    more: HTML that follows it. others: paths of pages beside it.
    """

    def __init__(self, app: ASGIApp, script: str, more: str = "", others: Sequence[str] = ()) -> None:
        self.app, self.others, self.head = app, others, HEAD + f"<script>{script}</script>{more}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET" or not is_page(scope, *self.others):
            return await self.app(scope, receive, send)
        start: Message | None = None

        async def with_script(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and _is_document(message):
                start = message  # its length is known with the body
                return
            if start is not None:
                length, begun, start = len(message.get("body", b"")), start, None
                message["body"] = message.get("body", b"").replace(HEAD, self.head, 1)
                headers = MutableHeaders(scope=begun)
                if "content-length" in headers and message["body"]:
                    longer = len(message["body"]) - length
                    headers["content-length"] = str(int(headers["content-length"]) + longer)
                await send(begun)
            await send(message)

        await self.app(scope, receive, with_script)


def _is_document(message: Message) -> bool:
    headers = MutableHeaders(scope=message)
    return headers.get("content-type", "").startswith("text/html") and "content-encoding" not in headers

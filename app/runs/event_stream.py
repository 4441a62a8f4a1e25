"""Server-sent events as an answer."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Mapping

from starlette.responses import StreamingResponse
from starlette.types import Send


class EventStream(StreamingResponse):
    """Events, in their written form, until their source ends or the client goes; then the source is closed.

    Starlette, and FastAPI around it, close no generator whose client goes while something is being sent to it: that is
    left to the next search for garbage, and until then its run would go on.
    """

    media_type = "text/event-stream"

    def __init__(
        self, events: AsyncGenerator[bytes], headers: Mapping[str, str] | None = None, first: bytes = b""
    ) -> None:
        """first: what goes before the events, if they have begun already."""
        for_proxies = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}  # which would keep events back
        super().__init__(_after(first, events), headers={**(headers or {}), **for_proxies})
        self.events = events

    async def stream_response(self, send: Send) -> None:
        async with contextlib.aclosing(self.events):
            await super().stream_response(send)


async def _after(first: bytes, rest: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    if first:
        yield first
    async for part in rest:
        if part:
            yield part

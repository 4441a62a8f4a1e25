"""The visitor's end of a request, in an event loop."""

import asyncio
import threading

from coladlm.serve.requests import Events, Request, Waiting


def test_a_cancellation_that_comes_together_with_news_is_not_lost(complete):
    async def cancelled_after(turns: int) -> bool:
        """Is a reader cancelled at once, so many turns of the loop after an event has come?"""
        request = Request("run", "", threading.RLock(), lambda _: None, lambda _: None)
        arriving = Events(request, lambda _: Waiting(0, 0.0)).asynchronous()

        async def read() -> None:
            async for _ in arriving:
                pass

        reading = asyncio.ensure_future(read())
        while request.listener is None:
            await asyncio.sleep(0)
        request.deliver("news")
        for _ in range(turns):
            await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait({reading}, timeout=1.0)
        return reading.cancelled()

    async def attempts() -> list[bool]:
        return [await cancelled_after(turns) for turns in range(8)]

    assert all(complete(attempts()))

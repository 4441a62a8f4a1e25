"""What the tests of the scheduler share."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest


@pytest.fixture
def complete() -> Callable[[Coroutine], Any]:
    """complete(coroutine) runs it in an event loop of a thread of its own: the main one may have Playwright's."""

    def run(coroutine: Coroutine) -> Any:
        with ThreadPoolExecutor(1) as threads:
            return threads.submit(asyncio.run, coroutine).result()

    return run

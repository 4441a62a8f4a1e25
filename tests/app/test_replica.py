"""A replica of the cluster by itself, without Ray."""

import asyncio
import contextlib
import dataclasses
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.api.openai_api import TOGETHER_SECONDS
from app.cluster.options import ClusterOptions
from app.cluster.replica import Replica, bundled
from coladlm import BlockDone, Finished, SamplerSettings
from coladlm.recipe import Recipe
from coladlm.serve.carried import Bundle, RefusedElsewhereError, restore, unbundled

RECIPE = Recipe("generate", ("Once upon a time",), SamplerSettings(steps=2, max_new_tokens=24, stop_at_end=False))


@pytest.fixture(scope="module")
def replica(golden_folder):
    one = Replica(ClusterOptions(checkpoint=str(golden_folder), device="cpu", dtype="float32", cpus=1))
    yield one
    one.scheduler.close(grace=0)


def in_a_loop(coroutine):
    """What it returns, in a thread of its own: a test before this one may have left this thread an event loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()


def sent(replica, wait, recipe=RECIPE):
    async def parcels():
        return [parcel async for parcel in replica.run(recipe.to_dict(), "none", False, wait)]

    return in_a_loop(parcels())


def events(parcels):
    found = (restore(parcel) for parcel in unbundled(parcel for parcel in parcels) if parcel is not None)
    return [(type(event), event.texts) for event in found if isinstance(event, BlockDone | Finished)]


def test_what_may_wait_comes_together_and_is_the_same(replica):
    one_by_one, together = sent(replica, 0.0), sent(replica, 600.0)
    assert events(together) == events(one_by_one) != []
    assert len(together) == 1 < len(one_by_one)


def test_a_refusal_comes_in_its_bundle(replica):
    wrong = dataclasses.replace(RECIPE, operation="edit", options={"span": [5, 9]})
    with pytest.raises(RefusedElsewhereError):
        events(sent(replica, TOGETHER_SECONDS, wrong))


def test_nothing_waits_longer_than_it_may_and_an_empty_bundle_is_a_sign_of_life():
    async def slow():
        for parcel in ("a", None, "b"):
            await asyncio.sleep(0.02)
            yield parcel

    async def bundles(wait):
        return [parcel async for parcel in bundled(slow(), wait)]

    assert in_a_loop(bundles(0.01)) == [Bundle(["a"]), Bundle([]), Bundle(["b"])]
    assert in_a_loop(bundles(0.0)) == ["a", None, "b"]
    assert list(unbundled(parcel for parcel in [Bundle(["a", "b"]), Bundle([]), "c"])) == ["a", "b", None, "c"]


def test_who_leaves_ends_what_is_bundled():
    left = []

    async def endless():
        try:
            while True:
                await asyncio.sleep(0)
                yield "word"
        finally:
            left.append(True)

    async def leave():
        async with contextlib.aclosing(bundled(endless(), 1e-9)) as parcels:
            async for _ in parcels:
                break

    in_a_loop(leave())
    assert left == [True]

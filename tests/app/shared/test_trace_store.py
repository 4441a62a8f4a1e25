"""Runs are kept for their visitors: some of each, so many bytes of all, and for some hours."""

import pytest

from app.shared.trace_store import MAX_RUNS, MAX_SECONDS, TraceStore
from coladlm import SamplerSettings
from coladlm.recipe import Recipe
from coladlm.run import recorder, run


@pytest.fixture(scope="module")
def trace(model):
    settings = SamplerSettings(steps=2, max_new_tokens=4)
    recipe = Recipe("generate", ("A cat",), settings, model=model.fingerprint)
    record = recorder(recipe)
    list(record.watch(run(model, recipe)))
    return record.trace()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_run_that_nobody_has_looked_at_in_hours_is_forgotten(trace):
    clock = Clock()
    store = TraceStore(clock=clock)
    seen, unseen = (store.add("me", "written", trace) for _ in range(2))
    clock.now = MAX_SECONDS - 1
    assert store.get("me", seen.id) is seen
    clock.now = MAX_SECONDS + 1
    assert store.get("me", seen.id) is seen
    assert store.get("me", unseen.id) is None
    assert store.choices("me") == [(seen.label, seen.id)]


def test_a_visitor_has_the_last_runs(trace):
    store = TraceStore()
    other = store.add("you", "written", trace)
    runs = [store.add("me", "written", trace) for _ in range(MAX_RUNS + 2)]
    assert [id_ for _, id_ in store.choices("me")] == [run.id for run in runs[:1:-1]]
    assert store.get("you", other.id) is other


def test_of_more_bytes_than_are_kept_the_oldest_runs_go(trace):
    store = TraceStore(max_bytes=2 * trace.nbytes)
    runs = [store.add(visitor, "written", trace) for visitor in ("a", "b", "c")]
    assert [store.get(visitor, run.id) for visitor, run in zip("abc", runs, strict=True)] == [None, *runs[1:]]

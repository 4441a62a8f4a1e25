"""Operations of different visitors in one batch: each gives what its recipe gives alone."""

import dataclasses
import random
import threading
import time

import pytest

from coladlm import BlockDone, Finished, SamplerSettings, Step
from coladlm.latent import Edited, Interpolation, RoundTrips
from coladlm.latent.branch import Spot, start_branch
from coladlm.recipe import Recipe
from coladlm.run import recorder, run
from coladlm.serve import Limits, Scheduler, Waiting

SETTINGS = SamplerSettings(steps=2, max_new_tokens=8, stop_at_end=False, guidance=2.0)
LONG = dataclasses.replace(SETTINGS, max_new_tokens=240)
ROAD = ("The cat sat on the mat", "A dog ran in the park and")
TEXT = "Once upon a time there was a little girl who went to the park"


@pytest.fixture
def scheduler():
    one = Scheduler(Limits(batch=64))
    yield one
    one.close(grace=0)


def recipes() -> list[Recipe]:
    """One of each kind, all of the same flow."""
    return [
        Recipe("generate", ("The cat", "Once upon a time there was"), SETTINGS, 2),
        Recipe("interpolate", ROAD, SETTINGS, options={"stops": 3}),
        Recipe("interpolate", ROAD, SETTINGS, options={"stops": 3, "road": "prompt_to_prompt"}),
        Recipe("interpolate", ROAD, SETTINGS, options={"stops": 2, "align": "stretch", "before": "One day. "}),
        Recipe("edit", (TEXT,), SETTINGS, 3, {"start": 3, "end": 7}),
        Recipe("edit", (TEXT,), SETTINGS, 2, {"start": 4, "end": 6, "method": "renoise", "follow": 0.8}),
        Recipe("edit", (TEXT,), SETTINGS, 1, {"start": 4, "end": 6, "method": "renoise", "strengths": [0.0, 0.4, 0.9]}),
        Recipe("edit", (TEXT, ROAD[0]), SETTINGS, 2, {"start": 2, "end": 9, "method": "mix"}),
    ]


def outcome(events) -> tuple:
    """The texts and what the operation itself has said of them, without numbers that carry rounding."""
    *_, finished = events = [event for event in events if not isinstance(event, Waiting)]
    assert isinstance(finished, Finished)
    note = [event for event in events if isinstance(event, Edited | Interpolation | RoundTrips)]
    last = note[-1] if note else None
    if isinstance(last, Edited):
        own = [(c.text, c.changed) for c in sorted(last.candidates, key=lambda c: c.row)]
    elif isinstance(last, Interpolation):
        own = [(stop.text, stop.prompt, stop.changed, stop.done, stop.token_distances) for stop in last.waypoints]
    else:
        own = last and [(trip.text, trip.restored) for trip in last.trips]
    return finished.texts, finished.token_ids, finished.reasons, own


@pytest.fixture(scope="module")
def alone(model):
    """alone(recipe) runs it once for all tests: the outcome, and the types of its events in their order."""
    known = {}

    def ran(recipe: Recipe) -> tuple[tuple, list[type]]:
        if recipe.to_json() not in known:
            events = list(run(model, recipe))
            known[recipe.to_json()] = outcome(events), [type(event) for event in events]
        return known[recipe.to_json()]

    return ran


def held_batch(scheduler, model):
    """A long text that is under way, for others to join."""
    held = scheduler.run(model, Recipe("generate", ("x",), LONG), steps="none")
    next(held)
    return held


@pytest.mark.parametrize("steps", ["all", "drafts", "some", "none"])
@pytest.mark.parametrize("which", range(len(recipes())), ids=[f"{r.operation}-{i}" for i, r in enumerate(recipes())])
def test_an_operation_that_joins_a_batch_gives_what_it_gives_alone(model, scheduler, alone, which, steps):
    recipe = recipes()[which]
    held = held_batch(scheduler, model)
    assert outcome(scheduler.run(model, recipe, steps=steps)) == alone(recipe)[0]
    assert scheduler.metrics.shared_requests[recipe.operation] >= 1
    held.close()


def test_every_event_comes_and_in_the_order_that_it_has_alone(model, scheduler, alone):
    held = held_batch(scheduler, model)
    for recipe in recipes():
        seen = [type(event) for event in scheduler.run(model, recipe) if not isinstance(event, Waiting)]
        assert seen == alone(recipe)[1]
    held.close()


def test_without_steps_an_operation_says_everything_else(model, scheduler, alone):
    for recipe in recipes():
        events = scheduler.run(model, recipe, steps="none")
        seen = [type(event) for event in events if not isinstance(event, Waiting)]
        assert seen == [kind for kind in alone(recipe)[1] if not issubclass(kind, Step)]


def test_whoever_wants_some_steps_gets_the_first_with_its_preview(model, scheduler):
    steps = [event for event in scheduler.run(model, recipes()[2], steps="some") if isinstance(event, Step)]
    assert (steps[0].block, steps[0].index) == (0, 0)
    assert steps[0].preview().shape[:2] == (3, model.block_size * model.patch_size)


def test_operations_come_and_go_in_one_batch_and_each_gives_what_it_gives_alone(model, scheduler, alone):
    draw, given, left, threads = random.Random(3), {}, [], []
    asked = [
        dataclasses.replace(recipe, settings=dataclasses.replace(recipe.settings, seed=seed))
        for seed in range(2)
        for recipe in recipes()
    ]
    draw.shuffle(asked)

    def follow(index: int, events) -> None:
        given[index] = outcome(events)

    for index, recipe in enumerate(asked):
        events = scheduler.run(model, recipe, steps=draw.choice(("all", "drafts", "some", "none")))
        if index % 4 == 3:  # leaves after its first event or two
            for _ in range(draw.choice((1, 2))):
                next(events)
            events.close()
            left.append(index)
        else:
            threads.append(threading.Thread(target=follow, args=(index, events)))
            threads[-1].start()
        if draw.random() < 0.5:
            wait_for_turns(scheduler, draw.choice((2, 7)))
        while scheduler.numbers()["running"] > 10:
            time.sleep(0.01)
    for thread in threads:
        thread.join(120)
    assert sorted((*given, *left)) == list(range(len(asked)))
    for index, found in given.items():
        assert found == alone(asked[index])[0]
    assert set(scheduler.metrics.shared_requests) == {"generate", "interpolate", "edit"}


def wait_for_turns(scheduler, count: int) -> None:
    """Until the model has had so many turns more, or has nothing to do. Fails where neither comes."""
    until, deadline = scheduler.metrics.turns + count, time.monotonic() + 60
    while scheduler.metrics.turns < until and scheduler.numbers()["running"]:
        assert time.monotonic() < deadline, f"{until - scheduler.metrics.turns} of {count} turns have not come"
        time.sleep(0.002)


def test_inversions_share_their_way_to_the_noise_and_back(model, scheduler, alone):
    asked = [Recipe("invert", texts, SETTINGS, options={"iterations": 2}) for texts in ((TEXT,), ROAD)]
    events = [scheduler.run(model, recipe, steps="none") for recipe in asked]
    for each, recipe in zip(events, asked, strict=True):
        assert outcome(each) == alone(recipe)[0]
    assert scheduler.metrics.shared_requests == {"invert": 2}


def test_a_branch_from_the_middle_of_a_block_joins_a_batch(model, scheduler):
    recipe = Recipe("generate", ("The cat",), SETTINGS)
    record = recorder(recipe, dtype="float32")
    for _ in record.watch(run(model, recipe)):
        pass
    trace, held = record.trace(), held_batch(scheduler, model)
    events = scheduler.operate(model, lambda: start_branch(model, trace, Spot(0, 1, 1)), name="branch")
    first, *_, finished = [event for event in events if not isinstance(event, Waiting)]
    assert isinstance(first, Step) and (first.block, first.index) == (0, 1)
    assert trace.answers[0][-len(finished.token_ids[0]) :] == finished.token_ids[0]
    assert scheduler.metrics.shared_requests["branch"] == 1
    held.close()


def test_an_error_in_the_reading_of_a_batch_reaches_its_visitor_alone(model, scheduler, monkeypatch, alone):
    def fail(*_):
        raise RuntimeError("no measure")

    monkeypatch.setattr("coladlm.latent.edit.misfit", fail)
    good = scheduler.run(model, recipes()[0])
    with pytest.raises(RuntimeError, match="no measure"):
        list(scheduler.run(model, recipes()[4]))
    assert outcome(good) == alone(recipes()[0])[0]
    assert scheduler.numbers() == {"running": 0, "waiting": 0}


def test_an_operation_that_is_left_frees_what_it_holds(model, scheduler):
    events = scheduler.run(model, Recipe("edit", (TEXT,), LONG, 2, {"start": 1, "end": 3, "follow": 1.0}))
    while not isinstance(next(events), Step | BlockDone):
        pass
    events.close()
    assert scheduler.numbers() == {"running": 0, "waiting": 0}
    deadline = time.monotonic() + 60
    while scheduler.turns.call(scheduler.batches.sizes) and time.monotonic() < deadline:
        time.sleep(0.005)
    assert scheduler.turns.call(scheduler.batches.sizes) == []


def test_more_sequences_than_a_batch_may_have_run_in_one_of_their_own(model, alone):
    one = Scheduler(Limits(batch=2))
    try:
        assert outcome(one.run(model, recipes()[0])) == alone(recipes()[0])[0]
        assert one.metrics.shared_requests == {}
    finally:
        one.close(grace=0)

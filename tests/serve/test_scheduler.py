"""Many requests on one model: who runs when, who waits, who is refused, and what is left behind."""

import asyncio
import dataclasses
import gc
import threading
import time
import weakref

import pytest
import torch

from coladlm import BlockDone, ColaDLM, Finished, SamplerSettings, Step
from coladlm.recipe import Recipe, RecipeError
from coladlm.run import run
from coladlm.serve import (
    BusyError,
    ClosingError,
    Limits,
    Scheduler,
    SlowError,
    Waiting,
)
from coladlm.serve.drafts import UNREAD, Draft

from ..late_side import LateSide

SETTINGS = SamplerSettings(steps=4, max_new_tokens=12, stop_at_end=False, guidance=2.0)
LONG = dataclasses.replace(SETTINGS, max_new_tokens=4000)  # for a run that a test leaves or stops


@pytest.fixture
def scheduler():
    made = []

    def make(**limits):
        made.append(Scheduler(Limits(**limits)))
        return made[-1]

    yield make
    for one in made:
        one.close(grace=0)
        assert not one.turns.alive


def recipe(text="Once upon a time", settings=SETTINGS, operation="generate", **more):
    return Recipe(operation, (text,) if isinstance(text, str) else text, settings, **more)


def texts(events):
    return [event for event in events if isinstance(event, Finished)][-1].texts


def until(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.005)


def test_requests_at_once_each_get_what_the_recipe_gives_alone(model, scheduler):
    one = scheduler(batch=4)
    asked = [
        recipe(
            f"Tom had {i} red balls and",
            dataclasses.replace(SETTINGS, seed=i, steps=3 + i % 2, temperature=i % 3 / 2, max_new_tokens=5 + i),
            variations=1 + i % 2,
        )
        for i in range(10)
    ]
    given = {}

    def ask(i):
        given[i] = texts(one.run(model, asked[i]))

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(asked))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for i, made in enumerate(asked):
        assert given[i] == texts(run(model, made))


@pytest.mark.parametrize("operation", ["generate", "invert"])
def test_a_short_request_is_done_before_a_long_one_that_came_first(model, scheduler, operation):
    one = scheduler()
    settings = dataclasses.replace(LONG, steps=30) if operation == "generate" else LONG
    long = one.alone(lambda: run(model, recipe(settings=settings)))
    heard, ended = [], threading.Event()

    def follow():
        for event in long:
            heard.append(event)
        ended.set()

    thread = threading.Thread(target=follow)
    thread.start()
    until(lambda: len(heard) > 3)
    texts(one.run(model, recipe("The cat sat", operation=operation)))
    assert not ended.is_set()
    long.close()
    thread.join(60)


def test_requests_with_the_same_flow_share_a_batch_and_others_do_not(model, scheduler):
    one = scheduler(batch=3)
    same = [one.run(model, recipe(settings=dataclasses.replace(LONG, seed=i))) for i in range(4)]
    other = one.run(model, recipe(settings=dataclasses.replace(LONG, steps=5)))
    until(lambda: one.metrics.shared_requests.get("generate", 0) >= 3)
    assert sorted(one.turns.call(one.batches.sizes)) == [1, 1, 3]
    assert one.metrics.shared_requests == {"generate": 3}
    for events in (*same, other):
        events.close()
    until(lambda: not one.turns.call(one.batches.sizes))


def test_a_visitor_who_leaves_frees_the_place_at_once(model, scheduler):
    one = scheduler(running=1)
    for start in (lambda: one.run(model, recipe(settings=LONG)), lambda: one.alone(lambda: run(model, recipe()))):
        events = start()
        next(events)
        second = one.run(model, recipe())
        assert one.numbers() == {"running": 1, "waiting": 1}
        events.close()
        assert one.numbers() == {"running": 1, "waiting": 0}
        assert texts(second)
    assert one.numbers() == {"running": 0, "waiting": 0}


def test_an_iterator_that_is_dropped_is_a_visitor_who_left(model, scheduler):
    one = scheduler()
    events = one.run(model, recipe(settings=LONG))
    next(events)
    del events
    assert one.numbers()["running"] == 0


def test_who_leaves_the_line_leaves_no_trace(model, scheduler):
    one = scheduler(running=1)
    first = one.run(model, recipe(settings=LONG))
    one.run(model, recipe()).close()
    assert one.numbers() == {"running": 1, "waiting": 0}
    first.close()


def test_a_run_that_was_left_is_closed_by_the_next_turn(scheduler):
    one, closed = scheduler(), threading.Event()

    def endless():
        try:
            while True:
                yield "step"
        finally:
            closed.set()

    events = one.alone(endless)
    assert next(events) == "step"
    events.close()
    assert closed.wait(60)


def test_a_full_line_refuses_at_once_with_the_expected_wait(model, scheduler):
    one = scheduler(running=1, waiting=2)
    held = [one.run(model, recipe(settings=LONG)) for _ in range(3)]
    with pytest.raises(BusyError, match=r"1 request under way, 2 in the queue\. Try again in about") as refused:
        one.run(model, recipe())
    assert refused.value.seconds > 0
    assert one.numbers() == {"running": 1, "waiting": 2}  # so it was not one of them that made room
    for events in held:
        events.close()


def test_the_line_says_how_many_are_ahead(model, scheduler):
    one = scheduler(running=1)
    first = one.run(model, recipe(settings=LONG))
    second, third = one.run(model, recipe()), one.run(model, recipe())
    sooner, later = next(second), next(third)
    assert isinstance(sooner, Waiting) and isinstance(later, Waiting)
    assert (sooner.ahead, later.ahead) == (1, 2) and later.seconds > sooner.seconds > 0
    first.close()
    assert texts(second) == texts(third)


def test_one_visitor_cannot_take_all_places(model, scheduler):
    one = scheduler(per_visitor=2)
    held = [one.run(model, recipe(settings=LONG), visitor="a") for _ in range(2)]
    with pytest.raises(BusyError, match="2 requests under way") as refused:
        one.run(model, recipe(), visitor="a")
    assert refused.value.seconds is None
    assert texts(one.run(model, recipe(), visitor="b"))
    held[0].close()
    assert texts(one.run(model, recipe(), visitor="a"))
    held[1].close()


def test_what_is_wrong_with_a_recipe_reaches_its_visitor_alone(model, scheduler):
    one = scheduler()
    good = one.run(model, recipe(settings=SETTINGS))
    bad = one.run(model, recipe(options={"stops": 3}))
    with pytest.raises(RecipeError, match="stops"):
        list(bad)
    assert texts(good)
    with pytest.raises(RecipeError, match="empty"):
        list(one.run(model, recipe("", operation="invert")))
    assert one.numbers()["running"] == 0


def test_an_error_of_the_model_reaches_everybody_in_its_batch_and_the_next_request_works(model, scheduler, monkeypatch):
    one = scheduler()
    broken = RuntimeError("out of memory")

    def fail(*_):
        raise broken

    monkeypatch.setattr(model.dit, "hidden", fail)
    asked = [one.run(model, recipe()) for _ in range(2)]
    for events in asked:
        with pytest.raises(RuntimeError, match="out of memory"):
            list(events)
    monkeypatch.undo()
    assert texts(one.run(model, recipe()))


def test_previews_come_with_steps_that_may_be_read_at_any_time(model, scheduler):
    one = scheduler()
    settings = dataclasses.replace(SETTINGS, steps=40)
    seen = [event for event in one.run(model, recipe(settings=settings), steps="some") if isinstance(event, Step)]
    assert seen
    for step in seen:
        assert step.preview().shape[:2] == (1, model.block_size * model.patch_size)


def test_who_wants_every_step_gets_it_in_a_batch_too(model, scheduler):
    one = scheduler()
    other = one.run(model, recipe(settings=LONG), steps="none")
    next(other)
    seen = [event for event in one.run(model, recipe("The cat")) if not isinstance(event, Waiting)]
    expected = list(run(model, recipe("The cat")))
    assert [type(event) for event in seen] == [type(event) for event in expected]
    for event, alone in zip(seen, expected, strict=True):
        if isinstance(event, Step):
            assert torch.allclose(event.velocity, alone.velocity, atol=1e-4)
    other.close()


def test_previews_beside_the_steps_are_there_for_who_calls_them_however_late_the_device_is(
    model, scheduler, monkeypatch
):
    side = LateSide()
    monkeypatch.setattr("coladlm.serve.batches.side_of", lambda device: side)
    one = scheduler()
    other = one.run(model, recipe(settings=LONG), steps="drafts")
    next(other)
    seen = [event for event in one.run(model, recipe("The cat")) if not isinstance(event, Waiting)]
    other.close()
    previews = [event.preview() for event in seen if isinstance(event, Step)]
    alone = [event.preview() for event in run(model, recipe("The cat")) if isinstance(event, Step)]
    assert len(previews) == len(alone) <= side.count
    for found, wanted in zip(previews, alone, strict=True):
        assert torch.allclose(found, wanted, atol=1e-4)


def test_who_does_not_take_the_steps_is_let_go_and_the_others_go_on(model, scheduler, monkeypatch):
    monkeypatch.setattr("coladlm.serve.batches.PATIENCE", 0.2)
    one = scheduler()
    some = dataclasses.replace(SETTINGS, max_new_tokens=120)
    slow = one.run(model, recipe(settings=some))
    quick = one.run(model, recipe(settings=some), steps="none")
    assert texts(quick)
    with pytest.raises(SlowError, match="not read"):
        list(slow)


def test_who_wants_drafts_gets_one_of_every_step_in_a_batch_too(model, scheduler):
    one = scheduler()
    other = one.run(model, recipe(settings=LONG), steps="none")
    next(other)
    seen = [event for event in one.run(model, recipe("The cat"), steps="drafts") if not isinstance(event, Waiting)]
    other.close()
    expected = run(model, recipe("The cat"))
    for event in seen:
        alone = next(expected)
        assert type(event) is (Draft if isinstance(alone, Step) else type(alone))
        if isinstance(event, Draft):
            assert (event.block, event.index, event.steps) == (alone.block, alone.index, 4)
            assert event.active.tolist() == [True]
            assert torch.equal(event.token_ids, alone.preview().argmax(-1))
    assert next(expected, None) is None


def test_who_does_not_read_the_drafts_loses_some_and_no_text_and_nobody_waits(model, scheduler):
    one = scheduler()
    some = dataclasses.replace(SETTINGS, max_new_tokens=80)
    slow = one.run(model, recipe(settings=some), steps="drafts")
    quick = [event for event in one.run(model, recipe(settings=some), steps="none") if not isinstance(event, Waiting)]
    until(lambda: not one.numbers()["running"])  # the slow one has ended, too, and nobody has read it
    left = [event for event in slow if not isinstance(event, Waiting)]
    kept = [event for event in left if not isinstance(event, Draft)]
    assert [(type(event), event.texts) for event in kept] == [(type(event), event.texts) for event in quick]
    drafts = [event for event in left if isinstance(event, Draft)]
    assert 0 < len(drafts) <= UNREAD
    assert [(draft.block, draft.index) for draft in drafts] == [divmod(place, 4) for place in range(len(drafts))]


def test_without_previews_there_are_only_blocks_and_the_end(model, scheduler):
    events = [event for event in scheduler().run(model, recipe(), steps="none") if not isinstance(event, Waiting)]
    assert {type(event) for event in events} == {BlockDone, Finished}


def test_a_run_of_its_own_gives_every_event_and_previews_in_turn(model, scheduler):
    one = scheduler()
    expected = list(run(model, recipe()))
    seen = []
    for event in one.alone(lambda: run(model, recipe())):
        seen.append(event)
        if isinstance(event, Step):
            assert torch.isfinite(event.preview()).all()
    assert [type(event) for event in seen] == [type(event) for event in expected]


def test_a_call_gives_what_the_function_gives_in_the_thread_of_the_model(scheduler):
    one = scheduler()
    assert one.call(lambda: threading.current_thread().name) == "model"
    with pytest.raises(ValueError, match="no good"):
        one.call(lambda: (_ for _ in ()).throw(ValueError("no good")))


def test_a_look_takes_a_turn_of_the_thread_of_the_model_and_no_place(model, scheduler):
    one = scheduler(running=1, waiting=0)
    held = one.run(model, recipe(settings=LONG), steps="none")
    next(held)
    assert one.look(lambda: threading.current_thread().name) == "model"
    assert one.numbers() == {"running": 1, "waiting": 0}
    with pytest.raises(ValueError, match="no good"):
        one.look(lambda: (_ for _ in ()).throw(ValueError("no good")).__next__())
    held.close()
    one.close(grace=0)
    with pytest.raises(ClosingError):
        one.look(lambda: 1)


def test_an_event_loop_hears_the_same_without_a_thread(model, scheduler, complete):
    one = scheduler()

    async def ask(i):
        events = one.run(model, recipe(settings=dataclasses.replace(SETTINGS, seed=i)))
        return texts([event async for event in events.asynchronous()])

    async def several():
        return await asyncio.gather(*(ask(i) for i in range(5)))

    before = threading.active_count()
    given = complete(several())
    assert threading.active_count() <= before + 1
    assert given == [texts(run(model, recipe(settings=dataclasses.replace(SETTINGS, seed=i)))) for i in range(5)]


def test_closing_lets_short_requests_end_and_tells_the_others(model):
    one = Scheduler(Limits(running=2))
    endless = dataclasses.replace(LONG, steps=30)
    quick = dataclasses.replace(SETTINGS, steps=2, max_new_tokens=4)
    short, long, waits = (one.run(model, recipe(settings=s)) for s in (quick, endless, SETTINGS))
    closing = threading.Thread(target=one.close, args=(0.8,))
    closing.start()
    with pytest.raises(ClosingError):
        list(waits)
    assert texts(short)
    with pytest.raises(ClosingError):
        for _ in long:
            pass
    closing.join(60)
    assert not closing.is_alive() and not one.turns.alive
    with pytest.raises(ClosingError):
        one.run(model, recipe())


def test_another_model_works_beside_the_first_and_is_let_go(model, golden_folder, scheduler):
    one = scheduler()
    other = ColaDLM.from_pretrained(golden_folder, device="cpu", dtype="float32")
    gone = weakref.ref(other)
    first, second = one.run(model, recipe()), one.run(other, recipe())
    assert texts(first) == texts(second)
    del other, first, second
    until(lambda: gc.collect() >= 0 and gone() is None)


def test_what_is_counted_is_said_in_the_form_that_prometheus_reads(model, scheduler):
    one = scheduler(per_visitor=1)
    texts(one.run(model, recipe()))
    one.run(model, recipe(settings=LONG), visitor="a").close()
    held = one.run(model, recipe(settings=LONG), visitor="a")
    with pytest.raises(BusyError):
        one.run(model, recipe(), visitor="a")
    note = one.metrics.text(one.numbers())
    held.close()
    lines = dict(line.rsplit(" ", 1) for line in note.splitlines() if not line.startswith("#"))
    assert lines['coladlm_requests_total{operation="generate",outcome="done"}'] == "1"
    assert lines['coladlm_requests_total{operation="generate",outcome="left"}'] == "1"
    assert lines['coladlm_refused_total{reason="visitor"}'] == "1"
    assert lines["coladlm_tokens_total"] == "12"
    assert lines["coladlm_running"] == "1" and lines["coladlm_waiting"] == "0"
    assert lines['coladlm_wait_seconds_bucket{le="+Inf"}'] == lines["coladlm_wait_seconds_count"] == "3"
    assert float(lines["coladlm_turn_seconds_total"]) > 0

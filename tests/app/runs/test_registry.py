"""What becomes of a run by its id: with listeners that come, go, are slow or never come."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.runs.registry import TICK_SECONDS, RefusedRunError, Registry, RunLimits, UnknownRunError

PATIENCE = 20  # seconds, for a busy machine
ME, OTHER = "visitor-one", "visitor-two"


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Stage:
    """A view that gives the frames that the test puts up, and notes what becomes of it."""

    def __init__(self, last=None):
        self.frames, self.more, self.closed, self.begun = [], threading.Condition(), threading.Event(), 0
        self.last = last

    def put(self, *frames):
        with self.more:
            self.frames += frames
            self.more.notify_all()

    def __call__(self, context, controls):
        self.begun += 1
        try:
            while True:
                with self.more:
                    self.more.wait_for(lambda: self.frames, 0.02)
                    frame = self.frames.pop(0) if self.frames else {}
                if frame == "end":
                    return
                if isinstance(frame, Exception):
                    raise frame
                yield frame
        finally:
            if self.last:
                context.show(self.last)
            self.closed.set()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def registry(clock):
    registry = Registry(RunLimits(active=3, of_visitor=2, kept=6, kept_of_visitor=3), clock)
    yield registry
    registry.close()


@pytest.fixture
def stage(registry):
    stage = Stage()
    registry.add_view("stage", stage)
    return stage


def until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def in_a_loop(coroutine):
    """What a coroutine returns, in the event loop of a thread of its own: the main one may have Playwright's."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, coroutine).result()


def heard(registry, run, after=None):
    """All that a listener gets who stays to the end."""

    async def listen():
        return [update async for update in registry.follow(run, after) if update.kind != "beat"]

    return in_a_loop(asyncio.wait_for(listen(), PATIENCE))


def merged(updates):
    from .test_deltas import applied

    parts = {}
    for update in updates:
        if update.kind == "snapshot":
            parts = update.data["parts"]
        elif update.kind == "delta":
            parts = {**parts, **{n: applied(parts.get(n), p) for n, p in update.data["parts"].items()}}
    return parts


def test_a_run_shows_its_frames_and_its_end(registry, stage):
    run, new = registry.start(ME, "id-one-1", "stage", {})
    stage.put({"a": 1}, {"b": {"t": "x"}}, {"b": {"t": "xy"}}, "end")
    updates = heard(registry, run)
    assert new and updates[0].kind == "snapshot" and merged(updates) == {"a": 1, "b": {"t": "xy"}}
    assert updates[-1].data == {"outcome": "done", "message": ""}


def test_the_controls_and_the_names_reach_the_view(registry):
    seen = []
    registry.add_view("see", lambda context, controls: seen.append((context.visitor, context.id, controls)) or iter(()))
    run, _ = registry.start(ME, "id-one-1", "see", {"prompt": "x"})
    until(lambda: run.outcome)
    assert seen == [(ME, "id-one-1", {"prompt": "x"})]


def test_the_same_request_again_starts_no_second_run(registry, stage):
    first, _ = registry.start(ME, "id-one-1", "stage", {})
    second, new = registry.start(ME, "id-one-1", "stage", {})
    assert second is first and not new
    until(lambda: stage.begun == 1)


def test_the_id_of_another_visitor_is_as_unknown_as_none(registry, stage):
    registry.start(ME, "id-one-1", "stage", {})
    for ask in (registry.get, registry.stop, registry.leave, lambda v, i: registry.start(v, i, "stage", {})):
        with pytest.raises(UnknownRunError):
            ask(OTHER, "id-one-1")
    with pytest.raises(UnknownRunError):
        registry.get(OTHER, "id-never")


def test_a_view_that_is_not_there_is_refused(registry, stage):
    with pytest.raises(ValueError, match="stage"):
        registry.start(ME, "id-one-1", "nothing", {})


@pytest.mark.parametrize("error, note", [(ValueError("Seed is -1."), "Seed is -1."), (KeyError("x"), "KeyError")])
def test_what_goes_wrong_is_said_at_the_end_and_frames_stay(registry, stage, error, note):
    run, _ = registry.start(ME, "id-one-1", "stage", {})
    stage.put({"a": 1}, error)
    updates = heard(registry, run)
    assert merged(updates) == {"a": 1}
    assert updates[-1].data["outcome"] == "error" and note in updates[-1].data["message"]


def test_stop_closes_the_view_and_shows_what_it_leaves(registry):
    stage = Stage(last={"a": "kept"})
    registry.add_view("stage", stage)
    run, _ = registry.start(ME, "id-one-1", "stage", {})
    stage.put({"a": 1})
    until(lambda: run.parts)
    registry.stop(ME, "id-one-1")
    registry.stop(ME, "id-one-1")
    updates = heard(registry, run)
    assert stage.closed.is_set() and merged(updates) == {"a": "kept"}
    assert updates[-1].data["outcome"] == "stopped"


def test_a_run_that_was_stopped_before_it_came_is_never_begun(registry, stage):
    assert registry.stop(ME, "id-one-1").state == "stopped"
    run, new = registry.start(ME, "id-one-1", "stage", {})
    assert not new and run.state == "stopped"
    assert [update.kind for update in heard(registry, run)] == ["snapshot", "end"]
    assert stage.begun == 0


def test_stop_after_the_end_changes_nothing(registry, stage):
    run, _ = registry.start(ME, "id-one-1", "stage", {})
    stage.put("end")
    until(lambda: run.outcome)
    assert registry.stop(ME, "id-one-1").state == "done"


def test_a_connection_that_broke_goes_on_where_it_was(registry, stage):
    run, _ = registry.start(ME, "id-one-1", "stage", {})
    stage.put({"t": "a"})
    until(lambda: run.parts)

    async def first():
        updates = registry.follow(run)
        try:
            return await anext(updates)
        finally:
            await updates.aclose()

    before = in_a_loop(first())
    stage.put({"t": "ab"}, "end")
    updates = heard(registry, run, before.version)
    assert all(update.kind != "snapshot" for update in updates)
    assert updates[0].data == {"parts": {"t": {"$append": "b"}}}


@pytest.mark.parametrize("after", [0, 99, -5])
def test_who_names_a_state_that_is_not_known_gets_a_snapshot(registry, stage, after):
    run, _ = registry.start(ME, "id-one-1", "stage", {})
    stage.put({"t": "a"}, "end")
    until(lambda: run.outcome)
    assert [update.kind for update in heard(registry, run, after)] == ["snapshot", "end"]


def test_a_slow_listener_gets_the_latest_and_the_last_frame_and_no_queue(registry, stage):
    run, _ = registry.start(ME, "id-one-1", "stage", {})
    frames = [{"t": "x" * n} for n in range(1, 200)]

    async def listen():
        updates = registry.follow(run)
        got = [await anext(updates)]
        stage.put(*frames, "end")
        while run.outcome is None:
            await asyncio.sleep(0.01)
        return got + [update async for update in updates]

    updates = in_a_loop(asyncio.wait_for(listen(), PATIENCE))
    assert len(updates) == 3 and merged(updates) == frames[-1]


def test_a_run_that_nobody_comes_for_is_stopped(registry, stage, clock):
    run, _ = registry.start(ME, "id-one-1", "stage", {})
    clock.now += registry.limits.unheard - 0.1
    registry.tick()
    assert run.stop is None
    clock.now += 0.2
    registry.tick()
    until(lambda: run.outcome)
    assert run.outcome == "lost" and stage.closed.is_set()


def leave_after_one(registry, run):
    async def listen():
        updates = registry.follow(run)
        await anext(updates)
        await updates.aclose()

    in_a_loop(listen())


def test_a_run_whose_listener_went_is_stopped_unless_one_comes_back_in_time(registry, stage, clock):
    run, _ = registry.start(ME, "id-one-1", "stage", {})
    leave_after_one(registry, run)
    clock.now += registry.limits.orphan - 0.1
    registry.tick()
    leave_after_one(registry, run)  # came back, and went once more
    clock.now += registry.limits.orphan - 0.1
    registry.tick()
    assert run.stop is None
    clock.now += 0.2
    registry.tick()
    assert run.stop == "lost"


@pytest.mark.parametrize("good_bye_first", [True, False])
def test_a_page_that_says_good_bye_frees_the_place_within_a_second(registry, stage, clock, good_bye_first):
    run, _ = registry.start(ME, "id-one-1", "stage", {})

    async def listen():
        updates = registry.follow(run)
        await anext(updates)
        if good_bye_first:
            registry.leave(ME, "id-one-1")
        await updates.aclose()
        if not good_bye_first:
            registry.leave(ME, "id-one-1")

    in_a_loop(listen())
    clock.now += registry.limits.left + 0.01
    registry.tick()
    assert run.stop == "lost" and registry.limits.left + TICK_SECONDS < 1


@pytest.mark.parametrize("good_bye", ["before its stream ends", "after it", "never"])
def test_a_page_that_is_loaded_anew_slowly_keeps_its_run(registry, stage, clock, good_bye):
    run, _ = registry.start(ME, "id-one-1", "stage", {})

    async def listen():
        updates = registry.follow(run)
        await anext(updates)
        registry.come_back(ME)  # a browser asks for the new page before it leaves the old one
        clock.now += 5  # until the server has answered
        if good_bye == "before its stream ends":
            registry.leave(ME, "id-one-1")
        await updates.aclose()
        if good_bye == "after it":
            registry.leave(ME, "id-one-1")

    in_a_loop(listen())
    clock.now += registry.limits.returning - 5.1
    registry.tick()
    assert run.stop is None
    clock.now += registry.limits.returning
    registry.tick()
    assert run.stop == "lost"


def test_a_page_that_is_closed_soon_after_it_was_opened_frees_the_place_of_its_run(registry, stage, clock):
    registry.come_back(ME)
    clock.now += 1
    run, _ = registry.start(ME, "id-one-1", "stage", {})
    leave_after_one(registry, run)
    registry.leave(ME, "id-one-1")
    clock.now += registry.limits.left + 0.01
    registry.tick()
    assert run.stop == "lost"


def test_a_run_that_another_page_follows_goes_on_when_one_says_good_bye(registry, stage, clock):
    run, _ = registry.start(ME, "id-one-1", "stage", {})

    async def listen():
        updates = registry.follow(run)
        await anext(updates)
        registry.leave(ME, "id-one-1")
        clock.now += 100
        registry.tick()
        assert run.stop is None
        await updates.aclose()

    in_a_loop(listen())
    registry.tick()
    assert run.stop is None
    clock.now += registry.limits.orphan + 0.1
    registry.tick()
    assert run.stop == "lost"


def test_no_visitor_and_not_all_together_have_more_runs_under_way_than_there_is_room_for(registry, stage):
    registry.start(ME, "id-one-1", "stage", {})
    registry.start(ME, "id-one-2", "stage", {})
    with pytest.raises(RefusedRunError, match="You have 2"):
        registry.start(ME, "id-one-3", "stage", {})
    registry.start(OTHER, "id-two-1", "stage", {})
    with pytest.raises(RefusedRunError, match="There are 3"):
        registry.start(OTHER, "id-two-2", "stage", {})


def test_a_visitor_who_stops_runs_that_never_come_pushes_out_none_of_others(registry, stage):
    run, _ = registry.start(OTHER, "id-two-1", "stage", {})
    stage.put("end")
    until(lambda: run.outcome)
    for number in range(20):
        registry.stop(ME, f"id-one-{number}")
    assert registry.get(OTHER, "id-two-1") is run
    assert registry.numbers()["kept"] == 1 + registry.limits.kept_of_visitor


def test_the_oldest_finished_run_gives_way_to_a_new_one(registry, stage):
    for number in range(registry.limits.kept):
        registry.stop(f"visitor-{number}", f"id-{number}-1")
    registry.start(ME, "id-one-1", "stage", {})
    with pytest.raises(UnknownRunError):
        registry.get("visitor-0", "id-0-1")
    assert registry.get("visitor-1", "id-1-1")


def test_a_finished_run_is_found_for_a_while(registry, stage, clock):
    run, _ = registry.start(ME, "id-one-1", "stage", {})
    stage.put({"a": 1}, "end")
    until(lambda: run.outcome)
    clock.now += registry.limits.seconds - 1
    registry.tick()
    assert merged(heard(registry, registry.get(ME, "id-one-1"))) == {"a": 1}
    clock.now += 2
    registry.tick()
    with pytest.raises(UnknownRunError):
        registry.get(ME, "id-one-1")


def test_finished_runs_take_no_more_bytes_than_there_is_room_for(clock):
    registry = Registry(RunLimits(bytes=250), clock)
    registry.add_view("long", lambda context, controls: iter([{"t": "x" * 100}]))
    runs = [registry.start(ME, f"id-one-{n}", "long", {})[0] for n in range(3)]
    until(lambda: all(run.outcome for run in runs))
    registry.tick()
    assert registry.numbers()["kept"] == 2
    registry.close()


def test_a_run_that_shows_too_much_is_stopped_with_a_sentence(clock):
    registry = Registry(RunLimits(run_bytes=1 << 20), clock)

    def grow(context, controls):
        for n in range(1000):
            clock.now += 2
            yield {"t": "x" * (n << 14)}

    registry.add_view("grow", grow)
    run, _ = registry.start(ME, "id-one-1", "grow", {})
    until(lambda: run.outcome)
    assert run.outcome == "error" and "1 MB" in run.message
    registry.close()


def test_the_end_of_the_server_is_heard_and_new_runs_are_refused(registry, stage):
    run, _ = registry.start(ME, "id-one-1", "stage", {})
    ending = threading.Timer(0.1, registry.close)
    ending.start()
    assert "shutting down" in heard(registry, run)[-1].data["message"]
    ending.join()
    with pytest.raises(RefusedRunError, match="shutting down"):
        registry.start(ME, "id-one-2", "stage", {})


def test_no_thread_stays_behind(registry, stage):
    before = threading.active_count()
    run, _ = registry.start(ME, "id-one-1", "stage", {})
    registry.stop(ME, "id-one-1")
    until(lambda: run.outcome)
    until(lambda: threading.active_count() <= before)

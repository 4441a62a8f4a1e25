"""How often previews come: a share of the time of a batch, whoever is in it, and the first one at once."""

import collections
import dataclasses

import pytest
import torch

from coladlm import SamplerSettings, Step
from coladlm.recipe import Recipe
from coladlm.run import run
from coladlm.sampling.shared_run import SharedRun
from coladlm.serve import Limits, Scheduler, Waiting
from coladlm.serve.carried import carried_events, restore
from coladlm.serve.previews import PREVIEW_SHARE, CudaClock, HostClock, PreviewBudget, clock_of
from coladlm.serve.turns import Turns

SETTINGS = SamplerSettings(steps=4, max_new_tokens=200, stop_at_end=False, guidance=2.0)
STEP, PREVIEWS = 0.01, 0.04  # seconds that a step and the previews of one take on the clock of the tests


class Clock:
    """A clock that stands still until something is said to have taken time."""

    def __init__(self):
        self.time, self.previews, self.steps = 0.0, 0.0, 0

    def now(self):
        return self.time

    mark = now

    def seconds(self, begun, ended):
        return ended - begun

    def step(self):
        self.time, self.steps = self.time + STEP, self.steps + 1

    def preview(self):
        self.time, self.previews = self.time + PREVIEWS, self.previews + PREVIEWS


class TurnsByHand(Turns):
    """Turns that are given by the test, in its own thread."""

    def __init__(self, *how):
        super().__init__(*how)
        self.waiting = collections.deque()

    def add(self, task):
        if task not in self.waiting:
            self.waiting.append(task)

    def give(self):
        self.waiting.popleft().turn()


@pytest.fixture
def clock(monkeypatch):
    """The clock of all batches: their steps and previews take STEP and PREVIEWS."""
    clock = Clock()
    advance, read = SharedRun.advance, SharedRun.read

    def timed_advance(run):
        clock.step()
        return advance(run)

    def timed_read(run, groups, work):
        clock.preview()
        read(run, groups, work)

    monkeypatch.setattr(SharedRun, "advance", timed_advance)
    monkeypatch.setattr(SharedRun, "read", timed_read)
    monkeypatch.setattr("coladlm.serve.batches.PreviewBudget", lambda _: PreviewBudget(clock, clock.now))
    return clock


@pytest.fixture
def served(monkeypatch, clock):
    """A scheduler of 32 visitors in one batch, and what gives it turns up to the end of a step."""
    monkeypatch.setattr("coladlm.serve.scheduler.Turns", TurnsByHand)
    monkeypatch.setattr("coladlm.serve.requests.PULSE_SECONDS", 0.0)  # a visitor does not wait for news
    scheduler = Scheduler(Limits(running=32, batch=32))

    def step():
        before = clock.steps
        while clock.steps == before:
            scheduler.turns.give()

    return scheduler, step


class Visitor:
    """Reads all that lies there, and keeps the steps."""

    def __init__(self, scheduler, model, seed, steps):
        recipe = Recipe("generate", ("Once upon a time",), dataclasses.replace(SETTINGS, seed=seed))
        self.events, self.steps = scheduler.run(model, recipe, steps=steps), []

    def read(self):
        while not isinstance(event := next(self.events), Waiting):
            self.steps += [event] if isinstance(event, Step) else []


def test_visitors_out_of_step_get_previews_together_and_no_more_than_a_share_of_the_time(model, served, clock):
    scheduler, step = served
    visitors = []

    def go_on():
        step()
        for visitor in visitors:
            visitor.read()

    for seed in range(32):
        visitors.append(Visitor(scheduler, model, seed, "some"))
        for _ in range(2):  # less than a block
            go_on()
    for _ in range(5):  # in which the last one has begun
        go_on()
    assert {(visitor.steps[0].block, visitor.steps[0].index) for visitor in visitors} == {(0, 0)}
    begun, before, had = clock.time, clock.previews, [len(visitor.steps) for visitor in visitors]
    for _ in range(60):
        go_on()
    taken, share = clock.previews - before, (clock.time - begun) / PREVIEW_SHARE
    assert 0.7 * share < taken <= share + PREVIEWS
    (more,) = {len(visitor.steps) - then for visitor, then in zip(visitors, had, strict=True)}  # all the same number
    assert more * PREVIEWS == pytest.approx(taken)


def test_who_wants_every_step_gets_it_and_pays_for_nobody(model, served, clock):
    scheduler, step = served
    visitors = [Visitor(scheduler, model, 0, "all"), Visitor(scheduler, model, 1, "some")]
    for _ in range(40):
        step()
        for visitor in visitors:
            visitor.read()
    every, some = visitors
    assert [step.index for step in every.steps] == [place % 4 for place in range(len(every.steps))]
    assert 4 < len(some.steps) < len(every.steps) / 2


def test_a_visitor_who_has_not_read_the_last_preview_gets_no_other(model, served):
    scheduler, step = served
    visitor = Visitor(scheduler, model, 0, "some")
    for _ in range(20):
        step()
    visitor.read()
    assert len(visitor.steps) == 1


def test_previews_of_a_run_elsewhere_have_the_same_share(model, monkeypatch):
    ticks = iter(range(10_000))
    clock = Clock()
    monkeypatch.setattr(clock, "mark", lambda: next(ticks))  # so all takes a second, an event as a preview
    monkeypatch.setattr("coladlm.serve.carried.PreviewBudget", lambda _: PreviewBudget(clock, lambda: next(ticks)))
    recipe = Recipe("generate", ("Once upon a time",), dataclasses.replace(SETTINGS, max_new_tokens=80))
    found = [None if parcel is None else restore(parcel) for parcel in carried_events(model, recipe, "some")]
    assert isinstance(found[0], Step)
    shown, hidden = sum(isinstance(event, Step) for event in found), found.count(None)
    assert len(found) / (PREVIEW_SHARE + 1) < shown <= len(found) / (PREVIEW_SHARE - 1) + 1
    assert shown + hidden == sum(isinstance(event, Step) for event in run(model, recipe))


class Event:
    """An event of CUDA, recorded on one stream a second after the one before, that happens when the test says so."""

    def __init__(self, before):
        self.time, self.happened = 1000.0 * len(before), False  # ms
        before.append(self)

    def record(self, stream):
        assert stream == "the stream of cuda:1"

    def query(self):
        return self.happened

    def elapsed_time(self, other):
        assert self.happened and other.happened
        return other.time - self.time


def test_the_budget_of_a_gpu_is_kept_by_its_own_events_without_waiting_for_them():
    events = []
    clock = CudaClock(torch.device("cuda:1"), lambda: Event(events), lambda device: f"the stream of {device}")
    budget = PreviewBudget(clock, lambda: len(events))

    def happen():
        for event in events:
            event.happened = True

    assert budget.due()
    with budget.previews(True):
        pass
    for _ in range(5):
        with budget.work():
            pass
        assert not budget.due()  # nobody knows yet what they took
    happen()
    assert budget.due()  # five seconds of work have paid for one of previews
    with budget.previews(True):
        pass
    for _ in range(2):
        with budget.work():
            pass
        happen()
        assert not budget.due()
    with budget.work():
        pass
    happen()
    assert budget.due()


def test_a_processor_and_a_gpu_have_clocks_of_their_own():
    assert isinstance(clock_of(torch.device("cpu")), HostClock)
    assert isinstance(clock_of(torch.device("cuda", 1)), CudaClock)

"""The number of threads is found by timing steps; here on a clock of its own, with machines that are made up."""

import time

import pytest
import torch

from coladlm.hardware.threads import (
    AGAIN,
    RECENT,
    SELDOM,
    TRIES,
    CallersThreads,
    ThreadTuner,
    counts_up_to,
    tuner_for,
)


class Machine:
    """Steps take what `seconds` says for each number of threads."""

    def __init__(self, seconds: dict[int, float], start: int = 1) -> None:
        self.seconds, self.now, self.threads, self.used = seconds, 0.0, start, []
        self.worked = 0.0  # processor time
        self.share = 1.0  # of a core that the thread gets
        self.tuner = ThreadTuner(list(seconds), start, self.use, lambda: self.now, lambda: self.worked,
                                 lambda: self.threads)  # fmt: skip

    def use(self, threads: int) -> None:
        self.threads = threads

    def steps(self, count: int, rows: int = 1) -> float:
        """Runs steps; returns the seconds that they took."""
        begun = self.now
        for _ in range(count):
            with self.tuner.step(rows):
                self.used.append(self.threads)
                self.now += self.seconds[self.threads]
                self.worked += self.share * self.seconds[self.threads]
        return self.now - begun


def test_the_fastest_number_is_found_and_kept():
    machine = Machine({1: 0.010, 2: 0.006, 4: 0.008})
    machine.steps(3 * TRIES + 20)
    assert machine.used[: 3 * TRIES] == [1] * TRIES + [2] * TRIES + [4] * TRIES
    assert set(machine.used[3 * TRIES :]) == {2}


def test_what_is_nearly_as_fast_with_fewer_threads_leaves_a_core_to_others():
    machine = Machine({1: 0.0104, 2: 0.0100})
    machine.steps(2 * TRIES + 1)
    assert machine.threads == 1


def test_a_machine_that_becomes_busy_does_not_make_the_steps_collapse():
    machine = Machine({1: 0.010, 2: 0.006})
    machine.steps(20)
    assert machine.threads == 2
    machine.seconds = {1: 0.015, 2: 0.120}  # two threads wait for each other now
    seconds = machine.steps(1000)
    assert machine.threads == 1
    assert seconds < 1.2 * 1000 * 0.015
    assert machine.used[20:].count(2) < RECENT + TRIES


def test_on_a_machine_whose_cores_are_taken_more_threads_are_not_even_tried():
    machine = Machine({1: 0.010, 2: 3.0})
    machine.share = 0.5
    machine.steps(500)
    assert set(machine.used) == {1}


def test_a_number_that_is_hopeless_is_tried_once():
    machine = Machine({1: 0.010, 2: 1.0, 4: 2.0})
    machine.steps(TRIES + 2 + 5)
    assert machine.used == [1] * TRIES + [2, 4] + [1] * 5


def test_a_machine_that_becomes_idle_is_used_again_after_a_while():
    machine = Machine({1: 0.010, 2: 0.120})
    machine.steps(50)
    machine.seconds = {1: 0.010, 2: 0.006}
    machine.steps(int(2 * AGAIN / 0.010) + 50)
    assert machine.threads == 2


def test_tries_that_come_to_nothing_become_seldom():
    machine = Machine({1: 1.0, 2: 10.0})
    machine.steps(4000)
    assert machine.used.count(2) <= 4000 / SELDOM + 5


def test_steps_that_are_slow_with_every_number_are_not_measured_again_and_again():
    machine = Machine({1: 0.010, 2: 0.008})
    machine.steps(20)
    machine.seconds = {1: 0.050, 2: 0.040}
    machine.steps(200)
    assert set(machine.used[-150:]) == {2}


def test_small_and_large_steps_have_each_their_own_number():
    machine = Machine({1: 0.010, 2: 0.020})
    machine.steps(20, rows=1)
    machine.seconds = {1: 0.100, 2: 0.060}
    machine.steps(20, rows=32)
    assert machine.threads == 2
    machine.seconds = {1: 0.010, 2: 0.020}
    machine.steps(1, rows=1)
    assert machine.threads == 1


def test_models_that_take_turns_have_each_their_own_number():
    fast, slow = Machine({1: 0.010, 2: 0.020}), Machine({1: 0.100, 2: 0.060})
    for machine in (fast, slow):
        machine.steps(20)
    fast.threads = slow.threads  # the number is the thread's, whichever tuner has set it
    fast.steps(1)
    assert (slow.used[-1], fast.used[-1]) == (2, 1)


def test_counts():
    assert [counts_up_to(most) for most in (1, 2, 6, 8)] == [[1], [1, 2], [1, 2, 4, 6], [1, 2, 4, 8]]
    assert tuner_for(torch.device("cuda"), 1, 8) is None
    assert tuner_for(torch.device("cpu"), 1, 1) is None
    tuner = tuner_for(torch.device("cpu"), 1, 2)
    assert tuner is not None and tuner.counts == [1, 2]


def test_a_run_is_timed_and_its_text_is_the_same(model, monkeypatch):
    settings = model.defaults
    wanted = model.generate(["Once upon a time"], settings)
    used = []
    # on a processor of its own: where others have the core, two are not even tried
    tuner = ThreadTuner([1, 2], 1, used.append, time.perf_counter, time.perf_counter, lambda: 0)
    monkeypatch.setattr(model.sampler, "threads", tuner)
    assert model.generate(["Once upon a time"], settings) == wanted
    assert 2 in used


def test_a_step_that_fails_is_not_counted():
    machine = Machine({1: 1.0, 2: 2.0})
    with pytest.raises(KeyError), machine.tuner.step(1):
        raise KeyError
    assert not next(iter(machine.tuner.choices.values())).found


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_a_program_has_its_own_threads_again_after_each_event(two_threads):
    callers, cpu = CallersThreads(1000), torch.device("cpu")
    with callers.borrowed(cpu) as tuner:
        assert torch.get_num_threads() == 1  # with which a small model begins
        tuner.count = 1
    assert torch.get_num_threads() == 2
    with pytest.raises(KeyError), callers.borrowed(cpu) as again:
        assert again is tuner
        raise KeyError
    assert torch.get_num_threads() == 2
    with callers.borrowed(torch.device("cuda")) as tuner:
        assert tuner is None and torch.get_num_threads() == 2


def test_a_program_that_allows_one_thread_gets_one():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with CallersThreads(10**9).borrowed(torch.device("cpu")) as tuner:
            assert tuner is None and torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_the_library_tunes_the_threads_of_its_steps_and_leaves_those_of_the_caller(two_threads, model):
    assert model.sampler.threads is None
    events = model.sample(["a", "b"])
    for _ in range(3):
        next(events)
        assert torch.get_num_threads() == 2
    events.close()
    assert torch.get_num_threads() == 2
    tuner = model.sampler.callers_threads.tuners["cpu", 2]
    assert tuner.choices[(2).bit_length()].found  # measured for two rows

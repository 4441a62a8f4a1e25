"""Steps that come all together are shown over the time from one block to the next."""

import dataclasses

import pytest
import torch

from app.shared.told_steps import LONGEST, SHARE, ToldSteps
from coladlm import SamplerSettings, Step

SETTINGS = SamplerSettings(steps=4, noises=4)


class Clock:
    def __init__(self) -> None:
        self.now, self.waited = 0.0, []

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.now += seconds


def step(block: int, index: int) -> Step:
    nothing = torch.zeros(1, 4)
    return Step(block, index, 4, nothing, nothing, nothing, nothing, nothing, None, None, nothing, lambda clean: clean)


def shown(told: ToldSteps, clock: Clock, block: int) -> list[float]:
    """When the steps of a block are shown, from the first one on."""
    begun, times = clock.now, []
    for index in range(4):
        told.wait_for(step(block, index))
        times.append(clock.now - begun)
    return times


def test_a_block_is_shown_over_most_of_the_time_that_the_one_before_has_taken():
    clock = Clock()
    told = ToldSteps(SETTINGS, 4, clock, clock.wait)
    clock.now += 5.0  # in the queue
    told.begins()
    begun = clock.now
    for block in range(3):
        clock.now = begun = max(clock.now, begun + 0.2)
        assert shown(told, clock, block) == pytest.approx([0.2 * SHARE * index / 4 for index in range(4)])
        assert clock.now < begun + 0.2  # the next block has not come yet
    clock.now += 60.0  # others had the machine
    assert shown(told, clock, 3)[-1] == pytest.approx(LONGEST * 3 / 4)


def test_who_reads_late_does_not_wait_longer():
    clock = Clock()
    told = ToldSteps(SETTINGS, 4, clock, clock.wait)
    clock.now = 0.4
    told.wait_for(step(0, 0))
    clock.now += 1.0
    for index in (1, 2, 3):
        told.wait_for(step(0, index))
    assert clock.waited == []


@pytest.mark.parametrize("changes", [{"noises": 1}, {"stagger": 0.5}, {"block_size": 1}], ids=str)
def test_steps_that_come_one_by_one_are_not_held_up(changes):
    clock, settings = Clock(), dataclasses.replace(SETTINGS, **changes)
    told = ToldSteps(settings, settings.block_of(4), clock, clock.wait)
    clock.now = 1.0
    assert shown(told, clock, 0) == [0.0] * 4

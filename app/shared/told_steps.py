"""The steps of a block that are told all together, shown over the time that the next block's drafts take.

A block that is drafted from several noises (see `SamplerSettings.noises`) has no steps to show until one draft is kept;
then it has all of them at once, faster than anybody can watch.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from coladlm import SamplerSettings
from coladlm.sampling.events import Step

SHARE = 0.8  # of the time from one block to the next, so that what is shown keeps up with what is written
LONGEST = 1.0  # seconds for the steps of a block, where the machine is busy with others


class ToldSteps:
    """Waits at each step of a run until it is to be shown; not at all where steps come one by one anyway."""

    def __init__(self, settings: SamplerSettings, block_size: int, clock: Callable[[], float],
                 wait: Callable[[float], None] = time.sleep) -> None:  # fmt: skip
        self.clock, self.wait = clock, wait
        self.drafted = settings.noises_of(block_size) > 1
        self.seconds = 0.0  # for the steps of the block under way
        self._block: int | None = None
        self._begun = clock()

    def begins(self) -> None:
        """The run begins now, and has waited before."""
        self._begun = self.clock()

    def wait_for(self, step: Step) -> None:
        """Waits until this step's turn in its block has come."""
        if not self.drafted:
            return
        if step.block != self._block:
            now = self.clock()
            self.seconds = min(SHARE * (now - self._begun), LONGEST)
            self._block, self._begun = step.block, now
        left = self._begun + self.seconds * step.index / step.steps - self.clock()
        if left > 0:
            self.wait(left)

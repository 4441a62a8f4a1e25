"""How many threads torch computes with on a CPU, found out by timing the steps of the sampler themselves.

No rule says it beforehand: two threads take two thirds of the time of one for a large batch on an idle machine, and ten
times as long for a small one where something else wants a core, since each waits for the other, spinning, hundreds of
times a step. So every count is tried for a few steps, the fastest one is kept, and all are tried again when steps have
become much slower than they were, or after a while.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import statistics
import time
from collections.abc import Callable, Iterator, Sequence

import torch

from .devices import choose_threads

TRIES = 3  # steps with each count, of which the fastest counts
HOPELESS = 2.0  # times the best so far: no second step with this count
NEARLY = 1.1  # times the best: then the fewer threads are as good, and leave the others a core
CONTENDED = 1.5  # wall time of a step over its thread's processor time: others have the core, more threads would wait
RECENT = 9  # steps whose median says how fast it is now
SLOWER = 2.0  # times as slow as when the count was chosen: it is tried again
AGAIN = 30.0  # seconds after which it is tried again in any case: the machine may have become idle
SELDOM = 480.0  # as long as that comes to nothing, the wait doubles up to this


def counts_up_to(most: int) -> list[int]:
    """1, 2, 4, ... and `most`."""
    return sorted({min(1 << power, most) for power in range(most.bit_length() + 1)})


@dataclasses.dataclass(eq=False)
class _Choice:
    """The count for steps of one size. waiting: counts still to be tried; found: the best seconds with each."""

    counts: Sequence[int]
    count: int = 1
    since: float = 0.0
    wait: float = AGAIN
    reference: float = 0.0
    tries: int = 0
    waiting: list[int] = dataclasses.field(default_factory=list)
    found: dict[int, float] = dataclasses.field(default_factory=dict)
    recent: collections.deque[float] = dataclasses.field(default_factory=lambda: collections.deque(maxlen=RECENT))

    def try_all(self) -> None:
        """Begins with the count in use: the others are then measured against it."""
        self.waiting = [self.count, *(count for count in self.counts if count != self.count)]
        self.found, self.tries = {}, 0
        self.recent.clear()

    def note(self, seconds: float, now: float, contended: bool) -> None:
        """A step with `count` took so long. contended: with one thread, which had to wait for its core."""
        if self.waiting:
            self._note_try(seconds, now, contended)
            return
        self.recent.append(seconds)
        # with the fewest threads slow steps mean a busy machine, for which more of them are no cure
        slow = self.count > self.counts[0] and len(self.recent) == RECENT
        slow = slow and statistics.median(self.recent) > SLOWER * self.reference
        if slow or now - self.since > self.wait:
            self.try_all()

    def _note_try(self, seconds: float, now: float, contended: bool) -> None:
        tried, found = self.count, self.found  # a run in another thread may begin to try all again meanwhile
        best = min((*found.values(), seconds))
        found[tried] = min(found.get(tried, seconds), seconds)
        self.tries += 1
        if self.tries < TRIES and seconds <= HOPELESS * best:
            return
        waiting = [] if contended else [count for count in self.waiting if count != tried]
        self.waiting, self.tries = waiting, 0
        if waiting:
            self.count = waiting[0]
            return
        best, before = min(found.values()), next(iter(found))
        chosen = min(count for count, took in found.items() if took <= NEARLY * best)
        self.count, self.reference, self.since = chosen, found[chosen], now
        self.wait = min(2 * self.wait, SELDOM) if chosen == before else AGAIN


class ThreadTuner:
    """Sets the number of threads of the calling thread's operators before each step, as it has measured. Models that
    take turns in one thread have each a tuner, so none relies on the number that it has set.

    counts: those to choose from. start: with which it begins. apply, clock, processor, in_force: for tests.
    """

    def __init__(self, counts: Sequence[int], start: int, apply: Callable[[int], None] = torch.set_num_threads,
                 clock: Callable[[], float] = time.perf_counter,
                 processor: Callable[[], float] = time.thread_time,
                 in_force: Callable[[], int] = torch.get_num_threads) -> None:  # fmt: skip
        self.counts, self.count, self.apply, self.clock, self.processor = sorted(counts), start, apply, clock, processor
        self.in_force = in_force
        self.choices: dict[int, _Choice] = {}

    @contextlib.contextmanager
    def step(self, rows: int) -> Iterator[None]:
        """Around one step of so many rows; sizes that differ by less than a factor of two share what is known."""
        size = rows.bit_length()
        choice = self.choices.get(size)
        if choice is None:
            choice = self.choices[size] = _Choice(self.counts, self.count)
            choice.try_all()
        count = self.count = choice.count
        if count != self.in_force():
            self.apply(count)
        begun, worked = self.clock(), self.processor()
        yield
        now, worked = self.clock(), self.processor() - worked
        choice.note(now - begun, now, count == 1 and now - begun > CONTENDED * worked)


def always(count: int) -> ThreadTuner:
    """A tuner that has nothing to choose, for measurements with so many threads."""
    return ThreadTuner([count], count)


class CallersThreads:
    """The threads of a program that uses the library, where nothing says how many are good for a model: while an event
    is computed a tuner chooses among at most those that torch has then, and afterwards torch has them again.

    parameters: of the model.
    """

    def __init__(self, parameters: int) -> None:
        self.parameters = parameters
        self.tuners: dict[tuple[str, int], ThreadTuner | None] = {}

    @contextlib.contextmanager
    def borrowed(self, device: torch.device) -> Iterator[ThreadTuner | None]:
        """The tuner for the threads that torch has now, with the model on this device; None where there is nothing to
        choose.
        """
        most = torch.get_num_threads()
        key = device.type, most
        if key not in self.tuners:
            self.tuners[key] = tuner_for(device, choose_threads(self.parameters, device, most), most)
        tuner = self.tuners[key]
        if tuner is not None and tuner.count != most:
            torch.set_num_threads(tuner.count)
        try:
            yield tuner
        finally:
            if torch.get_num_threads() != most:
                torch.set_num_threads(most)


def tuner_for(device: torch.device, start: int, most: int) -> ThreadTuner | None:
    """A tuner for a model on this device, from 1 to `most` threads; None where there is nothing to choose."""
    return ThreadTuner(counts_up_to(most), start) if device.type == "cpu" and most > 1 else None

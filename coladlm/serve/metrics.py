"""Metrics: what the server counts, in Prometheus' text format (exposition format 0.0.4)."""

from __future__ import annotations

import bisect
import collections
import threading
from collections.abc import Mapping
from typing import Any

from ..sampling.events import Finished

SECONDS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)  # upper bounds of the histograms' buckets
NAME = "coladlm"
MAX_OPERATIONS = 32  # names counted apart; a recipe may name any operation, and no counter is kept for each


class Histogram:
    """How many values lie below each bound of SECONDS."""

    def __init__(self) -> None:
        self.buckets, self.sum = [0] * (len(SECONDS) + 1), 0.0

    def add(self, value: float) -> None:
        self.buckets[bisect.bisect_left(SECONDS, value)] += 1
        self.sum += value

    def lines(self, name: str) -> list[str]:
        out, below = [], 0
        for bound, count in zip((*map(str, SECONDS), "+Inf"), self.buckets, strict=True):
            below += count
            out.append(f'{name}_bucket{{le="{bound}"}} {below}')
        return [*out, f"{name}_sum {self.sum:.6f}", f"{name}_count {below}"]


class Metrics:
    """Counters since the start. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ended: collections.Counter[tuple[str, str]] = collections.Counter()
        self._refused: collections.Counter[str] = collections.Counter()
        self._waits, self._lengths = Histogram(), Histogram()
        self._shared: collections.Counter[str] = collections.Counter()
        self._names: set[str] = set()
        self._tokens = self._turns = self._batch_turns = self._batch_rows = self._replayed = 0
        self._seconds = 0.0

    def refused(self, why: str) -> None:
        with self._lock:
            self._refused[why] += 1

    def waited(self, seconds: float) -> None:
        with self._lock:
            self._waits.add(seconds)

    def ended(self, name: str, outcome: str, seconds: float) -> None:
        with self._lock:
            self._ended[self._counted_name(name), outcome] += 1
            self._lengths.add(seconds)

    def wrote(self, event: Any) -> None:
        """Counts an event of a run."""
        with self._lock:
            if isinstance(event, Finished):
                self._tokens += sum(map(len, event.token_ids))

    def read(self, tokens: int) -> None:
        """Counts those of an answer that was enough before the run had ended."""
        with self._lock:
            self._tokens += tokens

    def turn(self, seconds: float) -> None:
        with self._lock:
            self._turns += 1
            self._seconds += seconds

    def shared(self, name: str) -> None:
        """A request is in a batch together with another one, for the first time."""
        with self._lock:
            self._shared[self._counted_name(name)] += 1

    def replayed(self) -> None:
        """The replica that worked on a run has ended; another one begins it again."""
        with self._lock:
            self._replayed += 1

    def _counted_name(self, name: str) -> str:
        """`name`, or "other" where MAX_OPERATIONS others are counted already."""
        if name not in self._names:
            if len(self._names) >= MAX_OPERATIONS:
                return "other"
            self._names.add(name)
        return name

    def stepped(self, rows: int) -> None:
        """A batch had a turn, with so many sequences."""
        with self._lock:
            self._batch_turns += 1
            self._batch_rows += rows

    @property
    def turns(self) -> int:
        """Turns so far."""
        with self._lock:
            return self._turns

    @property
    def shared_requests(self) -> dict[str, int]:
        """Requests that have shared a batch with another one, by operation."""
        with self._lock:
            return dict(self._shared)

    def text(self, now: Mapping[str, float]) -> str:
        """All counts in Prometheus' text format. now: values of this moment by name, such as running and waiting."""
        with self._lock:
            ended = [f'{{operation="{name}",outcome="{outcome}"}} {count}'
                     for (name, outcome), count in sorted(self._ended.items())]  # fmt: skip
            shared = [f'{{operation="{name}"}} {count}' for name, count in sorted(self._shared.items())]
            refused = [f'{{reason="{why}"}} {count}' for why, count in sorted(self._refused.items())]
            parts = [
                ("requests_total", "counter", "Requests that have ended, by operation and outcome.", ended),
                ("refused_total", "counter", "Requests that were refused, by reason.", refused),
                ("tokens_total", "counter", "Tokens of finished answers.", [f" {self._tokens}"]),
                ("turns_total", "counter", "Turns of runs on the model.", [f" {self._turns}"]),
                ("turn_seconds_total", "counter", "Seconds in turns: how busy the model is.",
                 [f" {self._seconds:.6f}"]),
                ("shared_requests_total", "counter", "Requests that have shared a batch with another, by operation.",
                 shared),
                ("batch_turns_total", "counter", "Turns of batches.", [f" {self._batch_turns}"]),
                ("batch_rows_total", "counter", "Sequences in the turns of batches.", [f" {self._batch_rows}"]),
                ("replayed_total", "counter", "Runs that were begun again, as their replica had ended.",
                 [f" {self._replayed}"]),
            ]  # fmt: skip
            gauges = [(name, "gauge", f"Requests {name} now.", [f" {value}"]) for name, value in now.items()]
            out = []
            for name, kind, about, values in (*parts, *gauges):
                out += [f"# HELP {NAME}_{name} {about}", f"# TYPE {NAME}_{name} {kind}"]
                out += [f"{NAME}_{name}{value}" for value in values]
            for name, about, histogram in (
                ("wait_seconds", "Time in the queue before a request got a place.", self._waits),
                ("request_seconds", "Time from the place of a request to its end.", self._lengths),
            ):
                out += [f"# HELP {NAME}_{name} {about}", f"# TYPE {NAME}_{name} histogram"]
                out += histogram.lines(f"{NAME}_{name}")
            return "\n".join(out) + "\n"

"""How far a training is: JSON lines for programs, a line to read for people."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable
from typing import Any


def reporter(stage: str) -> Callable[[dict[str, Any]], None]:
    """Shows lines of metrics (see `Training.log`): as JSON lines on stdout unless that is a terminal, and on a terminal
    as one line on stderr that is written over; each validation leaves a line of its own.
    """
    time_left = TimeLeft()

    def show(metrics: dict[str, Any]) -> None:
        if not sys.stdout.isatty():
            print(json.dumps({"stage": stage, **metrics}), flush=True)
        valid = metrics["kind"] == "valid"
        if not sys.stderr.isatty() and not (valid and sys.stdout.isatty()):
            return
        line = line_of(stage, metrics, time_left(metrics["share"]) if "share" in metrics else None)
        start, end = ("\r\033[K", "\n" if valid else "") if sys.stderr.isatty() else ("", "\n")
        print(f"{start}{line}", end=end, file=sys.stderr, flush=True)

    return show


def line_of(stage: str, metrics: dict[str, Any], seconds_left: float | None = None) -> str:
    """Metrics as a line to read; those of a validation with all of their numbers, and the samples below it."""
    parts = [stage]
    if "share" in metrics:
        parts.append(f"{100 * metrics['share']:.0f} % done")
    if seconds_left is not None:
        parts.append(_left(seconds_left))
    if metrics["kind"] == "train":
        parts += [f"loss {metrics['loss']:.3f}", f"step {metrics['step']:,}"]
        return ", ".join(parts)
    given = ("seconds", "share")
    parts += [
        f"{name} {value:.3f}" for name, value in metrics.items() if isinstance(value, float) and name not in given
    ]
    return ", ".join([*parts, f"step {metrics['step']:,}"]) + "".join(
        f"\n  | {text!r}" for text in metrics.get("samples", ())
    )


class TimeLeft:
    """Seconds by the clock that a training still needs, from how its share has grown since the first call."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self.clock, self.start, self.last = clock, (0.0, 0.0), math.inf

    def __call__(self, share: float) -> float | None:
        """None while nothing is known. A share that falls is the start of another training."""
        now = self.clock()
        if share < self.last:
            self.start = now, share
        self.last = share
        seconds, grown = now - self.start[0], share - self.start[1]
        return seconds * (1 - share) / grown if grown > 0 else None


def _left(seconds: float) -> str:
    if seconds < 90:
        return f"about {seconds:.0f} seconds left"
    return f"about {seconds / 60:.0f} minutes left"

"""Runs that visitors have made, kept in memory while there is room and for some hours. None is written to disk."""

from __future__ import annotations

import dataclasses
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from coladlm.assets import ASSETS
from coladlm.trace import Trace

from .bounded_store import BoundedStore

TRACES = ASSETS / "traces"  # runs that ship with the app
MAX_BYTES = 256 << 20  # of all traces together
MAX_RUNS = 12  # of one visitor
MAX_ALL = 512  # of all visitors
MAX_SECONDS = 2 * 60 * 60  # since a run was last looked at


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """A run that can be shown. sequence: of its trace. branch: what it left, and where, if it is a branch."""

    id: str
    label: str
    trace: Trace
    sequence: int = 0
    branch: dict[str, Any] | None = None


class TraceStore:
    """Runs by visitor, the oldest forgotten first. Recorded runs that ship with the app belong to everybody."""

    def __init__(
        self, folder: Path | None = None, max_bytes: int = MAX_BYTES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._runs: BoundedStore[tuple[str, str], Run] = BoundedStore(
            MAX_ALL, max_bytes, MAX_SECONDS, lambda run: run.trace.nbytes, clock
        )
        self._counts: dict[str, int] = {}
        self._lock = threading.Lock()
        self._shipped = {f"shipped-{file.stem}": file for file in sorted(folder.glob("*.npz"))} if folder else {}
        self._loaded: dict[str, Run] = {}

    @property
    def shipped(self) -> list[tuple[str, str]]:
        """(label, id) of the recorded runs."""
        return [(file.stem.replace("-", " ").capitalize(), id_) for id_, file in self._shipped.items()]

    def next_number(self, visitor: str) -> int:
        """The number in the label of a visitor's next run, for one that shows it before it is kept."""
        with self._lock:
            number = self._counts[visitor] = self._counts.get(visitor, 0) + 1
            return number

    def give_back(self, visitor: str, number: int) -> None:
        """Lets the next run have a number of `next_number` whose run came to nothing, if none has been given since."""
        with self._lock:
            if self._counts.get(visitor) == number:
                self._counts[visitor] = number - 1

    def add(self, visitor: str, label: str, trace: Trace, sequence: int = 0, branch: dict[str, Any] | None = None,
            id_: str = "", number: int = 0) -> Run:  # fmt: skip
        """Keeps a run of a visitor under its id, or a new one; its label gets its number, or the next one."""
        number = number or self.next_number(visitor)
        with self._lock:
            run = Run(id_ or f"r{number}-{secrets.token_hex(3)}", f"{number} · {label}", trace, sequence, branch)
            self._runs.keep((visitor, run.id), run)
            own = [key for key, _ in self._runs.items() if key[0] == visitor]
            for key in own[:-MAX_RUNS]:
                self._runs.forget(key)
            there = {owner for (owner, _), _ in self._runs.items()}
            self._counts = {owner: count for owner, count in self._counts.items() if owner in there}
            self._counts[visitor] = max(number, self._counts.get(visitor, 0))
            return run

    def get(self, visitor: str, id_: str) -> Run | None:
        """A run of this visitor, or a recorded one; None if it is not there any more."""
        if id_ in self._shipped:
            if id_ not in self._loaded:
                label = next(label for label, shipped in self.shipped if shipped == id_)
                self._loaded[id_] = Run(id_, label, Trace.load(self._shipped[id_]))
            return self._loaded[id_]
        return self._runs.get((visitor, id_))

    def choices(self, visitor: str) -> list[tuple[str, str]]:
        """(label, id) of everything that the visitor can show, the newest first."""
        own = [(run.label, run.id) for key, run in self._runs.items() if key[0] == visitor]
        return own[::-1] + self.shipped

"""How far a long command is, on stderr."""

from __future__ import annotations

import sys
import time

EVERY = 10.0  # seconds between lines, where no line can be written over


class TerminalProgress:
    """On a terminal one line that is written over; elsewhere a line for the start and the end of each kind of work,
    and one every `EVERY` seconds between them.
    """

    def __init__(self):
        self.on_terminal, self.printed, self.latest = sys.stderr.isatty(), set(), time.monotonic()

    def __call__(self, what: str, done: int, total: int) -> None:
        if self.on_terminal:
            print(f"\r\033[K{what}: {done} of {total}", end="", file=sys.stderr, flush=True)
        elif (what, done) not in self.printed and (done in (0, total) or time.monotonic() - self.latest >= EVERY):
            self.printed.add((what, done))
            self.latest = time.monotonic()
            print(f"{what}: {done} of {total}", file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self.on_terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

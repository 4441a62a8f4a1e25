"""How far a long command is, on stderr."""

from __future__ import annotations

import sys


class TerminalProgress:
    """On a terminal one line that is written over; elsewhere a line for the start and the end of each kind of work."""

    def __init__(self):
        self.on_terminal, self.printed = sys.stderr.isatty(), set()

    def __call__(self, what: str, done: int, total: int) -> None:
        if self.on_terminal:
            print(f"\r\033[K{what}: {done} of {total}", end="", file=sys.stderr, flush=True)
        elif done in (0, total) and (what, done) not in self.printed:
            self.printed.add((what, done))
            print(f"{what}: {done} of {total}", file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self.on_terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

"""A training that is asked to stop (Ctrl-C, SIGTERM) ends after the step it is in, so that its state can be saved."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """A training was asked to stop, and has saved where it was. status: the exit status that a shell expects."""

    def __init__(self, number: int, step: int):
        super().__init__(f"stopped after step {step:,}, which is saved; the same command goes on from there")
        self.status = 128 + number


@contextlib.contextmanager
def asked_to_stop() -> Iterator[Callable[[], int]]:
    """Gives a function that returns the signal that asked to stop, 0 if none has. A second Ctrl-C does not wait for
    the step. Outside of the main thread, where Python hears no signals, nothing asks.
    """
    asked = 0

    def ask(number: int, frame: Any) -> None:
        nonlocal asked
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked = number

    listening = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, ask) for number in SIGNALS} if listening else {}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def stop_sentence(stop: KeyboardInterrupt) -> tuple[str, int]:
    """What to say of a training that was stopped, and its exit status."""
    if isinstance(stop, Stopped):
        return str(stop), stop.status
    return "stopped; the same command goes on from the last checkpoint", 128 + signal.SIGINT

"""Turns: the one thread that works on the model, and the order in which it does so."""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from .metrics import Metrics
from .requests import ClosingError

THREAD = "model"
"""The name of the thread."""


class Task(Protocol):
    """Work that takes turns on the model. Neither method is called from another thread than that of the model."""

    def turn(self) -> None:
        """Works for one turn; a task that wants another adds itself again."""

    def fail(self, error: Exception) -> None:
        """Called with the error that its turn raised, a fault of this program."""


class Turns:
    """Gives tasks their turns, first come first served. The thread starts with the first of them."""

    def __init__(self, lock: threading.RLock, metrics: Metrics) -> None:
        self._lock, self._metrics = lock, metrics
        self._changed = threading.Condition(lock)
        self._ready: collections.deque[Task] = collections.deque()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def add(self, task: Task) -> None:
        """Gives a task a turn after all that wait for one already; one turn where it is added twice."""
        with self._lock:
            if task not in self._ready:
                self._ready.append(task)
                self._changed.notify()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=THREAD, daemon=True)
                self._thread.start()

    def call(self, function: Callable[[], Any]) -> Any:
        """What a function gives when it is called in the thread of the model, in its turn. Raises ClosingError."""
        if self.inside:
            return function()
        call = _Call(function)
        with self._lock:
            if self._stopped:
                raise ClosingError
            self.add(call)
        call.done.wait()
        if call.error is not None:
            raise call.error
        return call.result

    def stop(self) -> None:
        """Ends the thread, once nothing waits for a turn any more."""
        with self._lock:
            self._stopped = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    @property
    def alive(self) -> bool:
        """Is the thread there?"""
        return self._thread is not None and self._thread.is_alive()

    @property
    def inside(self) -> bool:
        """Is this the thread of the model?"""
        return threading.current_thread() is self._thread

    def _work(self) -> None:
        while True:
            with self._lock:
                self._changed.wait_for(lambda: self._ready or self._stopped)
                if self._stopped and not self._ready:
                    return
                task = self._ready.popleft()
            begun = time.perf_counter()
            try:
                task.turn()
            except Exception as error:  # the thread must go on for the others
                task.fail(error)
            del task  # nothing of a run that has ended stays while there is nothing to do
            self._metrics.turn(time.perf_counter() - begun)


class _Call:
    """A function that waits for a turn."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function, self.done = function, threading.Event()
        self.result: Any = None
        self.error: Exception | None = None

    def turn(self) -> None:
        self.result = self.function()
        self.done.set()

    def fail(self, error: Exception) -> None:
        self.error = error  # raised again in the caller's thread
        self.done.set()

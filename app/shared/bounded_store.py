"""What is kept in memory for visitors, while there is room and for a while."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class BoundedStore(Generic[K, V]):
    """Values by key, bounded in count, bytes and age. What was kept first goes first; the newest one always stays.

    size: bytes of a value, asked for when it is kept and whenever others are. seconds: since a value was last kept or
    asked for. clock: monotonic, in seconds.
    """

    def __init__(
        self, count: int, max_bytes: int, seconds: float, size: Callable[[V], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.count, self.max_bytes, self.seconds, self.size, self.clock = count, max_bytes, seconds, size, clock
        self._values: OrderedDict[K, V] = OrderedDict()
        self._used: dict[K, float] = {}
        self._lock = threading.Lock()

    def keep(self, key: K, value: V) -> None:
        """Keeps a value as the newest, in place of one with the same key."""
        with self._lock:
            self._forget_old()
            self._values[key] = value
            self._values.move_to_end(key)
            self._used[key] = self.clock()
            sizes = {known: self.size(kept) for known, kept in self._values.items()}
            while len(sizes) > 1 and (len(sizes) > self.count or sum(sizes.values()) > self.max_bytes):
                first = next(iter(sizes))
                self._forget(first)
                del sizes[first]

    def get(self, key: K) -> V | None:
        """The value of a key; None if it is not there any more. Its age begins anew."""
        with self._lock:
            self._forget_old()
            if key in self._values:
                self._used[key] = self.clock()
            return self._values.get(key)

    def forget(self, key: K) -> None:
        with self._lock:
            self._forget(key)

    def items(self) -> list[tuple[K, V]]:
        """Everything, the oldest first."""
        with self._lock:
            self._forget_old()
            return list(self._values.items())

    def _forget_old(self) -> None:
        now = self.clock()
        for key in [key for key, used in self._used.items() if now - used > self.seconds]:
            self._forget(key)

    def _forget(self, key: K) -> None:
        self._values.pop(key, None)
        self._used.pop(key, None)

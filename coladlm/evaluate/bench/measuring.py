"""Items of a bench that are measured once, kept in its log, and timed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from .item_log import ItemLog

Progress = Callable[[str, int, int], None]  # what is done, how much of it, of how much


class Measuring:
    """Takes each item from the log or measures it. seconds: what all of them took, in this run and in earlier ones."""

    def __init__(self, log: ItemLog, progress: Progress) -> None:
        self.log, self.progress, self.seconds = log, progress, 0.0

    def item(self, key: str, measure: Callable[[], Any]) -> Any:
        """What `measure()` gives, plain JSON; not called where the log has this key."""
        if key not in self.log:
            begun = time.perf_counter()
            value = measure()
            self.log.add(key, {"value": value, "seconds": round(time.perf_counter() - begun, 3)})
        self.seconds += self.log[key]["seconds"]
        return self.log[key]["value"]

    def took(self, key: str) -> float:
        """Seconds that an item took."""
        return self.log[key]["seconds"]

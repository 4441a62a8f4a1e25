"""When Python looks for garbage, in a program that makes a million objects at its start and keeps them.

Imports of torch and gradio alone set off some hundred searches, each through all that is there already and in vain: a
third of the time in which the page opens. Another one, at the end of the process, would take a second.
"""

from __future__ import annotations

import atexit
import gc

# new objects from one search to the next, then how many searches of one generation there are to one of the next
THRESHOLDS = (20_000, 50, 100)


def collect_seldom() -> None:
    """For the start of a program: searches become rare, and its end goes without one."""
    gc.set_threshold(*THRESHOLDS)
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)

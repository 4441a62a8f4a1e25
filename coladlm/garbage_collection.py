"""When Python looks for garbage, in a program that makes a million objects at its start and keeps them.

Imports of torch and gradio alone set off some hundred searches, each through all that is there already and in vain: a
third of the time in which the page opens. Another one, at the end of the process, would take a second.
"""

from __future__ import annotations

import atexit
import gc

USUAL = gc.get_threshold()
# new objects from one search to the next; a search among those that have survived one comes as often as usual
AT_START = (20_000, *USUAL[1:])


def collect_seldom() -> None:
    """For the start of a program: searches become rare, and its end goes without one."""
    gc.set_threshold(*AT_START)
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)


def keep_what_is_there() -> None:
    """For a program that has started and goes on: what is there is left out of searches to come, which are therefore
    short and can be as frequent as usual.
    """
    gc.freeze()
    gc.set_threshold(*USUAL)

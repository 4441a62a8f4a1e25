"""The arguments of gradio's events that tabs share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, TypedDict


class EventOptions(TypedDict, total=False):
    """What an event may be given by `**`, as gradio names it."""

    show_progress: Literal["full", "minimal", "hidden"]
    queue: bool
    trigger_mode: Literal["once", "multiple", "always_last"]
    api_visibility: Literal["public", "private", "undocumented"]
    concurrency_id: str
    concurrency_limit: int | None


UNLIMITED: EventOptions = {"concurrency_limit": None}
"""Arguments for every gradio event whose handler runs the model: it is the scheduler that queues."""

EVERY: EventOptions = {"trigger_mode": "multiple"}
"""Arguments for a gradio event that says what was chosen: without them a choice is lost that is made while the one
before is answered.
"""


def then_nothing(frames: Iterable[Sequence[Any]], outputs: int) -> Iterator[Sequence[Any]]:
    """The frames of a handler that is a generator, or one of nulls, which components of ours pass over, where it has
    none: gradio would empty the outputs then.

    Nothing follows a frame, so that a result is the last thing that is said.
    """
    empty = True
    for frame in frames:
        empty = False
        yield frame
    if empty:
        yield [None] * outputs

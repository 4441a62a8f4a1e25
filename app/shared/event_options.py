"""The arguments of gradio's events that tabs share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    """The frames of a handler that is a generator, the last of each the value of a ProgressLine; where they end before
    what is under way is over, since something else was asked for, or bring none at all, one of nulls follows, for
    components of ours that pass over these.

    Gradio shows the last frame a second time once the generator has ended, maybe after what a later event has brought,
    and empties the outputs of one that yields nothing. Nothing may follow a result: the browser takes frames that come
    together as one, the last, so it would not be seen.
    """
    under_way = True
    for frame in frames:
        under_way = isinstance(frame[-1], Mapping) and frame[-1].get("state") in ("waiting", "running")
        yield frame
    if under_way:
        yield [None] * outputs

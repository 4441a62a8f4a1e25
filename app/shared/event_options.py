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
    """The frames of a handler that is a generator, and at its end one of nulls, for components of ours that pass over
    these.

    Gradio shows the last frame a second time once the generator has ended, maybe after what a later event has brought,
    and empties the outputs of one that yields nothing. Its browser side makes each frame out of the one before, in
    place, though that may not be shown yet: gr.skip() after a value, or after an update, takes it back.
    """
    yield from frames
    yield [None] * outputs

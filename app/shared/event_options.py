"""The arguments of gradio's events that tabs share."""

from __future__ import annotations

from typing import Literal, TypedDict


class EventOptions(TypedDict, total=False):
    """What an event may be given by `**`, as gradio names it."""

    show_progress: Literal["full", "minimal", "hidden"]
    queue: bool
    trigger_mode: Literal["once", "multiple", "always_last"]
    api_visibility: Literal["public", "private", "undocumented"]
    concurrency_id: str
    concurrency_limit: int | None

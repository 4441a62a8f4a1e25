"""What handlers share that run the model through the scheduler: who asks, what is said while one waits, errors."""

from __future__ import annotations

import logging
from typing import Any

import gradio as gr
from gradio.context import LocalContext

from coladlm.serve import Waiting

from .event_options import EventOptions

IN_TURNS: EventOptions = {"concurrency_limit": None}
"""Arguments for every gradio event whose handler asks the scheduler for the model: it is the scheduler that queues."""

EVERY: EventOptions = {"trigger_mode": "multiple"}
"""Arguments for a gradio event that says what was chosen: without them a choice is lost that is made while the one
before is answered.
"""


def visitor() -> str:
    """Who asks: the session of the event that is handled now, "" outside of one."""
    request: gr.Request | None = LocalContext.request.get(None)
    return getattr(request, "session_hash", None) or ""


def in_line(frame: Any) -> Any:
    """A frame of a run that waits in the line: its progress line says so, and that Stop ends it before it began."""
    return frame._replace(progress={**frame.progress, "state": "waiting"})


def waiting_parts(waiting: Waiting) -> list[str]:
    """Where a visitor stands in the line, for a progress line."""
    return [f"number {waiting.ahead} in the line", f"about {max(1, round(waiting.seconds))} s"]


def sentence(error: Exception) -> str:
    """What went wrong, for a visitor. What is not the visitor's doing goes to the log with its traceback."""
    if isinstance(error, ValueError):
        text = str(error).strip()
        return text + ("" if text.endswith((".", "!", "?")) else ".")
    logging.getLogger(__name__).error("a run failed", exc_info=error)
    return f"The run failed on the server ({type(error).__name__}); its log says more."

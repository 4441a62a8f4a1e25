"""The page's way to the resident model: every run goes through the room that all doors share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr
from gradio.context import LocalContext

from coladlm import ColaDLM
from coladlm.recipe import Recipe

from .serving.requests import Events, Waiting
from .serving.sharing import Sharing, Steps

SHARING = Sharing()
"""The one room of this process; app.py sets its limits."""

IN_TURNS = {"concurrency_limit": None}
"""Arguments for every gradio event whose handler runs the model through `run` or `alone`: they make it wait."""

MODEL_TURN = {"concurrency_id": "model", "concurrency_limit": 1}
"""Arguments for a gradio event whose handler asks the model itself for a moment: one of them at a time."""

EVERY = {"trigger_mode": "multiple"}
"""Arguments for a gradio event that says what was chosen: without them a choice is lost that is made while the one
before is answered.
"""


def run(model: ColaDLM, recipe: Recipe, steps: Steps = "all", who: str | None = None) -> Events:
    """The events of a recipe, in turns with everybody else's (see Sharing.run), and a Waiting where nothing is new.

    who: the visitor; that of the gradio event that is handled now if absent.

    Raises BusyError, a ValueError with a sentence, where there is no room.
    """
    return SHARING.run(model, recipe, visitor() if who is None else who, steps)


def alone(start: Callable[[], Iterator[Any]], name: str, who: str | None = None) -> Events:
    """Every event of what `start` begins, in turns with everybody else's (see Sharing.alone)."""
    return SHARING.alone(start, visitor() if who is None else who, name)


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

"""What a visitor sees who waits for the model."""

from __future__ import annotations

from typing import Any

from coladlm.serve import Waiting


def waiting_frame(frame: Any) -> Any:
    """A frame of a run that waits for its turn: its progress line says so, and that Stop ends it before it began."""
    return frame._replace(progress={**frame.progress, "state": "waiting"})


def waiting_parts(waiting: Waiting) -> list[str]:
    """A visitor's place in the queue, for a progress line."""
    return [f"number {waiting.ahead} in the queue", f"about {max(1, round(waiting.seconds))} s"]

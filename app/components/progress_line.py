"""ProgressLine: how far a run is, in words and as a thin bar, in a place that is always there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from .own_html import OwnHTML

State = Literal["idle", "waiting", "running", "done", "stopped", "error"]


class ProgressLine(OwnHTML):
    """Shows the value made by `progress_value`; marks the nearest `.workbench` with the state for its buttons."""

    FILE = "progress_line"

    def __init__(self, value: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(value or progress_value("idle"), **kwargs)

    def example_payload(self) -> Any:
        return progress_value("idle")

    example_value = example_payload


def progress_value(
    state: State,
    parts: Sequence[str] = (),
    fraction: float = 0.0,
    message: str = "",
    run: str = "",
    tokens: int = 0,
    forming: int = 0,
) -> dict[str, Any]:
    """What a ProgressLine shows.

    parts: short pieces of one line, numbers with units ("step 3 of 16"). fraction: of the bar, in [0, 1].
    message: a sentence that is read out; for the state "error" what was wrong. run: see `strip_value`.
    tokens, forming: settled tokens and those of the block under way, which Stop tells.
    """
    return {
        "state": state,
        "parts": list(parts),
        "fraction": round(fraction, 4),
        "message": message,
        "run": run,
        "tokens": tokens,
        "forming": forming,
    }

"""ProgressLine: how far a run is, in words and as a thin bar, in a place that is always there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from ..own_html import OwnHTML

State = Literal["idle", "waiting", "running", "done", "stopped", "error"]
RunState = Literal["running", "done", "stopped"]  # of a run that is followed, whatever shows it


class ProgressLine(OwnHTML):
    """Shows the value made by `progress_value`, inside an element of the class `workbench`.

    It sets `data-run` of the workbench to the state. As a part of a run's frames it says by itself that a run starts,
    was stopped, went wrong or was lost.
    """

    FILE = "progress_line"

    def __init__(self, value: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(value or progress_value("idle"), **kwargs)

    def example_payload(self) -> Any:
        return progress_value("idle")

    example_value = example_payload


def again(value: Any) -> Any:
    """The value of a ProgressLine that has a restored recipe to say, and then presses Run by itself."""
    if not isinstance(value, dict) or value.get("state") != "idle":
        return value
    return {**value, "message": "Restored from the link; it is run again for its result.", "press": True}


def restored_from(value: Any, source: str) -> Any:
    """The value of a ProgressLine that speaks of a link, for a recipe that came from elsewhere: "file", "history"."""
    if not isinstance(value, dict) or not value.get("message"):
        return value
    note = value["message"].replace("The link", f"The {source}", 1).replace("from the link", f"from the {source}", 1)
    return {**value, "message": note}


def stopped_value(value: dict[str, Any]) -> dict[str, Any]:
    """The value of a run that was stopped where `value` stood; the line itself says the same in progress_line.js."""
    written, forming = value["tokens"], value["forming"]
    count = written + forming
    note = f"Stopped after {count} token{'s' * (count != 1)}"
    if forming:
        which = "" if count == 1 else "all " if forming == count else f"the last {forming} of them "
        note += f", {which}still forming"
    note += "."
    if value["state"] == "waiting" or not (count or value["fraction"] or value["stopped"]):
        note = "Stopped before it began."
    elif value["stopped"] or not count:
        note = value["stopped"] or "Stopped."
    return {**value, "state": "stopped", "parts": [], "message": note}


def progress_value(
    state: State,
    parts: Sequence[str] = (),
    fraction: float = 0.0,
    message: str = "",
    run: str = "",
    tokens: int = 0,
    forming: int = 0,
    stopped: str = "",
) -> dict[str, Any]:
    """What a ProgressLine shows.

    parts: short pieces of one line, numbers with units ("step 3 of 16"). fraction: of the bar, in [0, 1].
    message: a sentence that is read out; for the state "error" what was wrong. run: see `strip_value`.
    tokens, forming: settled tokens and those of the block under way, which Stop tells. stopped: the sentence that Stop
    tells in their place.
    """
    return {
        "state": state,
        "parts": list(parts),
        "fraction": round(fraction, 4),
        "message": message,
        "run": run,
        "tokens": tokens,
        "forming": forming,
        "stopped": stopped,
    }

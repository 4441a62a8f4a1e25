"""WaypointStage: the waypoint under the thumb in large, its words in the colour of the text that they come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..own_html import OwnHTML
from ..token_strip import State


class WaypointStage(OwnHTML):
    """Shows the value made by `stage_value`. The strip of waypoints is its slider, by mouse, touch and keys.

    Triggers `submit` when the button of the empty state is pressed, and `select` with `text` and `row` when the
    waypoint that is shown, a finished one, is to be edited.
    """

    FILE = "waypoint_stage"
    SCRIPTS = ("swipe.js", "waypoint_stage/word_origins.js", "waypoint_stage/waypoint_stage.js")

    def __init__(self, empty_text: str, start_label: str, value: dict[str, Any] | None = None, **kwargs: Any) -> None:
        value = value or stage_value("", "empty")
        super().__init__(value, empty_text=empty_text, start_label=start_label, **kwargs)

    def example_payload(self) -> Any:
        return stage_value("", "empty")

    example_value = example_payload


def stage_value(
    run: str,
    state: State,
    texts: Sequence[str] = (),
    waypoints: Sequence[dict[str, Any]] = (),
    unit: str = "",
    recorded: str = "",
) -> dict[str, Any]:
    """What a WaypointStage shows.

    run: names the run. texts: those that the waypoints lie between. waypoints: made by `waypoint_value`. unit: of the
    distances. recorded: of an interpolation that ships with the page, what is said of it; it plays when it comes into
    sight.
    """
    return {
        "run": run,
        "state": state,
        "texts": list(texts),
        "waypoints": list(waypoints),
        "unit": unit,
        "recorded": recorded,
    }


def waypoint_value(
    label: str,
    leg: tuple[int, int],
    text: str,
    filled: float,
    end: int | None = None,
    distances: Sequence[float] = (),
    misfit: float | None = None,
    candidate: str = "",
) -> dict[str, Any]:
    """One waypoint.

    label: what it is, in a word. leg: the places of the two texts that it lies between. text: as far as it has come.
    filled: the share of it that is decided, in [0, 1]. end: the place of the text that it stands at, if it does.
    distances: to every text, in latents, once they are known. misfit: the error of the flow at it, once it is known.
    candidate: a text that is tried for it, which is shown during the run while it has none of its own.
    """
    return {
        "label": label,
        "leg": list(leg),
        "text": text,
        "filled": round(filled, 2),
        "end": end,
        "distances": [round(distance, 4) for distance in distances],
        "misfit": None if misfit is None else round(misfit, 3),
        "candidate": candidate,
    }

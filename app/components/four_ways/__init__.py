"""FourWays: an interpolation made in several ways, a column each, with one slider for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from ..own_html import OwnHTML
from ..token_strip import State

WayState = Literal["waiting", "running", "done", "refused"]


class FourWays(OwnHTML):
    """Shows the value made by `ways_value`, nothing for None.

    Triggers `select` with `recipe`, JSON, when a way is to be used.
    """

    FILE = "four_ways"
    SCRIPTS = ("elements.js", "waypoint_stage/word_origins.js", "four_ways/four_ways.js")

    def __init__(self, value: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(value, **kwargs)

    def example_payload(self) -> Any:
        return None

    example_value = example_payload


def ways_value(run: str, state: State, texts: Sequence[str], ways: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What FourWays show.

    run: names the run. texts: those that the waypoints lie between. ways: made by `way_value`.
    """
    return {"run": run, "state": state, "texts": list(texts), "ways": list(ways)}


def way_value(
    title: str, state: WayState, link: dict[str, Any], waypoints: Sequence[dict[str, Any]] = (), note: str = ""
) -> dict[str, Any]:
    """One way.

    link: of its recipe, see `link_of`; empty where there is no recipe. waypoints: see the component WaypointStage.
    note: why it could not be run.
    """
    return {"title": title, "state": state, **link, "waypoints": list(waypoints), "note": note}

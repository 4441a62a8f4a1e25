"""FlowMap: the paths of runs from noise to word on a reference cloud, played in the browser without the server."""

from __future__ import annotations

from typing import Any, Literal

from ..plotly_html import PlotlyHTML

State = Literal["empty", "running", "done", "stopped", "error"]


class FlowMap(PlotlyHTML):
    """Shows the value made by `flow_value` on a reference cloud, `Charts.text`.

    name: tells the flow maps of a page apart; a HeatMap follows the one of its name. Triggers `select` with run, block,
    step (of the run; `steps` is the finished block) and place when a point is opened, and `submit` when the button of
    the empty state is pressed, and `input` when an empty map is seen for the first time.
    """

    FILE = "flow_map"
    SCRIPTS = (
        "plotly_library.js", "save_file.js", "picture_file.js", "quoted_words.js", "readings.js", "roll.js",
        "swipe.js", "label_room.js", "flow_map/flow_data.js", "flow_map/flow_colours.js", "flow_map/flow_picture.js",
        "flow_map/flow_map.js",
    )  # fmt: skip

    def __init__(self, name: str, cloud: str, message: str, start_label: str, **kwargs: Any) -> None:
        value = flow_value("empty", message=message)
        super().__init__(value, name=name, cloud=cloud, start_label=start_label, **kwargs)

    def example_payload(self) -> Any:
        return flow_value("empty")

    example_value = example_payload


def flow_value(
    state: State,
    lines: str = "",
    message: str = "",
    play: bool = False,
    run: str = "",
    began: float = 0.0,
    choose: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """What a FlowMap shows.

    lines: runs as app/trajectories/records.py writes them; a text that only grows is read on from where it was.
    message: what stands in an empty map. play: begin to play it, where the visitor's settings allow movement. run,
    began: the id of the run that writes it and when that began, in seconds; of two runs at once the map shows the one
    that began last.
    choose: {"run", "block", "step", "place"} of the path to show, with "time", which differs from one time to the next.
    The value has "cloud" as well: a cloud in place of the page's own, or "".
    """
    return {
        "state": state, "lines": lines, "message": message, "play": play, "run": run, "began": began, "choose": choose,
        "cloud": "",
    }  # fmt: skip

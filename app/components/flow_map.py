"""FlowMap: the paths of runs from noise to word on a reference cloud, played in the browser without the server."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import gradio as gr
import plotly

from .own_html import OwnHTML

PLOTLY_JS = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"

State = Literal["empty", "running", "done", "stopped", "error"]


class FlowMap(OwnHTML):
    """Shows the value made by `flow_value` on the cloud made by `flow_records.cloud_text`.

    name: tells the flow maps of a page apart; a HeatMap follows the one of its name. Triggers `select` with run, block,
    step (of the run; `steps` is the finished block) and place when a point is opened.
    """

    FILE = "flow_map"
    SCRIPTS = ("flow_data.js", "flow_picture.js", "flow_map.js")

    def __init__(self, name: str, cloud: str, message: str, **kwargs: Any) -> None:
        gr.set_static_paths([PLOTLY_JS])
        library = f"/gradio_api/file={PLOTLY_JS}"
        super().__init__(flow_value("empty", message=message), name=name, cloud=cloud, library=library, **kwargs)

    def example_payload(self) -> Any:
        return flow_value("empty")

    example_value = example_payload


def flow_value(state: State, lines: str = "", message: str = "", play: bool = False) -> dict[str, Any]:
    """What a FlowMap shows.

    lines: runs as `flow_records` writes them; a text that only grows is read on from where it was. message: what stands
    in an empty map. play: begin to play it, where the visitor's settings allow movement.
    """
    return {"state": state, "lines": lines, "message": message, "play": play}

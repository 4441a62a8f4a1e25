"""HeatMap: places by steps, how sure each word is on its way from noise, and where it settled."""

from __future__ import annotations

from typing import Any

from ..own_html import OwnHTML


class HeatMap(OwnHTML):
    """Follows the FlowMap of the same name in the browser; nothing is sent to it."""

    FILE = "heat_map"
    SCRIPTS = ("quoted_words.js", "readings.js", "save_file.js", "picture_file.js", "heat_map/heat_map.js")

    def __init__(self, name: str, **kwargs: Any) -> None:
        super().__init__(None, name=name, **kwargs)

    def api_info(self) -> dict[str, Any]:
        return {"type": "null"}

    def example_payload(self) -> Any:
        return None

    example_value = example_payload

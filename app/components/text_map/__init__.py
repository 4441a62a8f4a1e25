"""TextMap: texts as points, to be coloured, searched, compared and selected in the browser."""

from __future__ import annotations

from typing import Any

from ..plotly_html import PlotlyHTML


class TextMap(PlotlyHTML):
    """Shows the value made by `text_map_value`.

    Triggers `submit` when it is first shown without texts, and when the button of the empty state is pressed; `input`
    with `text`, which is to be placed and whose nearest texts are wanted; `blur` with `selected`, `chart`, `by` and
    `asked`, how the map is looked at; `select` with `texts`, a selection that goes to Interpolate; `edit` with `text`,
    one that goes to Edit; `like` with `end` ("first" or "second") and `texts`, a selection that becomes one end of a
    direction.
    """

    FILE = "text_map"
    SCRIPTS = (
        "plotly_library.js", "save_file.js", "quoted_words.js", "label_room.js",
        "text_map/text_picture.js", "text_map/text_list.js", "text_map/text_map.js",
    )  # fmt: skip

    def __init__(self, empty_text: str, start_label: str, **kwargs: Any) -> None:
        super().__init__(text_map_value(), empty_text=empty_text, start_label=start_label, **kwargs)

    def example_payload(self) -> Any:
        return text_map_value()

    example_value = example_payload


def text_map_value(
    texts: str = "",
    near: dict[str, Any] | None = None,
    waypoints: dict[str, Any] | None = None,
    view: dict[str, Any] | None = None,
    failed: bool = False,
    order: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """What a TextMap shows.

    texts: JSON as `map.TextCloud.json` writes it. near: a text that is compared, {"text", "pairs": [[index, distance]],
    "at": {chart: [x, y]}}, or {"text", "error"} with what is wrong with it. waypoints: texts that are joined by a line,
    {"texts", "at": {chart: [[x, y]]}, "note"}. view: how texts that are new to the page are looked at, {"selected":
    [index], "chart", "by", "asked"}. failed: there are no texts, and none are on their way. order: of two values the
    larger one is shown, whichever comes last: gradio shows what several events bring as it comes to it. Without one it
    is shown in any case.
    """
    value = {"texts": texts, "near": near, "waypoints": waypoints, "view": view, "failed": failed}
    return value if order is None else value | {"order": list(order)}

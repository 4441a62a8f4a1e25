"""FlowLine: the way of a text through the model as a line, of which the part at work is lit, and what one sees."""

from __future__ import annotations

from typing import Any

from ..own_html import OwnHTML


class FlowLine(OwnHTML):
    """Follows the playhead of its workbench; has no value."""

    FILE = "flow_line"

    def __init__(self, sentence: str, **kwargs: Any) -> None:
        super().__init__(None, sentence=sentence, **kwargs)

    def example_payload(self) -> Any:
        return None

    example_value = example_payload

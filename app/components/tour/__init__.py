"""Tour: five steps through a recorded run, offered once to a visitor who is new."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..own_html import OwnHTML


class Tour(OwnHTML):
    """An invitation, and the dialog that it opens. scenes: made by `scene`. Once it was taken or dismissed the browser
    remembers that, and it does not come again; `window` event `coladlm-tour` opens it on request.
    """

    FILE = "tour"

    def __init__(self, scenes: Sequence[dict[str, Any]], **kwargs: Any) -> None:
        super().__init__(None, scenes=list(scenes), **kwargs)

    def example_payload(self) -> Any:
        return None

    example_value = example_payload


def scene(
    title: str, text: str, prompt: str, settled: Sequence[list[Any]], live: Sequence[list[Any]] = ()
) -> dict[str, Any]:
    """One step of the tour. settled, live: [text, confidence, is special] of every token."""
    return {"title": title, "text": text, "prompt": prompt, "settled": list(settled), "live": list(live)}

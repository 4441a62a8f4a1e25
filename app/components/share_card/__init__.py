"""ShareCard: a run as a picture to show to others: its text, and in it the path of every word out of noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from ..own_html import OwnHTML

HERE = Path(__file__).parent
# what draws a card: fetched when one is first asked for
DRAWS = tuple(
    HERE / f"{name}.js" for name in ("card_run", "card_layout", "card_picture", "card_film", "gif_file", "card_page")
)


class ShareCard(OwnHTML):
    """A button, and a dialog with the card and its files, all of them made in the browser of what the workbench shows.

    It asks its workbench by an event `card:ask`, whose detail takes what others put there: `strip`, the value of a
    TokenStrip, and `paths` and `unpack` of a FlowView; or `flow`, the runs of a FlowMap.
    """

    FILE = "share_card"
    SCRIPTS = ("save_file.js", "share_card/share_card.js")

    def __init__(self, **kwargs: Any) -> None:
        gr.set_static_paths([*DRAWS])
        super().__init__(None, library=[f"/gradio_api/file={file}" for file in DRAWS], **kwargs)

    def example_payload(self) -> Any:
        return None

    example_value = example_payload

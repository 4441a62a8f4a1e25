"""PanelButtons: a row of buttons, each of which shows its panel in the one place that they share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..own_html import OwnHTML


class PanelButtons(OwnHTML):
    """Buttons for the accordions of class `run-panel` below them in the same workbench, of which at most one is shown.

    A panel is made when it is first shown, and is only hidden afterwards. A run that goes on in a hidden panel, and one
    that has ended there, are marked at its button.
    """

    FILE = "panel_buttons"

    def __init__(self, heading: str, panels: Sequence[tuple[str, str]], **kwargs: Any) -> None:
        """heading: the words before the buttons. panels: (id of the accordion, words on its button)."""
        super().__init__(None, heading=heading, panels=[list(panel) for panel in panels], **kwargs)

    def example_payload(self) -> Any:
        return None

    example_value = example_payload

"""ShareLink: keeps the recipe of what is shown in the page's address; copies that, a script or a command."""

from __future__ import annotations

from typing import Any

from ..own_html import OwnHTML


class ShareLink(OwnHTML):
    """Its value is {"query": "?r=...", "recipe": JSON}, an empty query where there can be no link; None while there
    is no recipe. The link names the tab too, which is the id of the workbench around it.
    """

    FILE = "share_link"
    SCRIPTS = ("clipboard.js", "save_file.js", "share_link/commands.js", "share_link/share_link.js")

    def __init__(self, value: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(value, **kwargs)

    def example_payload(self) -> Any:
        return None

    example_value = example_payload

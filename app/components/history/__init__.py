"""History: what this visitor has run, kept in the browser alone, and recipes and histories from files."""

from __future__ import annotations

from typing import Any

from ..own_html import OwnHTML


class History(OwnHTML):
    """A button and the dialog that it opens. Asking for a recipe triggers `open_<tab>` with `recipe`, its JSON, and
    `source`, "history" or "file". An address that asks for something triggers `linked` with `query`.

    It keeps the recipes that the ShareLinks of the page show, and says so where the browser does not keep them.
    fingerprint: that of the model, to say so where an entry was made with another. tabs: [tab, label, operations],
    those that open recipes.
    """

    FILE = "history"
    SCRIPTS = ("elements.js", "save_file.js", "history/history.js")

    def __init__(self, fingerprint: str, tabs: list[list[Any]], **kwargs: Any) -> None:
        super().__init__({"fingerprint": fingerprint}, tabs=tabs, **kwargs)

    def example_payload(self) -> Any:
        return {"fingerprint": ""}

    example_value = example_payload

"""Saver: buttons that save what is shown as a file, made on the server and never written to its disk."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from ..own_html import OwnHTML


class Saver(OwnHTML):
    """Triggers `select` with `kind` when a button is pressed; saves the value made by `saved`.

    The event has `address` as well, that of the page, and `look`: what another component of the workbench puts into the
    detail of an event `save:ask` for how it is looked at, or null.

    kinds: (kind, label, what the file is good for).
    """

    FILE = "saver"
    SCRIPTS = ("save_file.js", "saver/saver.js")

    def __init__(self, what: str, kinds: Sequence[tuple[str, str, str]], **kwargs: Any) -> None:
        super().__init__(None, what=what, kinds=[list(kind) for kind in kinds], **kwargs)

    def example_payload(self) -> Any:
        return None

    example_value = example_payload


def saved(name: str, kind: str, data: bytes) -> dict[str, Any]:
    """A file to save. kind: its media type."""
    return {"name": name, "type": kind, "data": base64.b64encode(data).decode(), "message": f"Saved as {name}"}


def not_saved(message: str) -> dict[str, Any]:
    """Nothing to save, and why."""
    return {"name": "", "type": "", "data": "", "message": message}

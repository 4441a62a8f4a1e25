"""TextGrid: texts in rows and columns, one for each pair of values of two settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..own_html import OwnHTML


class TextGrid(OwnHTML):
    """Shows the value made by `grid_value`, nothing for None. Triggers `select` with the `settings` of a text."""

    FILE = "text_grid"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(None, **kwargs)

    def example_payload(self) -> Any:
        return None

    example_value = example_payload


def grid_value(
    state: str, prompt: str, rows: Sequence[str], columns: Sequence[str],
    cells: Sequence[tuple[str, str, dict[str, Any]]],
) -> dict[str, Any]:  # fmt: skip
    """What a TextGrid shows. cells: (text, numbers in words, settings), row by row. state: see `progress_value`."""
    return {"state": state, "prompt": prompt, "rows": list(rows), "columns": list(columns),
            "cells": [list(cell) for cell in cells]}  # fmt: skip

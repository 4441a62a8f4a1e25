"""TextGrid: texts in rows and columns, one for each combination of values; a grid for each value of a third."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..own_html import OwnHTML


class TextGrid(OwnHTML):
    """Shows the value made by `grid_value`, nothing for None. Triggers `select` with a text's settings and prompt."""

    FILE = "text_grid"
    SCRIPTS = ("elements.js", "text_grid/text_grid.js")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(None, **kwargs)

    def example_payload(self) -> Any:
        return None

    example_value = example_payload


def grid_value(
    state: str, prompt: str, sheets: Sequence[str], rows: Sequence[str], columns: Sequence[str],
    cells: Sequence[tuple[str, str, dict[str, Any], str]], prompts: str = "",
) -> dict[str, Any]:  # fmt: skip
    """What a TextGrid shows. state: see `progress_value`. prompt: above all texts, "" where each has its own.

    sheets: the label of each grid, "" for one without. cells: (text, numbers in words, settings, prompt), sheet by
    sheet and row by row. prompts: which of "sheets", "rows" and "columns" are prompts, and so not to be translated.
    """
    return {"state": state, "prompt": prompt, "sheets": list(sheets), "rows": list(rows), "columns": list(columns),
            "cells": [list(cell) for cell in cells], "prompts": prompts}  # fmt: skip

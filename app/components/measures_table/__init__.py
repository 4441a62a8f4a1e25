"""MeasuresTable: measures of texts side by side, each with a sentence on what it says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..own_html import OwnHTML


class MeasuresTable(OwnHTML):
    """Shows the value made by `measures_value`, nothing for None."""

    FILE = "measures_table"
    SCRIPTS = ("table_cells.js", "measures_table/measures_table.js")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(None, **kwargs)

    def example_payload(self) -> Any:
        return None

    example_value = example_payload


def measures_value(
    columns: Sequence[str], rows: Sequence[tuple[str, str, Sequence[str]]], note: str
) -> dict[str, Any]:  # fmt: skip
    """What a MeasuresTable shows. rows: (label, what it means, a cell for each column). note: stands below."""
    plain = [[label, about, list(cells)] for label, about, cells in rows]
    return {"columns": list(columns), "rows": plain, "note": note}

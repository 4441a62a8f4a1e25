"""AnswersTable: questions, what would be right, and what each of several models answered, right or wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from ..own_html import OwnHTML

Verdict = Literal["right", "wrong", "forming"]


class AnswersTable(OwnHTML):
    """Shows the value made by `answers_value`, nothing for None."""

    FILE = "answers_table"
    SCRIPTS = ("table_cells.js", "answers_table/answers_table.js")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(None, **kwargs)

    def example_payload(self) -> Any:
        return None

    example_value = example_payload


def answers_value(
    state: str, who: Sequence[str], rows: Sequence[tuple[str, str, Sequence[tuple[str, Verdict] | None]]], note: str
) -> dict[str, Any]:
    """What an AnswersTable shows. state: see `progress_value`. who: answered.

    rows: (question, what would be right, of each who answered the text and what it is; None where nothing came yet).
    note: stands below.
    """
    plain = [[asked, right, [None if cell is None else list(cell) for cell in cells]] for asked, right, cells in rows]
    return {"state": state, "who": list(who), "rows": plain, "note": note}

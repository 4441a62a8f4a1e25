"""Figures of structured generation that others have published, beside those of a result.

They are of the published weights of 2.3 B parameters, but not from the paper (arXiv:2605.06548): a public fork of the
official repository, Sean-tsy/Cola-DLM, measured them in June 2026. Its tasks are its own, so nothing follows from a
difference in one row alone.
"""

from __future__ import annotations

from ..results import Cell, Result, Table
from .rows import column_of, table_of
from .structured import BY_SIZE, BY_TASK

TITLE = "Beside figures published by others"
CAPTION = (
    "Share right. Theirs are of the published weights of 2.3 B parameters, measured by the authors of a public fork "
    "(Sean-tsy/Cola-DLM, June 2026), not by those of the paper (arXiv:2605.06548); beside them they set Qwen2.5-1.5B "
    "for the brackets, and for JSON and function calls a model that is not named where we have the figures from. Ours "
    "are of the tiny pair that was trained on these tasks alone, which theirs had not seen; questions and rules differ "
    "too, so the two do not say which model is better. They also report that block sizes from 1 to 32 and 8 to 64 "
    "steps change nothing."
)
COLUMNS = (
    "asked", "theirs: Cola-DLM, 2.3 B", "theirs: the model beside it", "ours: Cola-DLM, 1 M", "ours: transformer, 1 M",
)  # fmt: skip
COLA, VAE, TRANSFORMER = "Cola-DLM", "its VAE alone", "transformer"
FREE, CLOSED, JSON = "free brackets of 1 kind", "completing brackets of 1 kind", "JSON by a schema"
# what was asked; theirs: of the Cola-DLM and of the model beside it; ours: task, size (None for all) and whose
FIGURES: tuple[tuple[str, tuple[float | None, float | None], tuple[str, str | None, tuple[str, ...]] | None], ...] = (
    ("32 free brackets of 1 kind", (0.95, None), (FREE, "32 brackets", (COLA, TRANSFORMER))),
    ("completing 32 brackets of 1 kind", (0.03, None), (CLOSED, "32 brackets", (COLA, TRANSFORMER))),
    ("completing 64 brackets of 1 kind", (0.01, 0.06), (CLOSED, "64 brackets", (COLA, TRANSFORMER))),
    ("32 brackets through the VAE alone and back", (1.0, None), (CLOSED, "32 brackets", (VAE,))),
    ("64 brackets through the VAE alone and back", (0.72, None), (CLOSED, "64 brackets", (VAE,))),
    ("JSON by a schema, strictly valid (theirs: JSONSchemaBench, 1,536 prompts)", (0.0, None),
     (JSON, None, (COLA, TRANSFORMER))),
    ("JSON by a schema, read leniently (the same prompts)", (0.03, 0.23), None),
    ("function calls (BFCL simple)", (0.0, 0.58), None),
)  # fmt: skip


def published_table(result: Result) -> Table:
    """Theirs and ours. Raises ResultError."""
    rows: list[list[Cell]] = []
    for asked, theirs, ours in FIGURES:
        found = [] if ours is None else _ours(result, *ours)
        rows.append([asked, *theirs, *found, *[None] * (2 - len(found))])
    return Table(TITLE, CAPTION, COLUMNS, rows)


def _ours(result: Result, task: str, size: str | None, writers: tuple[str, ...]) -> list[Cell]:
    """Nothing where the result is of other tasks."""
    table = table_of(result, BY_SIZE if size else BY_TASK)
    names = [task, size] if size else [task]
    row = next((row for row in table.rows if list(row[: len(names)]) == names), None)
    return [] if row is None else [row[column_of(table, writer)] for writer in writers]

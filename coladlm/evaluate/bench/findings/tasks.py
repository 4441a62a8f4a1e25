"""The part `tasks` in short, for the summary of the whole bench. Its findings are told where it is measured."""

from __future__ import annotations

from collections.abc import Iterator

from ..results import Result, Table
from .rows import column_of, interval_of

TITLE = "Accuracy of "  # with which the title of each table begins, and goes on with whose it is


def in_short(result: Result) -> Iterator[str]:
    """A sentence for the published answers, and one for a model that was run. Raises ResultError."""
    for table in result.tables:
        *rows, mean = table.rows
        accuracy, chance = (column_of(table, name) for name in ("accuracy", "chance"))
        choices = [row for row in rows if row[chance] is not None]
        below = sum(interval_of(row[accuracy]).high < interval_of(row[chance]).value for row in choices)
        above = sum(interval_of(row[accuracy]).low > interval_of(row[chance]).value for row in choices)
        right = f"{interval_of(mean[accuracy]).value:.2f} % right on average of {len(rows)}"
        yield (
            f"{_whose(table)}: {right}; of {len(choices)} tasks with choices {above} clearly above chance and {below} "
            "clearly below, as answers are written out."
        )


def _whose(table: Table) -> str:
    name = table.title.removeprefix(TITLE)
    return name[0].upper() + name[1:]

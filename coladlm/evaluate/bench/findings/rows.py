"""Tables as a finding reads them: by their titles, the names of their rows and the beginnings of their columns."""

from __future__ import annotations

from collections.abc import Sequence

from ..intervals import Interval
from ..results import Cell, Result, ResultError, Table, plain_number


def table_of(result: Result, title: str) -> Table:
    """Raises ResultError where there is no such table."""
    found = next((table for table in result.tables if table.title == title), None)
    if found is None:
        raise ResultError(f"the result has no table {title!r}, expected one")
    return found


def row_of(table: Table, name: str) -> Sequence[Cell]:
    """Raises ResultError where there is no such row."""
    found = next((row for row in table.rows if row[0] == name), None)
    if found is None:
        raise ResultError(f"the table {table.title!r} has no row {name!r}, expected one")
    return found


def column_of(table: Table, *starts: str) -> int:
    """The number of the first column whose name begins with one of these, in their order. Raises ResultError."""
    for start in starts:
        for number, name in enumerate(table.columns):
            if name.startswith(start):
                return number
    raise ResultError(f"the table {table.title!r} has no column {starts[0]!r}, expected one")


def interval_of(cell: Cell) -> Interval:
    """A cell that holds a figure; one without an interval is its own. Raises ResultError."""
    if isinstance(cell, Interval):
        return cell
    if isinstance(cell, int | float):
        return Interval(float(cell), float(cell), float(cell), 1)
    raise ResultError(f"a cell holds {cell!r}, expected a figure")


def number(cell: Cell) -> str:
    """The figure of a cell without its interval."""
    return plain_number(interval_of(cell).value)


def listed(parts: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]])) if parts else ""

"""The form of a result of the bench: tables and curves, with what made them. Knows no model and no torch."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...paths import written_whole
from .intervals import Interval

VERSION = 1
PLACES = 3  # significant digits that are shown, where a table does not say
Cell = str | int | float | Interval | None


class ResultError(ValueError):
    """A file is not a result of the bench; the message says what was found and wanted."""


@dataclasses.dataclass(frozen=True)
class Table:
    """title: a few words. caption: a sentence on what is shown and what follows. columns: names with their units.
    rows: as many cells as columns each; None is a cell with nothing in it. places: significant digits to show.
    """

    title: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    places: int = PLACES

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row of {self.title!r} has {len(row)} cells, expected {len(self.columns)}")


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of a chart, or single points: an x and a figure at each. label: of each point, if any."""

    name: str
    x: Sequence[float]
    y: Sequence[Interval]
    points: bool = False
    labels: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Chart:
    """Lines over one axis. log: the axes that are logarithmic, of "x" and "y". names: what stands at x = 1, 2, 3, ...,
    where those are things and no numbers.
    """

    title: str
    caption: str
    x: str
    y: str
    lines: Sequence[Line]
    log: Sequence[str] = ()
    names: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Result:
    """What one part of the bench found.

    part: its name on the command line. title: a few words. findings: sentences that say what follows. command: that
    makes it anew. model: name, fingerprint and parameters, or what else the figures are of. machine: as
    `machine_facts`. seconds: that it took, over all of its runs.
    """

    part: str
    title: str
    command: str
    model: Mapping[str, Any]
    machine: Mapping[str, Any]
    seconds: float
    findings: Sequence[str] = ()
    tables: Sequence[Table] = ()
    charts: Sequence[Chart] = ()
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def to_json(self) -> str:
        """As JSON; an interval becomes {"value", "low", "high", "count"}."""
        data: dict[str, Any] = {"version": VERSION, **dataclasses.asdict(self)}
        for table in data["tables"]:
            if table["places"] == PLACES:
                del table["places"]
        return json.dumps(data, ensure_ascii=False, indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Result:
        """Reads `to_json`. Raises ResultError."""
        try:
            data = json.loads(text)
            if data.pop("version") != VERSION:
                raise ResultError(f"the result is not of version {VERSION} of the form")
            tables, charts = map(_table, data.pop("tables")), map(_chart, data.pop("charts"))
            return cls(**data, tables=list(tables), charts=list(charts))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ResultError(f"not a result of the bench ({error}), expected JSON as `bench` writes it") from error

    def save(self, file: Path) -> None:
        """Writes it whole or not at all."""
        file.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(file) as partial:
            partial.write_text(self.to_json(), encoding="utf-8")


def _cell(cell: Any) -> Cell:
    return Interval(**cell) if isinstance(cell, dict) else cell


def _table(data: dict[str, Any]) -> Table:
    rows = [[_cell(cell) for cell in row] for row in data.pop("rows")]
    return Table(**data, rows=rows)


def _chart(data: dict[str, Any]) -> Chart:
    lines = [_line(line) for line in data.pop("lines")]
    return Chart(**data, lines=lines)


def _line(data: dict[str, Any]) -> Line:
    figures = [Interval(**y) for y in data.pop("y")]
    return Line(**data, y=figures)


def load(file: Path) -> Result:
    """Raises ResultError, with the file's name."""
    try:
        return Result.from_json(file.read_text(encoding="utf-8"))
    except (OSError, ResultError) as error:
        raise ResultError(f"{file.name}: {error}") from error


def figure_of(value: Cell, places: int = PLACES) -> str:
    """A cell in words: "0.61 [0.55, 0.67]" for an interval, with as many significant digits."""
    if value is None:
        return "–"
    if isinstance(value, Interval):
        ends = ", ".join(plain_number(end, places) for end in (value.low, value.high))
        return f"{plain_number(value.value, places)} [{ends}]"
    return plain_number(value, places) if isinstance(value, float) else str(value)


def plain_number(value: float, places: int = PLACES) -> str:
    """A number with so many significant digits, written out as a reader wants it: 549,000,000 and 0.000232."""
    if value == 0:
        return "0"
    magnitude = int(f"{abs(value):.{places - 1}e}".split("e")[1])  # of the rounded one: 9.999 counts as 10
    if -7 <= magnitude < 15:
        rounded = (
            round(value, places - 1 - magnitude) if magnitude >= 6 else value
        )  # whole thousands are read as they are
        return f"{rounded:,.{max(0, places - 1 - magnitude)}f}"
    return f"{value:.{places - 1}e}"


def lines_of(result: Result) -> list[str]:
    """A result as lines to read in a terminal."""
    found = [result.title, f"made by: {result.command}"]
    for table in result.tables:
        cells = [list(table.columns), *([figure_of(cell, table.places) for cell in row] for row in table.rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(table.columns))]
        found += ["", table.title]
        found += ["  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
                  for row in cells]  # fmt: skip
        found.append(table.caption)
    return found + (["", *result.findings] if result.findings else [])

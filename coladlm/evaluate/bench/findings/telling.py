"""Findings and tables that follow from others, for a result that has just been measured or one that is kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

from ..results import Result, Table
from . import cost, likelihood, long_context, strengths, structured
from .published import TITLE, published_table

TELLERS: dict[str, tuple[Callable[[Result], Iterator[str]], Sequence[str]]] = {
    "strengths": (strengths.findings, strengths.KEPT),
    "structured": (structured.findings, structured.KEPT),
    "long": (long_context.findings, long_context.KEPT),
    "likelihood": (likelihood.findings, likelihood.KEPT),
    "cost": (cost.findings, cost.KEPT),
}  # the part `tasks` counts what its tables do not hold, so that its findings stay as they are


def told(result: Result) -> Result:
    """The result with findings by its tables, and what its part has of other tables that follow.

    Of the findings that it has stay those that rest on what no table holds: a part names how they begin (KEPT).
    Raises ResultError where a table or row is missing.
    """
    if result.part not in TELLERS:
        return result
    tell, kept = TELLERS[result.part]
    measured = [finding for finding in result.findings if finding.startswith(tuple(kept))]
    tables: list[Table] = [table for table in result.tables if table.title != TITLE]
    if result.part == "structured":
        tables.insert(1, published_table(result))
    return dataclasses.replace(result, findings=[*tell(result), *measured], tables=tables)

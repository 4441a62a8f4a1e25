"""What follows from the part `long`."""

from __future__ import annotations

from collections.abc import Iterator

from ..results import Cell, Result, figure_of
from .points import LONG, Point, apart
from .rows import column_of, interval_of, number, table_of

CONTEXT, TEXTS, RECALL, COSTS = (
    "What context gives", "Long texts", "A name over a distance", "Time and memory by length",
)  # fmt: skip
KEPT = ()


def findings(result: Result) -> Iterator[str]:
    """Raises ResultError."""
    rows = table_of(result, CONTEXT).rows
    best = min(rows, key=lambda row: interval_of(row[1]).value)
    said = [
        f"{figure_of(row[1])} after {row[0]} tokens" + ", where it is best" * (row is best)
        for row in rows
        if row is rows[0] or row is best or row is rows[-1]
    ]
    yield f"Of the same passages the Cola-DLM needs at most so many nats a token: {'; '.join(said)}."
    beyond = [str(row[0]) for row in rows if interval_of(row[1]).low > interval_of(rows[0][1]).high]
    if beyond:
        yield (
            f"After {', '.join(beyond)} tokens it is worse than after {rows[0][0]}, intervals apart: no text of its "
            "training was so long."
        )
    cola, transformer, real = table_of(result, TEXTS).rows
    yield (
        f"In long texts the name of the first sentence comes back in {figure_of(cola[2])} of the Cola-DLM's texts, "
        f"{figure_of(transformer[2])} of the transformer's and {figure_of(real[2])} of real ones."
    )
    near, far = table_of(result, RECALL).rows[0], table_of(result, RECALL).rows[-1]
    yield (
        f"Asked for a name {near[0]} tokens after it was given the Cola-DLM says it {figure_of(near[1])} of the time"
        + (f", {far[0]} tokens after it {figure_of(far[1])}." if far is not near else ".")
    )


def points_of(result: Result) -> Iterator[Point]:
    """What becomes of a name, and repetition, in texts as long as the transformer can write and read them, too."""
    table = table_of(result, TEXTS)
    cola, other = table.rows[:2]
    for start, told, less_is_better in (
        ("the name comes back", "{a} of long texts name again whom their first sentence has named, against {b}", False),
        ("3-grams repeated", "{a} of the 3-grams of long texts repeat earlier ones, against {b}", True),
    ):
        at = column_of(table, start)
        if cola[at] is not None and other[at] is not None:
            said = told.format(a=_per_cent(cola[at]), b=_per_cent(other[at]))
            yield Point(apart(interval_of(cola[at]), interval_of(other[at]), less_is_better), LONG, said)
    both = [row for row in table_of(result, RECALL).rows if row[2] is not None]
    if both:
        distance, own, theirs = both[-1]
        said = f"asked {distance} tokens later for a name, {_per_cent(own)} say it, against {_per_cent(theirs)}"
        yield Point(apart(interval_of(own), interval_of(theirs)), LONG, said)


def _per_cent(cell: Cell) -> str:
    return f"{100 * interval_of(cell).value:.0f} %"


def reach(result: Result) -> str:
    """How far both read, and what context gives where it is best and at the end."""
    rows = table_of(result, CONTEXT).rows
    best, last = min(rows, key=lambda row: interval_of(row[1]).value), rows[-1]
    read = [row[0] for row in rows if row[2] is not None]
    told = f"{number(best[1])} nats a token at most after {best[0]} tokens, where it is best"
    more = f", and {number(last[1])} after {last[0]}" * (last is not best)
    beside = f"of these lengths the transformer reads no more than {read[-1]}" if read else "the transformer reads none"
    return f"Length: {told}{more}; {beside}."


def memory(result: Result) -> str:
    """Keys and values of both, at the longest text that both can read; "" where the transformer reads none."""
    both = [row for row in table_of(result, COSTS).rows if row[6] is not None]
    if not both:
        return ""
    tokens, cola, other = both[-1][0], both[-1][3], both[-1][6]
    return f"Memory: {number(cola)} MB of keys and values after {tokens} tokens against {number(other)} MB."

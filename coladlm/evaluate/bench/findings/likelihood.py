"""What follows from the part `likelihood`."""

from __future__ import annotations

from collections.abc import Iterator

from ..intervals import Interval
from ..results import Result, figure_of
from .points import ALIKE, LIKELIHOOD, WINS, Point, apart
from .rows import column_of, interval_of, listed, number, row_of, table_of

LIKELY, BRIER = "How likely held-out stories are", "BrierLM, from samples alone"
KEPT = ()
OWN, FREE, TRANSFORMER = "Cola-DLM, as it ships", "Cola-DLM, guidance 1, all noise fresh", "transformer, temperature 1"
BRIER_MEANS = "BrierLM says how well samples forecast the next four tokens, out of 100: more is better."
BELOW_ZERO = "A score of its four is below 0 where samples agree with each other more often than with the text."


def findings(result: Result) -> Iterator[str]:
    """Raises ResultError."""
    likely, brier = table_of(result, LIKELY), table_of(result, BRIER)
    exact, tokens, blocks = (row[1] for row in likely.rows[:3])
    yield (
        f"The transformer needs {figure_of(exact)} nats for a token of a held-out story; the Cola-DLM at most "
        f"{figure_of(tokens)} when it writes a token after another, and at most {figure_of(blocks)} when it writes a "
        "block at once."
    )
    yield "A bound is not the value: a text may be likelier to the Cola-DLM than its bound says, never less likely."
    if guided := list(likely.rows[3:]):
        yield (
            "Guidance makes texts that read better and a bound that is worse "
            f"({guided[-1][0]}: {figure_of(guided[-1][1])} nats a token): likelihood is not quality."
        )
    said = ", ".join(f"{row[0]}: {figure_of(row[1])}" for row in brier.rows)
    yield f"{BRIER_MEANS} {said}. {_beside(result)}"
    yield (
        "BrierLM is 0 where for some n samples agree with each other more often than with the text, as under strong "
        "guidance, or where there are too few contexts. A 0 without an interval has none that could be "
        "given: it is 0 in nearly every resample of the contexts, which is no certainty."
    )


def _beside(result: Result) -> str:
    brier = table_of(result, BRIER)
    other = interval_of(row_of(brier, TRANSFORMER)[1])
    ways = [row for row in brier.rows if str(row[0]).startswith("Cola-DLM") and isinstance(row[1], Interval)]
    alike = [str(row[0]).removeprefix("Cola-DLM, ") for row in ways if apart(interval_of(row[1]), other) == ALIKE]
    if not alike:
        return "No way of sampling the Cola-DLM that has an interval meets that of the transformer at temperature 1."
    return (
        f"The intervals of the Cola-DLM ({listed(alike)}) and of the transformer at temperature 1 overlap, which does "
        "not show that the two are equal."
    )


def points_of(result: Result) -> Iterator[Point]:
    """Raises ResultError."""
    likely, brier = table_of(result, LIKELY), table_of(result, BRIER)
    exact, bound = (interval_of(row[1]) for row in likely.rows[:2])
    said = f"at most {number(bound)} nats a token of a held-out story against exactly {number(exact)}"
    if bound.high < exact.low:
        yield Point(WINS, LIKELIHOOD, said)
    else:
        yield Point(ALIKE, LIKELIHOOD, f"{said}, but a bound proves nothing by being worse")
    other = row_of(brier, TRANSFORMER)
    for name, how in ((OWN, "as the model ships"), (FREE, "at guidance 1")):
        cola, at = row_of(brier, name), 1
        said = f"forecasts by samples {how}, BrierLM {number(cola[1])} against {number(other[1])}"
        if not (isinstance(cola[1], Interval) and isinstance(other[1], Interval)):  # a 0 that has none
            first = column_of(brier, "Brier-1")  # of the four the one that makes it 0
            at = min(range(first, len(cola)), key=lambda column: interval_of(cola[column]).value)
            told = "the next token" if at == first else f"the next {at - first + 1} tokens together"
            said += (
                " (the geometric mean of four scores, which is 0 where one of them is not above 0), and by the lowest "
                f"of the four, {brier.columns[at]}, for {told}, {number(cola[at])} against {number(other[at])}"
            )
        yield Point(apart(interval_of(cola[at]), interval_of(other[at])), LIKELIHOOD, said)

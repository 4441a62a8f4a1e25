"""What follows from the part `likelihood`."""

from __future__ import annotations

from collections.abc import Iterator

from ..results import Result, figure_of
from .points import ALIKE, LIKELIHOOD, WINS, Point, apart
from .rows import interval_of, listed, number, row_of, table_of

LIKELY, BRIER = "How likely held-out stories are", "BrierLM, from samples alone"
KEPT = ()
OWN, FREE, TRANSFORMER = "Cola-DLM, as it ships", "Cola-DLM, guidance 1, all noise fresh", "transformer, temperature 1"
BRIER_MEANS = "BrierLM says how well samples forecast the next four tokens, out of 100: more is better."


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
        "guidance, or where there are too few contexts."
    )


def _beside(result: Result) -> str:
    brier = table_of(result, BRIER)
    other = interval_of(row_of(brier, TRANSFORMER)[1])
    ways = [row for row in brier.rows if str(row[0]).startswith("Cola-DLM")]
    alike = [str(row[0]).removeprefix("Cola-DLM, ") for row in ways if apart(interval_of(row[1]), other) == ALIKE]
    if not alike:
        return "All ways of sampling the Cola-DLM lie apart from the transformer at temperature 1."
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
    other = row_of(brier, TRANSFORMER)[1]
    for name, how in ((OWN, "as the model ships"), (FREE, "at guidance 1")):
        cola = row_of(brier, name)[1]
        said = f"forecasts by samples {how}, BrierLM {number(cola)} against {number(other)}"
        yield Point(apart(interval_of(cola), interval_of(other)), LIKELIHOOD, said)

"""What follows from the part `structured`."""

from __future__ import annotations

from collections.abc import Iterator

from ..intervals import Interval, share_interval
from ..results import Result, figure_of, plain_number
from .points import ALIKE, LOSES, STRUCTURE, WINS, Outcome, Point, apart
from .rows import interval_of, listed, row_of, table_of

BY_TASK, BY_SIZE, HOLES, PAIR = (
    "Exactly right, by task", "Exactly right, by size", "One bracket in the middle is missing", "The pair",
)  # fmt: skip
LONGER = "longer than any in training"  # ends the names of such sizes
KEPT = ("All answers together took",)  # whose sums no table holds


def findings(result: Result) -> Iterator[str]:
    """Raises ResultError."""
    cola, vae, transformer = row_of(table_of(result, BY_TASK), "all")[1:]
    told = f"its VAE alone gives back {figure_of(vae, 2)}"
    if interval_of(vae).low > interval_of(cola).high:
        told += ", so what is lost is lost in the flow, not in the decoder"
    yield (
        f"Of all answers in the sizes of the training the transformer has {figure_of(transformer, 2)} exactly right, "
        f"the Cola-DLM {figure_of(cola, 2)}; {told}."
    )
    tasks = outcomes(result)
    yield (
        f"A task is won where the intervals of the two do not meet. The Cola-DLM wins {_named(tasks[WINS])}; it loses "
        f"{_named(tasks[LOSES])}; not to be told apart: {_named(tasks[ALIKE])}."
    )
    yield from _on_length(result)
    yield from _on_holes(result)
    yield from _on_time(result)


def _named(tasks: list[str]) -> str:
    return listed(tasks) if tasks else "no task"


def outcomes(result: Result) -> dict[Outcome, list[str]]:
    """The names of the tasks by who wins them."""
    found: dict[Outcome, list[str]] = {WINS: [], LOSES: [], ALIKE: []}
    for name, cola, _, transformer in table_of(result, BY_TASK).rows:
        if name != "all":
            found[apart(interval_of(cola), interval_of(transformer))].append(str(name))
    return found


def points_of(result: Result) -> Iterator[Point]:
    """All tasks together. Raises ResultError."""
    cola, _, transformer = map(interval_of, row_of(table_of(result, BY_TASK), "all")[1:])
    tasks = outcomes(result)
    count = sum(map(len, tasks.values()))
    own, other = (plain_number(100 * share.value) for share in (cola, transformer))
    yield Point(
        apart(cola, transformer), STRUCTURE,
        f"{own} % of the answers to tasks with strict rules against {other} % (a pair of tiny models of equal "
        f"size and training time); of {count} tasks it wins {len(tasks[WINS])} and loses "
        f"{len(tasks[LOSES])}",
    )  # fmt: skip


def _on_length(result: Result) -> Iterator[str]:
    rows = [row for row in table_of(result, BY_SIZE).rows if str(row[1]).endswith(LONGER)]
    if rows:
        cola, transformer = (_together([interval_of(row[at]) for row in rows]) for at in (2, 4))
        sizes = dict.fromkeys(str(row[1]).partition(" ")[0] for row in rows)
        yield (
            f"Beyond the lengths of the training ({listed(list(sizes))} brackets) the transformer has "
            f"{figure_of(transformer, 2)} exactly right, the Cola-DLM {figure_of(cola, 2)}."
        )


def _together(shares: list[Interval]) -> Interval:
    """The share of all items of several rows."""
    hits = sum(round(share.value * share.count) for share in shares)
    count = sum(share.count for share in shares)
    return share_interval([True] * hits + [False] * (count - hits))


def _on_holes(result: Result) -> Iterator[str]:
    cola, left, scores = map(interval_of, row_of(table_of(result, HOLES), "all")[1:])
    compared = {ALIKE: "not to be told apart from", WINS: "more than", LOSES: "less than"}[apart(cola, left)]
    yield (
        f"A bracket missing in the middle: the Cola-DLM, which sees the rest of the block, puts the right one in "
        f"{figure_of(cola, 2)} of the holes, {compared} the transformer from the left ({figure_of(left, 2)}); the "
        f"transformer that scores the text with each of the six brackets, {figure_of(scores, 2)}."
    )


def _on_time(result: Result) -> Iterator[str]:
    seen = {str(row[0]): row[3] for row in table_of(result, PAIR).rows}
    tokens = [seen.get("Cola-DLM, DiT"), seen.get("transformer")]
    if all(isinstance(count, int) for count in tokens):
        dit, transformer = (f"{interval_of(count).value / 1e6:.1f} million" for count in tokens)
        yield (
            f"In equal time the DiT saw {dit} tokens and the transformer {transformer}. This compares what minutes "
            "buy, not the most that either architecture can do."
        )

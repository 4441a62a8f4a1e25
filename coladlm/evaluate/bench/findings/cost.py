"""What follows from the part `cost`."""

from __future__ import annotations

from collections.abc import Iterator

from ..results import Result, figure_of
from .points import ALIKE, FLUENCY, LOSES, WINS, Point, apart
from .rows import column_of, interval_of, listed, number, row_of, table_of

SETTINGS, SETTLED = "What settings cost and give", "Ending a block when its words have settled"
OWN, TRANSFORMER, REAL = "as it ships", "transformer, temperature 0.8", "real text"
WARM = "transformer, temperature 1"
KEPT = ("The judge is",)  # whose name no table holds


def findings(result: Result) -> Iterator[str]:
    """Raises ResultError."""
    table = table_of(result, SETTINGS)
    own, other, real = (row_of(table, name) for name in (OWN, TRANSFORMER, REAL))
    at, who = _reading(result)
    yield (
        f"{price(result)} Perplexity a word, read by {who}: {figure_of(own[at])} against {figure_of(other[at])}, where "
        f"real text has {figure_of(real[at])}."
    )
    yield from _on(result, "steps ", "Steps a block", "steps")
    yield _on_settling(result)
    on_blocks = list(_on(result, "block size ", "Places in a block", "places"))
    yield from on_blocks or [
        "The size of a block is a setting of the sampler too, which was not varied here; stagger is what moves between "
        "writing a block at once and one word after another."
    ]


def _reading(result: Result) -> tuple[int, str]:
    """The column of the perplexity that is told, and whose it is: the judge's, if there was one."""
    table = table_of(result, SETTINGS)
    at = column_of(table, "perplexity a word, read by the judge", "perplexity a word")
    return at, table.columns[at].rpartition("read by ")[2]


def price(result: Result) -> str:
    """Seconds of a text, beside the transformer's."""
    table = table_of(result, SETTINGS)
    at = column_of(table, "processor seconds")
    cola, other = (interval_of(row_of(table, name)[at]) for name in (OWN, TRANSFORMER))
    return (
        f"As it ships the model takes {cola.value / other.value:.1f} times the transformer's processor time for a text "
        f"({number(cola)} s against {number(other)} s, {result.settings['batch']} texts of at most "
        f"{result.settings['max_new_tokens']} tokens at once)."
    )


def points_of(result: Result) -> Iterator[Point]:
    """How the texts of both read. Raises ResultError."""
    table = table_of(result, SETTINGS)
    at, who = _reading(result)
    by = "" if who == "the judge" else f", read by {who}"
    own = row_of(table, OWN)[at]
    for name in (TRANSFORMER, WARM):
        other = row_of(table, name)[at]
        outcome = apart(interval_of(own), interval_of(other), less_is_better=True)
        temperature = name.rpartition(" ")[2]
        theirs = f"{number(other)} of the transformer's at temperature {temperature}"
        yield Point(outcome, FLUENCY, f"perplexity of its texts {number(own)} against {theirs}{by}")


def _on(result: Result, beginning: str, what: str, unit: str) -> Iterator[str]:
    """What other values of a setting cost and give. beginning: of the names of its rows."""
    table = table_of(result, SETTINGS)
    (at, who), time = _reading(result), column_of(table, "processor seconds")
    own, said = row_of(table, OWN), []
    for row in table.rows:
        if str(row[0]).startswith(beginning):
            change = 100 * (interval_of(row[time]).value / interval_of(own[time]).value - 1)
            alike = apart(interval_of(row[at]), interval_of(own[at])) == ALIKE
            said.append(
                f"{str(row[0])[len(beginning) :]} {unit} take {abs(change):.0f} % "
                f"{'less' if change < 0 else 'more'} time at a perplexity of {number(row[at])} "
                f"(intervals {'overlap' if alike else 'apart'})"
            )
    if said:
        yield f"{what}: {listed(said)}; as it ships it is {number(own[at])}, read by {who}."


def _on_settling(result: Result) -> str:
    """Whether ending blocks early saves time: seconds of texts written alone, beside those of all steps."""
    table = table_of(result, SETTLED)
    names = ("seconds a text, alone", "steps saved", "tokens changed")
    time, saved, changed = (column_of(table, name) for name in names)
    base, *rows = table.rows
    said, slower = [], False
    for row in rows:
        outcome = apart(interval_of(row[time]), interval_of(base[time]), less_is_better=True)
        told = {WINS: "quicker", LOSES: "slower", ALIKE: "not to be told apart"}[outcome]
        slower = slower or outcome == LOSES
        said.append(
            f"k = {row[0]}: {number(row[time])} s, {told}; {number(row[saved])} % of the steps saved, "
            f"{number(row[changed])} % of the tokens changed"
        )
    reason = (
        " To know when to end it the decoder reads the block at every step; where that is slower, it takes more than "
        "the steps save."
    )
    return (
        f"Ending blocks early, where a text alone takes {number(base[time])} s with all steps. {'. '.join(said)}."
        + reason * slower
    )

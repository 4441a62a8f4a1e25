"""What follows from the part `cost`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..intervals import Interval
from ..results import Cell, Result, Table, figure_of
from .points import ALIKE, FLUENCY, LOSES, WINS, Outcome, Point, apart
from .rows import column_of, interval_of, number, row_of, table_of

SETTINGS, SETTLED = "What settings cost and give", "Ending a block when its words have settled"
OWN, TRANSFORMER, REAL = "as it ships", "transformer, temperature 0.8", "real text"
WARM = "transformer, temperature 1"
KEPT = ("The judge is",)  # whose name no table holds
FEWEST_PAIRS = 6  # of fewer, all agree by chance in more than 5 % of the cases, and a bootstrap has no width to trust


def findings(result: Result) -> Iterator[str]:
    """Raises ResultError."""
    table = table_of(result, SETTINGS)
    own, other, real = (row_of(table, name) for name in (OWN, TRANSFORMER, REAL))
    at, who = _reading(result)
    yield (
        f"{price(result)} Perplexity a word, read by {who}: {figure_of(own[at])} against {figure_of(other[at])}, where "
        f"real text has {figure_of(real[at])}."
    )
    yield from _on(result, "steps ", "Steps a block", "step")
    yield _on_settling(result)
    on_blocks = list(_on(result, "block size ", "Places in a block", "place"))
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
    at, row, base = column_of(table, "processor seconds"), row_of(table, TRANSFORMER), row_of(table, OWN)
    seconds = (
        f"({number(base[at])} s against {number(row[at])} s, {result.settings['batch']} texts of at most "
        f"{result.settings['max_new_tokens']} tokens at once)"
    )
    ratio, outcome = _times(table, row, base, "processor seconds", "times that")
    if outcome == ALIKE:
        return f"The processor time for a text as it ships and the transformer's are {ALIKE} {seconds}."
    times = Interval(1 / ratio.value, 1 / ratio.high, 1 / ratio.low, ratio.count)  # the model over the transformer
    told = figure_of(times, 2) if ratio.low < ratio.high else f"{times.value:.1f}"
    return f"As it ships the model takes {told} times the transformer's processor time for a text {seconds}."


def _times(
    table: Table, row: Sequence[Cell], base: Sequence[Cell], seconds: str, times: str
) -> tuple[Interval, Outcome]:
    """The seconds of a row over those of another, and which of the two is quicker.

    seconds, times: how the columns begin. Only the times of the same texts in turn can be told apart (the column of
    times), where its interval leaves out 1. A result that was kept before there was that column has no interval of the
    ratio; there the seconds' own must not meet.
    """
    own, other = (interval_of(cells[column_of(table, seconds)]) for cells in (row, base))
    if not any(name.startswith(times) for name in table.columns):
        ratio = own.value / other.value
        return Interval(ratio, ratio, ratio, own.count), apart(own, other, less_is_better=True)
    ratio = interval_of(row[column_of(table, times)])
    if ratio.count < FEWEST_PAIRS:
        return ratio, ALIKE
    return ratio, apart(ratio, Interval(1, 1, 1, ratio.count), less_is_better=True)


def points_of(result: Result) -> Iterator[Point]:
    """How the texts of both read. Raises ResultError."""
    table = table_of(result, SETTINGS)
    at, who = _reading(result)
    by = "" if who == "the judge" else f", read by {who}"
    varied = column_of(table, "distinct 2-grams")
    own = row_of(table, OWN)
    for name in (TRANSFORMER, WARM):
        other = row_of(table, name)
        outcome = apart(interval_of(own[at]), interval_of(other[at]), less_is_better=True)
        temperature = name.rpartition(" ")[2]
        theirs = f"{number(other[at])} of the transformer's at temperature {temperature}{by}"
        variety = f"{number(own[varied])} and {number(other[varied])} of their 2-grams are distinct"
        yield Point(outcome, FLUENCY, f"perplexity of its texts {number(own[at])} against {theirs} ({variety})")


def _on(result: Result, beginning: str, what: str, unit: str) -> Iterator[str]:
    """What other values of a setting cost and give. beginning: of the names of its rows."""
    table = table_of(result, SETTINGS)
    at, who = _reading(result)
    own, said = row_of(table, OWN), []
    for row in table.rows:
        if str(row[0]).startswith(beginning):
            value = str(row[0])[len(beginning) :]
            alike = apart(interval_of(row[at]), interval_of(own[at])) == ALIKE
            time = _change(table, row, own)
            said.append(
                f"{value} {unit}{'s' * (value != '1')}, {time} at a perplexity of {number(row[at])} "
                f"(intervals {'overlap' if alike else 'apart'})"
            )
    if said:
        yield f"{what}: {'; '.join(said)}. As it ships it is {number(own[at])}, read by {who}."


def _change(table: Table, row: Sequence[Cell], own: Sequence[Cell]) -> str:
    """ "62 % less time", or that the two times are not to be told apart."""
    ratio, outcome = _times(table, row, own, "processor seconds", "times that")
    if outcome == ALIKE:
        return f"in a time {ALIKE},"
    return f"{100 * abs(ratio.value - 1):.0f} % {'less' if outcome == WINS else 'more'} time"


def _on_settling(result: Result) -> str:
    """Whether ending blocks early saves time: seconds of texts written alone, beside those of all steps."""
    table = table_of(result, SETTLED)
    names = ("seconds a text, alone", "steps saved", "tokens changed")
    time, saved, changed = (column_of(table, name) for name in names)
    base, *rows = table.rows
    said, slower = [], False
    for row in rows:
        _, outcome = _times(table, row, base, "seconds a text, alone", "times those of k = 0, alone")
        told = {WINS: "quicker", LOSES: "slower", ALIKE: ALIKE}[outcome]
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

"""What follows from the part `strengths`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..results import Cell, Result
from .points import ALIKE, DRAFTS, EDITS, FILLING, LOSES, WINS, Outcome, Point, apart, sentences
from .rows import column_of, interval_of, number, row_of, table_of

VERDICTS, STANDING, FEW_STEPS = "Who wins", "What stands early, % of the tokens", "Fewer steps than words"
KEPT = ("Seeing the rest of the block",)  # rests on pairs of items, which no table holds
RULE = (
    "A side wins where both did the same items and the 95 % interval of the difference between them leaves out zero "
    "(for perplexities, a ratio of 1)."
)
PERPLEXITY = (
    "Perplexity: among how many words the reader would, on average, have to guess at each word, so that less is more "
    "fluent"
)

# a question of the table of verdicts (a pattern): its kind, how it is told, whether the summary of the bench has it.
# {0} is what the pattern caught.
TOLD: tuple[tuple[str, str, str, bool], ...] = (
    (r"(.*) hidden, right at the first go, %", FILLING,
     "{0} hidden, the first guess, {a} % right against {b} %", True),
    (r"(.*) hidden, right as the best of several, %", FILLING,
     "{0} hidden, the best of several guesses, {a} % right against {b} %", True),
    (r"(.*) hidden, (at the first go|the best of several), perplexity .*", FILLING,
     "{0} hidden, {1}, perplexity of the sentence {a} against {b}", False),
    (r"written around words that stay, one go, perplexity .*", FILLING,
     "text written around pinned words, perplexity {a} against {b}", True),
    (r"written around words that stay, the best of several, perplexity .*", FILLING,
     "the best of several texts written around pinned words, perplexity {a} against {b}", False),
    (r"sentences turned, pushed by (\S+), against the transformer by chance, %", EDITS,
     "pushed by {0} along a direction, {a} % of sentences turn, against {b} % that a transformer turns by writing the "
     "same words anew", True),
    (r"sentences turned, pushed by (\S+), against the transformer after a hint, %", EDITS,
     "{a} % against {b} % if the transformer has first read sentences of the other kind", True),
    (r"sentences turned, pushed by (\S+), against the transformer after a hint, perplexity .*", EDITS,
     "perplexity {a} of the sentences pushed by {0}, against {b} of the transformer's after a hint", True),
    (r"texts in (\d+) steps a block, perplexity .*", DRAFTS,
     "texts in {0} steps a block, where a token takes as many passes as the transformer's, perplexity {a} "
     "against {b}", True),
)  # fmt: skip


def findings(result: Result) -> Iterator[str]:
    """Raises ResultError."""
    points = list(points_of(result))
    for outcome, begun in ((WINS, "Diffusion wins"), (LOSES, "It loses"), (ALIKE, "Not to be told apart")):
        for sentence in sentences(points, outcome) or ["nowhere."]:
            yield f"{begun}, {sentence[0].lower()}{sentence[1:]}"
    yield f"{RULE} {PERPLEXITY}. It is read by {reader_of(result)}."
    yield price(result)


def reader_of(result: Result) -> str:
    """Who read the perplexities that are told: the judge, if there was one, else the transformer."""
    told = [str(row[0]).partition("perplexity read by ")[2] for row in table_of(result, VERDICTS).rows]
    return [name for name in told if name][-1]


def points_of(result: Result) -> Iterator[Point]:
    """In words the reader's reading, where several have read. Raises ResultError."""
    table, reader = table_of(result, VERDICTS), reader_of(result)
    cola, other, verdict = (column_of(table, name) for name in ("Cola-DLM", "transformer", "the Cola-DLM"))
    for row in table.rows:
        question = str(row[0])
        if "perplexity read by" in question and not question.endswith(f"read by {reader}"):
            continue
        for pattern, kind, told, main in TOLD:
            if found := re.fullmatch(pattern, question):
                said = told.format(*found.groups(), a=number(row[cola]), b=number(row[other]))
                yield Point(_outcome(row[verdict]), kind, said, main)
                break
    yield _standing(result)


def _outcome(cell: Cell) -> Outcome:
    return WINS if cell == WINS else LOSES if cell == LOSES else ALIKE


def _standing(result: Result) -> Point:
    """How much of a block is there early, as the model ships. Against a number the interval itself is that of the
    difference."""
    table = table_of(result, STANDING)
    own, other = row_of(table, "Cola-DLM, as it ships"), row_of(table, "transformer, a word a pass")
    at_once = row_of(table, "Cola-DLM, all words of a block at once (stagger 0)")
    passes, block = passes_of(result)
    return Point(
        apart(interval_of(own[1]), interval_of(other[1])), DRAFTS,
        f"{number(own[1])} % of the tokens of a block are the final ones after a quarter of its steps, as the model "
        f"ships ({number(at_once[1])} % if all begin at once, stagger 0). This is so by construction more than by "
        f"merit: a transformer has nothing of a word before its turn, hence {number(other[1])} % after a quarter of "
        f"its passes, whatever it writes. And it takes {block:g} passes for a block of {block:g} tokens, the Cola-DLM "
        f"{passes:g}",
    )  # fmt: skip


def passes_of(result: Result) -> tuple[float, float]:
    """Passes through the network that a block takes as the model ships, and the tokens of a block."""
    table = table_of(result, FEW_STEPS)
    block = max(interval_of(row[1]).value for row in table.rows)  # in one step
    return interval_of(row_of(table, "as it ships")[column_of(table, "network passes")]).value * block, block


def price(result: Result) -> str:
    """What a token costs as the model ships, beside the transformer's."""
    table = table_of(result, FEW_STEPS)
    at = column_of(table, "processor milliseconds")
    cola, other = (interval_of(row_of(table, name)[at]) for name in ("as it ships", "transformer"))
    return (
        f"The price: as it ships a token takes {cola.value / other.value:.1f} times the transformer's processor time "
        f"({number(cola)} ms against {number(other)} ms, {result.settings['batch']} texts at once that all go on to "
        f"{result.settings['tokens']} tokens)."
    )

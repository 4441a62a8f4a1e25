"""Directions: a sentence is turned by adding a vector to its latents, for which a transformer has no dial.

What a transformer has in its place: it writes the words anew from the left, by chance, or after some sentences of the
other end, which it may take for a hint.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence

from ....baseline.baseline import Baseline, BaselineSettings
from ....latent import directions
from ....latent.edit import edited_tokens
from ....latent.turning import end_words, is_turned, turning_edits
from ....model import ColaDLM
from ....sampling.events import Finished
from ..cost import per_word
from ..intervals import Interval, share_interval
from ..measuring import Measuring
from ..results import Cell, Chart, Line, Table
from .passages import Request
from .verdicts import Readers, Verdict, of_perplexities, of_shares

STRENGTHS, RENOISE = (0.0, 0.5, 1.0, 1.5, 2.0), 0.2
HINTS = 3  # sentences of the other end
SHOWN = "pushed by 1"  # the strength that the tab Edit begins with
CHANCE, HINTED, REAL = (
    "transformer, from the left",
    f"transformer, after {HINTS} sentences of the other end",
    "the pairs",
)


@dataclasses.dataclass(frozen=True)
class Turned:
    """What came of the sentences of a direction: texts, and for each whether it is turned. seconds: for each."""

    texts: list[str]
    turned: list[bool]
    seconds: float = 0.0


def name_of(strength: float) -> str:
    """How the tables call a push."""
    return f"pushed by {strength:g}" if strength else "not pushed, only renoised"


def turn_all(model: ColaDLM, baseline: Baseline, request: Request,
             measuring: Measuring) -> dict[str, dict[str, Turned]]:  # fmt: skip
    """For each way and direction what became of the held-out sentences, both ways round, `request.edits` times each."""
    ways: dict[str, Callable[[str], Turned]] = {
        name_of(s): functools.partial(_by_direction, model, request, s) for s in STRENGTHS
    }
    ways[CHANCE] = functools.partial(_by_transformer, model, baseline, request, 0)
    ways[HINTED] = functools.partial(_by_transformer, model, baseline, request, HINTS)
    ways[REAL] = functools.partial(_pairs, model, request)
    found: dict[str, dict[str, Turned]] = {}
    names = directions.shipped()
    for number, (way, turn) in enumerate(ways.items(), 1):
        found[way] = {name: Turned(**measuring.item(f"directions, {way}, {name}", lambda n=name, t=turn: (
            dataclasses.asdict(t(n))))) for name in names}  # fmt: skip
        measuring.progress("directions", number, len(ways))
    return found


def _by_direction(model: ColaDLM, request: Request, strength: float, name: str) -> Turned:
    asked = turning_edits(model, name, strength, RENOISE)
    keys = [key for key in range(request.edits) for _ in asked]
    settings = dataclasses.replace(model.defaults, seed=request.seed)
    begun = time.process_time()
    ids = edited_tokens([one.edit for one in asked] * request.edits, keys, settings)
    return _judged(name, [model.read(row) for row in ids], [one.way for one in asked] * request.edits, begun)


def _by_transformer(model: ColaDLM, baseline: Baseline, request: Request, hints: int, name: str) -> Turned:
    """The same span is written by the transformer, as many tokens, and the rest stands as it was."""
    pairs, asked = directions.load_pairs(name), turning_edits(model, name, 0.0, RENOISE)
    begun = time.process_time()
    texts = []
    for key in range(request.edits):
        for number, one in enumerate(asked):
            ids, (start, end) = one.edit.layout.text_ids, one.edit.token_span
            hint = " ".join(pair[1 - one.way] for pair in pairs.fit[:hints])
            before = model.read(ids[:start])
            prompt = f"{hint} {before}" if hint else before
            settings = BaselineSettings(end - start, seed=request.seed, stop_at_end=False)
            row = next(event for event in baseline.sample([prompt], settings, [key * len(asked) + number])
                       if isinstance(event, Finished)).token_ids[0]  # fmt: skip
            texts.append(model.read([*ids[:start], *row, *ids[end:]]))
    return _judged(name, texts, [one.way for one in asked] * request.edits, begun)


def _pairs(model: ColaDLM, request: Request, name: str) -> Turned:
    asked = turning_edits(model, name, 0.0, RENOISE)
    texts = [one.other for one in asked] * request.edits
    return _judged(name, texts, [one.way for one in asked] * request.edits, time.process_time())


def _judged(name: str, texts: list[str], ways: Sequence[int], begun: float) -> Turned:
    seconds, ends = (time.process_time() - begun) / len(texts), end_words(directions.load_pairs(name))
    return Turned(texts, [is_turned(text, ends, way) for text, way in zip(texts, ways, strict=True)], seconds)


def _together(found: Mapping[str, Turned]) -> Turned:
    every = list(found.values())
    count = sum(len(one.texts) for one in every)
    return Turned([text for one in every for text in one.texts], [turned for one in every for turned in one.turned],
                  sum(one.seconds * len(one.texts) for one in every) / count)  # fmt: skip


def direction_table(found: Mapping[str, Mapping[str, Turned]], readers: Readers) -> Table:
    """A row for each way."""
    names = list(found[REAL])
    rows: list[list[Cell]] = []
    for way, each in found.items():
        whole = _together(each)
        who = "what the pairs say" if way == REAL else way if way in (CHANCE, HINTED) else f"Cola-DLM, {way}"
        judged = [per_word(reader.log_likelihood(whole.texts)) for reader in readers.values()]
        kinds = [share_interval(each[name].turned, 100) for name in names]
        rows.append([who, share_interval(whole.turned, 100), *kinds, *judged, None if way == REAL else whole.seconds])
    return Table(
        "Sentences turned by a direction",
        "Held-out sentences of the directions that ship, both ways round. The words that differ are pushed by so many "
        f"radii along the direction and carried back from {RENOISE:.0%} noise; the rest is pinned. Turned: a sentence "
        "has a word that only the other end uses, and none that only its own end uses. The transformer writes as many "
        "tokens in the same place, from the left. Perplexity is that of the whole sentence; that of the other sentence "
        "of each pair is what a perfect turn would have.",
        ["who", "turned, %", *names, *(f"perplexity a word, read by {name}" for name in readers), "processor seconds"],
        rows,
    )  # fmt: skip


def direction_chart(found: Mapping[str, Mapping[str, Turned]], readers: Readers) -> Chart:
    """Sentences turned over what that costs in perplexity, read by the last of the readers."""
    name, reader = list(readers.items())[-1]

    def point(way: str) -> tuple[float, Interval]:
        whole = _together(found[way])
        return per_word(reader.log_likelihood(whole.texts)).value, share_interval(whole.turned, 100)

    pushes = [name_of(strength) for strength in STRENGTHS]
    x, y = zip(*map(point, pushes), strict=True)
    lines = [Line("Cola-DLM, by strength", x, y, labels=[f"{strength:g}" for strength in STRENGTHS])]
    for way, shown in ((CHANCE, CHANCE), (HINTED, HINTED), (REAL, "what the pairs say")):
        at, share = point(way)
        lines.append(Line(shown, [at], [share], points=True))
    return Chart(
        "Sentences turned, and what it costs",
        "Up is more sentences turned, left is sentences that surprise a reader less. What the pairs say is all turned.",
        f"perplexity a word, read by {name}", "turned, %", lines, ["x"],
    )  # fmt: skip


def direction_verdicts(found: Mapping[str, Mapping[str, Turned]], readers: Readers) -> list[Verdict]:
    """A push against what a transformer may do."""
    cola, verdicts = _together(found[SHOWN]), []
    for other, what in ((CHANCE, "by chance"), (HINTED, "after a hint")):
        theirs = _together(found[other])
        shares = ([100.0 * turned for turned in one.turned] for one in (cola, theirs))
        verdicts.append(of_shares(f"sentences turned, {SHOWN}, against the transformer {what}, %", *shares))
    for name, reader in readers.items():
        cola_read, other_read = (reader.log_likelihood(_together(found[way]).texts) for way in (SHOWN, HINTED))
        verdicts.append(
            of_perplexities(
                f"sentences turned, {SHOWN}, against the transformer after a hint, perplexity read by {name}",
                cola_read,
                other_read,
            )
        )
    return verdicts

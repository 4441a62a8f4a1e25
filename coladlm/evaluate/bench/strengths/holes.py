"""Words of a story are hidden: who fills them in?"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from ....baseline.baseline import Baseline
from ....model import ColaDLM
from ....settings import SamplerSettings
from ..cost import per_word
from ..intervals import mean_interval, share_interval
from ..measuring import Measuring
from ..results import Cell, Chart, Line, Table
from .filling import Filled, fill_passages, filled, likeliest
from .passages import Passage, Request
from .verdicts import Readers, Verdict, of_perplexities, of_shares

BLOCK, BEST, LEFT = "Cola-DLM, sees its block", "Cola-DLM, the best of {} fits", "Cola-DLM, from the left"
GREEDY, SCORED = "transformer, from the left", "transformer, the likeliest of {} with the whole sentence"
Ways = Mapping[str, Filled]


def names(request: Request) -> dict[str, str]:
    """The ways as the tables call them, by their keys."""
    return {"block": BLOCK, "best": BEST.format(request.candidates), "left": LEFT, "greedy": GREEDY,
            "scored": SCORED.format(request.guesses)}  # fmt: skip


def fill_holes(model: ColaDLM, baseline: Baseline, kind: str, holes: Sequence[Passage], request: Request,
               measuring: Measuring) -> dict[str, Filled]:  # fmt: skip
    """What each way puts into the holes, by the keys of `names`; ids go on to the end of the sentence."""
    own: SamplerSettings = dataclasses.replace(model.defaults, seed=request.seed)

    def left(part: Sequence[Passage], first: int) -> list[list[int]]:
        short = [dataclasses.replace(hole, pattern=hole.pattern[: hole.free]) for hole in part]
        return [[*ids, *hole.truth[hole.free :]]
                for ids, hole in zip(fill_passages(model, short, first, own), part, strict=True)]  # fmt: skip

    def greedy(part: Sequence[Passage], first: int) -> list[list[int]]:
        return likeliest(baseline, part, first, 1, request.seed)

    ways = {
        "block": lambda part, first: fill_passages(model, part, first, own),
        "best": lambda part, first: fill_passages(model, part, first, own, request.candidates),
        "left": left,
        "greedy": greedy,
        "scored": lambda part, first: likeliest(baseline, part, first, request.guesses, request.seed),
    }
    return {key: filled(measuring, f"holes, {kind}, {key}", holes, request.batch, fill) for key, fill in ways.items()}


def hits(holes: Sequence[Passage], found: Filled) -> list[bool]:
    """For each hole whether it got the words that were hidden, all of them."""
    return [ids[: hole.free] == list(hole.truth[: hole.free]) for hole, ids in zip(holes, found.ids, strict=True)]


def texts_of(model: ColaDLM, holes: Sequence[Passage], ids: Sequence[Sequence[int]]) -> tuple[list[str], list[str]]:
    """The fillings with the rest of their sentences, and what stands before them."""
    return [model.read(row) for row in ids], [model.read(hole.before) for hole in holes]


def hole_table(model: ColaDLM, kinds: Mapping[str, tuple[Sequence[Passage], Ways]], request: Request,
               readers: Readers) -> Table:  # fmt: skip
    """A row for each way and one for what was hidden."""
    columns = ["who", *(f"{kind}: exactly right, %" for kind in kinds)]
    columns += [f"{kind}: perplexity a word, read by {reader}" for kind in kinds for reader in readers]
    columns += [f"{kind}: processor seconds" for kind in kinds]
    rows: list[list[Cell]] = []
    for key, name in {"real": "what was hidden", **names(request)}.items():
        row: list[Cell] = [name]
        row += [
            None if key == "real" else share_interval(hits(holes, ways[key]), 100) for holes, ways in kinds.values()
        ]
        for holes, ways in kinds.values():
            ids = [hole.truth for hole in holes] if key == "real" else ways[key].ids
            row += [per_word(reader.log_likelihood(*texts_of(model, holes, ids))) for reader in readers.values()]
        row += [None if key == "real" else mean_interval(ways[key].seconds) for _, ways in kinds.values()]
        rows.append(row)
    return Table(
        "Words are hidden in held-out stories",
        "All are told how many tokens are missing. The Cola-DLM fills a hole as the tab Edit does: it sees all before "
        f"it and the rest of its own block, of {model.block_size} tokens, and nothing later; out of several it takes "
        "the one that it finds likeliest up to the end of the sentence. The transformer reads from the "
        "left, or makes guesses and takes the one under which the sentence is likeliest as a whole. Perplexity is that "
        "of the filling with the rest of the sentence.",
        columns, rows,
    )  # fmt: skip


def place_chart(holes: Sequence[Passage], ways: Ways, block: int, request: Request) -> Chart:
    """Right words by how much of the block follows the hole."""
    shown = {key: name for key, name in names(request).items() if key in ("block", "left", "greedy", "scored")}
    lines = []
    for key, name in shown.items():
        right = hits(holes, ways[key])
        each = {block - 1 - place: [hit for hit, hole in zip(right, holes, strict=True) if hole.place == place]
                for place in range(block - 1, -1, -1)}  # fmt: skip
        each = {after: values for after, values in each.items() if values}
        lines.append(Line(name, list(each), [share_interval(values, 100) for values in each.values()]))
    return Chart(
        "A hidden word, by how much of its block follows it",
        "Where nothing of the block follows, the Cola-DLM sees no more than the transformer.",
        "tokens of the block after the word", "exactly right, %", lines,
    )  # fmt: skip


def hole_verdicts(
    model: ColaDLM, kinds: Mapping[str, tuple[Sequence[Passage], Ways]], readers: Readers
) -> list[Verdict]:
    """One against one, the best of several against the same, and how well the words fit."""
    found = []
    for kind, (holes, ways) in kinds.items():
        right = {key: [100.0 * hit for hit in hits(holes, filling)] for key, filling in ways.items()}
        found.append(of_shares(f"{kind} hidden, right at the first go, %", right["block"], right["greedy"]))
        found.append(of_shares(f"{kind} hidden, right as the best of several, %", right["best"], right["scored"]))
        for name, reader in readers.items():
            for what, keys in (("at the first go", ("block", "greedy")), ("the best of several", ("best", "scored"))):
                cola, other = (reader.log_likelihood(*texts_of(model, holes, ways[key].ids)) for key in keys)
                found.append(of_perplexities(f"{kind} hidden, {what}, perplexity read by {name}", cola, other))
    return found


def block_finding(model: ColaDLM, kinds: Mapping[str, tuple[Sequence[Passage], Ways]]) -> str:
    """What seeing the rest of the block is worth to the Cola-DLM itself."""
    holes, ways = next(iter(kinds.values()))
    seen = [i for i, hole in enumerate(holes) if hole.place < model.block_size - 1]
    with_, without = ([100.0 * hits(holes, ways[key])[i] for i in seen] for key in ("block", "left"))
    v = of_shares("", with_, without)
    return (
        f"Seeing the rest of the block, where there is one, brings the Cola-DLM from {v.other.value:.0f} to "
        f"{v.cola.value:.0f} % of single words right ({v.difference.value:+.0f} points "
        f"[{v.difference.low:.0f}, {v.difference.high:.0f}])."
    )

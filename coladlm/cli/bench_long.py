"""`bench long`: what context gives, what becomes of long texts, a name over a distance, and what length costs."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence

from ..evaluate.bench import long_context as part
from ..evaluate.bench.intervals import Interval
from ..evaluate.bench.measuring import Progress
from ..evaluate.bench.results import Cell, Result, Table, figure_of
from ..evaluate.stories import EvaluationError
from . import CommandError
from .bench_stories import StoryBench, add_story_arguments, open_bench

START = part.Request()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_story_arguments(parser)
    for name, what in (("items", "held-out passages"), ("target", "tokens of each"), ("draws", "of each bound"),
                       ("texts", "long texts to write"), ("tokens", "of each long text"),
                       ("window", "words of a window"), ("batch", "texts at once")):  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=getattr(START, name), metavar="N",
                            help=f"{what} (%(default)s)")  # fmt: skip
    for name, what in (("lengths", "tokens before a passage"), ("distances", "tokens between a name and its place")):
        parser.add_argument(f"--{name}", type=int, nargs="+", default=list(getattr(START, name)), metavar="N",
                            help=f"{what} (%(default)s)")  # fmt: skip


def run(args: argparse.Namespace, progress: Progress) -> Result:
    try:
        request = part.Request(args.items, args.target, tuple(args.lengths), args.draws, args.texts, args.tokens,
                               args.window, tuple(args.distances), args.seed, args.batch)  # fmt: skip
        with open_bench(args, "long", request, progress) as bench:
            return _measure(bench, request)
    except EvaluationError as error:
        raise CommandError(str(error)) from error


def _measure(bench: StoryBench, request: part.Request) -> Result:
    models = (bench.model, bench.baseline)
    chosen = part.openings(bench.stories, request.texts, request.seed)
    names = [name for _, name, _ in chosen]
    texts = part.long_texts(*models, chosen, request, bench.measuring)
    recall = part.recall_table(part.recall(*models, bench.stories, request, bench.measuring))
    costs = part.cost_table(part.costs(*models, request, bench.measuring))
    context, chart = part.context_table(part.contexts(*models, bench.stories, request, bench.measuring), request.target)
    drift = part.drift_table(texts, names, request.window)
    return bench.result(
        "Long context",
        request,
        tables=[context, drift, recall, costs],
        charts=[chart, *part.drift_charts(texts, names, request.window)],
        findings=_findings(context, drift, recall),
    )


def _findings(context: Table, drift: Table, recall: Table) -> list[str]:
    cola, transformer, real = drift.rows
    near, far = recall.rows[0], recall.rows[-1]
    return [
        f"Of the same passages the Cola-DLM needs at most {_by_length(context.rows)}.",
        f"In long texts the name of the first sentence comes back in {figure_of(cola[2])} of the Cola-DLM's texts, "
        f"{figure_of(transformer[2])} of the transformer's and {figure_of(real[2])} of real ones.",
        f"Asked for a name {near[0]} tokens after it was given the Cola-DLM says it {figure_of(near[1])} of the time, "
        f"{far[0]} tokens after it {figure_of(far[1])}.",
    ]


def _by_length(rows: Sequence[Sequence[Cell]]) -> str:
    """The figures after the fewest tokens, the number where it is best and the most, each said once."""
    places = range(len(rows))
    best = min(places, key=lambda i: row[1].value if isinstance((row := rows[i])[1], Interval) else math.inf)
    parts = []
    for place in sorted({0, best, len(rows) - 1}):
        length, nats = rows[place][:2]
        unit, of = ("", "") if place else (" nats a token", " tokens")
        parts.append(f"{figure_of(nats)}{unit} after {length}{of}" + (", where it is best" if place == best else ""))
    if len(parts) == 1:
        return parts[0].removesuffix(", where it is best")
    return ", ".join(parts[:-1]) + (", and " if best < len(rows) - 1 else " and ") + parts[-1]

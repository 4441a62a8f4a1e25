"""`bench long`: what context gives, what becomes of long texts, a name over a distance, and what length costs."""

from __future__ import annotations

import argparse

from ..evaluate.bench import long_context as part
from ..evaluate.bench.measuring import Progress
from ..evaluate.bench.results import Result
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
    )

"""`bench strengths`: holes, early drafts, directions and words that must stay, beside the transformer."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..evaluate.bench.measuring import Progress
from ..evaluate.bench.results import Result
from ..evaluate.bench.strengths import directions, drafts, holes, passages, pins, verdicts
from ..evaluate.judge import Judge
from ..evaluate.stories import EvaluationError, excerpts
from . import CommandError
from .bench_stories import StoryBench, add_story_arguments, open_bench

START = passages.Request()
OPTIONS = (
    ("holes", "of one word and of several, each"), ("span", "words of the longer holes"),
    ("candidates", "of the Cola-DLM where the best of several is taken"),
    ("guesses", "of the transformer there"), ("prompts", "first sentences to write drafts after"),
    ("tokens", "of each draft"), ("edits", "of each sentence that a direction turns"),
    ("passages", "with words that must stay"), ("stretch", "tokens of each"), ("batch", "texts at once"),
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_story_arguments(parser)
    for name, what in OPTIONS:
        parser.add_argument(f"--{name}", type=int, default=getattr(START, name), metavar="N",
                            help=f"{what} (%(default)s)")  # fmt: skip
    parser.add_argument("--judge", type=Path, metavar="PATH", help="a causal language model: folder or .gguf file")


def run(args: argparse.Namespace, progress: Progress) -> Result:
    try:
        request = passages.Request(**{name: getattr(args, name) for name, _ in OPTIONS}, seed=args.seed)
        judge = None if args.judge is None else Judge.from_pretrained(args.judge)
        with open_bench(args, "strengths", request, progress) as bench:
            readers: dict[str, verdicts.Reader] = {"the transformer": bench.baseline}
            if judge is not None:
                readers[judge.name.removesuffix(".gguf")] = judge
            return _measure(bench, request, {name: verdicts.Remembered(reader, name, bench.measuring)
                                             for name, reader in readers.items()})  # fmt: skip
    except EvaluationError as error:
        raise CommandError(str(error)) from error


def _measure(bench: StoryBench, request: passages.Request, readers: verdicts.Readers) -> Result:
    model, baseline, measuring = bench.model, bench.baseline, bench.measuring
    kinds = {}
    for kind, span in (("a word", 1), (f"{request.span} words", request.span)):
        drawn = passages.holes(model, baseline, bench.stories, request.holes, span, request.seed)
        kinds[kind] = drawn, holes.fill_holes(model, baseline, kind, drawn, request, measuring)
    real = excerpts(bench.stories, baseline.tokenizer, request.prompts, request.tokens, True,
                    baseline.network.config.max_tokens, request.seed)  # fmt: skip
    prompts = [excerpt.prompt for excerpt in real]
    stands = drafts.all_standing(model, prompts, request, measuring)
    texts = drafts.texts(model, baseline, prompts, request, measuring)
    turned = directions.turn_all(model, baseline, request, measuring)
    stretches = passages.pinned(model, baseline, bench.stories, request.passages, request.stretch, request.seed)
    around = pins.write_around(model, baseline, stretches, request, measuring)
    won = [*holes.hole_verdicts(model, kinds, readers), *drafts.draft_verdicts(stands, texts, prompts, readers),
           *directions.direction_verdicts(turned, readers),
           *pins.pin_verdicts(model, stretches, around, readers)]  # fmt: skip
    passes = model.defaults.steps * (1 if model.defaults.guidance == 1 else 2)
    words, ways = kinds["a word"]
    return bench.result(
        "Where diffusion could win: holes, drafts, directions, words that must stay",
        request,
        tables=[verdicts.verdict_table(won), holes.hole_table(model, kinds, request, readers),
                drafts.standing_table(stands), drafts.draft_table(texts, prompts, model, request.tokens, readers),
                directions.direction_table(turned, readers),
                pins.pin_table(model, stretches, around, request, readers)],
        charts=[holes.place_chart(words, ways, model.block_size, request),
                drafts.standing_chart(stands, model.block_size, passes),
                directions.direction_chart(turned, readers)],
        measured=[holes.block_finding(model, kinds)],
    )  # fmt: skip

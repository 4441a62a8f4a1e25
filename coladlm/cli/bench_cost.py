"""`bench cost`: what each setting of the sampler costs and what it gives, beside the transformer's temperatures."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from ..baseline.baseline import BaselineSettings
from ..evaluate.bench import cost as part
from ..evaluate.bench.measuring import Progress
from ..evaluate.bench.results import Result
from ..evaluate.bench.turns import baseline_writer, in_turn, model_writer
from ..evaluate.judge import Judge
from ..evaluate.stories import EvaluationError, excerpts
from ..settings import SamplerSettings
from . import CommandError
from .bench_stories import StoryBench, add_story_arguments, open_bench

START = part.Request()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_story_arguments(parser)
    for name, what in (("prompts", "first sentences of held-out stories"), ("max-new-tokens", "after each of them"),
                       ("batch", "texts at once"), ("alone", "texts one by one")):  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=getattr(START, name.replace("-", "_")), metavar="N",
                            help=f"{what} (%(default)s)")  # fmt: skip
    parser.add_argument("--block-size", type=int, nargs="+", metavar="N",
                        help="sizes of blocks to compare, too (none)")  # fmt: skip
    parser.add_argument("--judge", type=Path, metavar="PATH", help="a causal language model: folder or .gguf file")


def run(args: argparse.Namespace, progress: Progress) -> Result:
    try:
        request = part.Request(args.prompts, args.max_new_tokens, args.batch, args.alone, args.seed)
        judge = None if args.judge is None else Judge.from_pretrained(args.judge)
        with open_bench(args, "cost", request, progress) as bench:
            return _measure(bench, request, judge, args.block_size or ())
    except EvaluationError as error:
        raise CommandError(str(error)) from error


def _measure(bench: StoryBench, request: part.Request, judge: Judge | None, block_sizes: Sequence[int]) -> Result:
    model, baseline, measuring = bench.model, bench.baseline, bench.measuring
    real = excerpts(bench.stories, baseline.tokenizer, request.prompts, request.max_new_tokens, True,
                    baseline.network.config.max_tokens, request.seed)  # fmt: skip
    prompts = [excerpt.prompt for excerpt in real]
    own = dataclasses.replace(model.defaults, max_new_tokens=request.max_new_tokens, seed=request.seed)
    if block_sizes:  # by its number, so that the model's own size is known among them
        own = dataclasses.replace(own, block_size=model.block_size)
    tried = part.settings_to_try(own, block_sizes)
    for settings in tried.values():
        model.in_blocks_of(settings)  # a size that does not fit is refused before the first text
    every = {"real text": part.real_texts(real), **_texts(bench, request, prompts, tried)}
    counts = measuring.item("settled", lambda: part.settled_blocks(model, prompts, own, request.batch))
    limit = part.count_to_look_at(list(every.values()))
    found = {name: part.figures(texts, every[part.OWN], prompts, baseline, judge, limit)
             for name, texts in every.items()}  # fmt: skip
    names = {0: part.OWN, **{k: f"stop when settled {k}" for k in part.PATIENCES}}
    writers = {name: model_writer(model, dataclasses.replace(own, stop_when_settled=k)) for k, name in names.items()}
    alone = in_turn(writers, prompts[: request.alone], 1, measuring, "alone")
    settled = part.settled_table(counts, own.steps, {k: every[name] for k, name in names.items()},
                                 {k: alone[name] for k, name in names.items()}, request.batch)  # fmt: skip
    judged = judge is not None
    return bench.result(
        "Quality against cost",
        request,
        tables=[part.cost_table(found, judged), settled],
        charts=part.curves(found, own, judged, block_sizes),
        measured=[] if judge is None else [f"The judge is {judge.name}."],
    )


def _texts(
    bench: StoryBench, request: part.Request, prompts: list[str], tried: dict[str, SamplerSettings]
) -> dict[str, part.Texts]:
    """What both models wrote, by the name of the setting."""
    model, baseline = bench.model, bench.baseline
    writers = {name: model_writer(model, settings) for name, settings in tried.items()}
    for temperature in part.TEMPERATURES:
        settings = BaselineSettings(request.max_new_tokens, temperature, seed=request.seed)
        writers[f"transformer, temperature {temperature:g}"] = baseline_writer(baseline, settings)
    short = dataclasses.replace(tried[part.OWN], max_new_tokens=4)
    first = (model_writer(model, short), baseline_writer(baseline, BaselineSettings(4)))
    for writer in first:  # not timed: the first texts of each take longer
        list(writer(prompts[: request.batch], list(range(min(request.batch, len(prompts))))))
    return in_turn(writers, prompts, request.batch, bench.measuring, "texts")

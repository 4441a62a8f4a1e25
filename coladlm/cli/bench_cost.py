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
from ..evaluate.judge import Judge
from ..evaluate.stories import EvaluationError, Excerpt, excerpts
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
    every = _texts(bench, request, real, tried)
    counts = measuring.item("settled", lambda: part.settled_blocks(model, prompts, own, request.batch))
    limit = part.count_to_look_at(list(every.values()))
    found = {name: part.figures(texts, prompts, baseline, judge, limit) for name, texts in every.items()}
    names = {0: part.OWN, **{k: f"stop when settled {k}" for k in part.PATIENCES}}
    alone = {k: part.take(measuring, f"alone, {k}", lambda k=k: part.written(
        model, prompts[: request.alone], dataclasses.replace(own, stop_when_settled=k), 1)) for k in names}  # fmt: skip
    settled = part.settled_table(counts, own.steps, {k: every[name] for k, name in names.items()}, alone, request.batch)
    judged = judge is not None
    return bench.result(
        "Quality against cost",
        request,
        tables=[part.cost_table(found, judged), settled],
        charts=part.curves(found, own, judged, block_sizes),
        measured=[] if judge is None else [f"The judge is {judge.name}."],
    )


def _texts(
    bench: StoryBench, request: part.Request, real: list[Excerpt], tried: dict[str, SamplerSettings]
) -> dict[str, part.Texts]:
    """What everybody wrote, by the name of the setting."""
    model, baseline, measuring = bench.model, bench.baseline, bench.measuring
    prompts, every = [excerpt.prompt for excerpt in real], {"real text": part.real_texts(real)}
    part.written(model, prompts[:1], dataclasses.replace(tried[part.OWN], max_new_tokens=4), 1)  # not timed: the first
    for number, (name, settings) in enumerate(tried.items()):
        make = lambda s=settings: part.written(model, prompts, s, request.batch)  # noqa: E731
        every[name] = part.take(measuring, name, make)
        bench.measuring.progress("settings", number + 1, len(tried))
    for temperature in part.TEMPERATURES:
        name = f"transformer, temperature {temperature:g}"
        settings = BaselineSettings(request.max_new_tokens, temperature, seed=request.seed)
        make = lambda s=settings: part.written_by_transformer(baseline, prompts, s, request.batch)  # noqa: E731
        every[name] = part.take(measuring, name, make)
    return every

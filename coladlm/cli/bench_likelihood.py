"""`bench likelihood`: bounds on held-out stories beside a transformer's exact value, and BrierLM."""

from __future__ import annotations

import argparse
import dataclasses

from ..baseline.baseline import Baseline, BaselineSettings
from ..evaluate.bench import likelihood as part
from ..evaluate.bench.measuring import Progress
from ..evaluate.bench.results import Result
from ..evaluate.stories import EvaluationError
from ..evaluate.text_likelihood import BoundSettings
from ..model import ColaDLM
from ..settings import TOKEN_SETTINGS, SamplerSettings
from . import CommandError
from .bench_stories import StoryBench, add_story_arguments, open_bench

START = part.Request()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_story_arguments(parser)
    for name, what in (("stories", "held-out stories to bound"), ("draws", "of each bound"),
                       ("contexts", "places for BrierLM"), ("samples", "after each of them"),
                       ("batch", "samples at once")):  # fmt: skip
        parser.add_argument(
            f"--{name}", type=int, default=getattr(START, name), metavar="N", help=f"{what} (%(default)s)"
        )
    parser.add_argument("--guidances", type=float, nargs="*", default=list(START.guidances), metavar="X",
                        help="to bound and sample with, besides 1 (%(default)s)")  # fmt: skip


def run(args: argparse.Namespace, progress: Progress) -> Result:
    try:
        request = part.Request(args.stories, args.draws, args.contexts, args.samples, tuple(args.guidances), args.seed,
                               args.batch)  # fmt: skip
        with open_bench(args, "likelihood", request, progress) as bench:
            return _measure(bench, request)
    except EvaluationError as error:
        raise CommandError(str(error)) from error


def _measure(bench: StoryBench, request: part.Request) -> Result:
    model, baseline, measuring = bench.model, bench.baseline, bench.measuring
    stories = part.chosen_stories(model, baseline, bench.stories, request.stories)
    words = [len(story.split()) for story in stories]
    exact = part.exact(baseline, stories, model.block_size)
    ways = {name: part.bounds(model, stories, settings, measuring) for name, settings in _ways(request).items()}
    places = part.places(model, baseline, bench.stories, request.contexts, request.seed)
    scores = {name: part.brier_of(name, sampler, places, request, measuring)
              for name, sampler in _samplers(model, baseline, request).items()}  # fmt: skip
    plain = {name: ways[name] for name in list(ways)[:2]}
    likely, brier = part.likelihood_table(ways, exact, words), part.brier_table(scores)
    return bench.result(
        "How likely real text is to the model",
        request,
        tables=[likely, brier],
        charts=[part.level_chart(plain), part.place_chart({next(iter(plain)): next(iter(plain.values()))}, exact[2])],
    )


def _ways(request: part.Request) -> dict[str, BoundSettings]:
    start = BoundSettings(draws=request.draws, seed=request.seed)
    found = {"Cola-DLM, a token after another": start,
             "Cola-DLM, a block at once": dataclasses.replace(start, order="blocks")}  # fmt: skip
    for guidance in request.guidances:
        found[f"Cola-DLM, a token after another, guidance {guidance:g}"] = dataclasses.replace(start, guidance=guidance)
    return found


def _samplers(model: ColaDLM, baseline: Baseline, request: part.Request) -> dict[str, part.Sampler]:
    """The model as it ships, and with all noise fresh at each guidance; the transformer at two temperatures."""
    own = dataclasses.replace(model.defaults, seed=request.seed, stop_at_end=True)
    found = {"Cola-DLM, as it ships": part.model_sampler(model, own)}
    for guidance in (1.0, *request.guidances):
        found[f"Cola-DLM, guidance {guidance:g}, all noise fresh"] = part.model_sampler(model, _fresh(own, guidance))
    for temperature in (1.0, 0.8):
        settings = BaselineSettings(temperature=temperature, top_p=1.0, seed=request.seed)
        found[f"transformer, temperature {temperature:g}"] = part.baseline_sampler(baseline, settings)
    return found


def _fresh(own: SamplerSettings, guidance: float) -> SamplerSettings:
    """As the bound has it, but for the number of steps: one token after another, all noise renewed."""
    return dataclasses.replace(own, guidance=guidance, stochasticity=1.0, stagger=1.0, steps=max(32, own.steps),
                               temperature=1.0, top_k=0, top_p=1.0, repetition_penalty=1.0,
                               no_repeat_ngram_size=0, **TOKEN_SETTINGS)  # fmt: skip

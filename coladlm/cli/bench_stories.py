"""What parts of the bench share that measure on held-out stories: options, models, the log, and the result's frame."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..baseline.baseline import Baseline
from ..evaluate.bench.findings.telling import told
from ..evaluate.bench.item_log import ItemLog
from ..evaluate.bench.machine import machine_facts
from ..evaluate.bench.measuring import Measuring, Progress
from ..evaluate.bench.results import Chart, Result, Table
from ..model import ColaDLM
from ..train.corpus import CorpusError, read_stories
from . import PROGRAM, CommandError
from .options import add_model_arguments, load_model

UNNAMED = ("json", "picture", "log", "part", "model", "revision", "device", "dtype", "transformer", "judge")


def add_story_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --data, --seed, --transformer and the options of the model."""
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="a folder with valid.jsonl")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn (%(default)s)")
    parser.add_argument("--transformer", type=Path, metavar="FOLDER", help="that stands beside it (the bundled)")
    add_model_arguments(parser)


@dataclasses.dataclass(frozen=True)
class StoryBench:
    """Both models, the held-out stories, and what keeps the items."""

    part: str
    command: str
    model: ColaDLM
    baseline: Baseline
    stories: list[str]
    measuring: Measuring

    def result(self, title: str, request: Any, tables: Sequence[Table], charts: Sequence[Chart],
               measured: Sequence[str] = ()) -> Result:  # fmt: skip
        """The result with what made it, and what its tables tell. measured: findings that rest on no table."""
        model = {"name": self.model.name, "fingerprint": self.model.fingerprint, "parameters": self.model.parameters,
                 "transformer_parameters": self.baseline.parameters}  # fmt: skip
        return told(Result(self.part, title, self.command, model, machine_facts(self.model.device),
                           round(self.measuring.seconds, 1), measured, tables, charts, plain(request)))  # fmt: skip


def plain(request: Any) -> dict[str, Any]:
    """A request as plain JSON."""
    return {name: list(value) if isinstance(value, tuple) else value
            for name, value in dataclasses.asdict(request).items()}  # fmt: skip


@contextlib.contextmanager
def open_bench(args: argparse.Namespace, part: str, request: Any, progress: Progress) -> Iterator[StoryBench]:
    """Loads the models and opens the log. Raises CommandError, ResultError."""
    try:
        stories = read_stories(args.data / "valid.jsonl")
    except CorpusError as error:
        raise CommandError(str(error)) from error
    model = load_model(args)
    baseline = Baseline.from_pretrained(args.transformer, model.device)
    counts = getattr(request, "COUNTS", ())  # how many items there are decides none of them
    deciding = {name: value for name, value in plain(request).items() if name not in counts}
    head = {"part": part, "model": model.fingerprint, "transformer": baseline.parameters, "request": deciding}
    with ItemLog(args.log, head) as log:
        yield StoryBench(part, command_of(args, part), model, baseline, stories, Measuring(log, progress))


def command_of(args: argparse.Namespace, part: str) -> str:
    """The line that makes this result anew. The folder of the data is DIR, that of another model MODEL."""
    words = [PROGRAM, "bench", part, "--data", "DIR"]
    words += [word for name in ("model", "transformer", "judge") if getattr(args, name, None) is not None
              for word in (f"--{name}", name.upper())]  # fmt: skip
    for name, value in vars(args).items():
        if name in UNNAMED or name == "data" or value is None or value is False:
            continue
        values = list(map(str, value)) if isinstance(value, list) else [] if value is True else [str(value)]
        words += [f"--{name.replace('_', '-')}", *map(shlex.quote, values)]
    return " ".join(words)

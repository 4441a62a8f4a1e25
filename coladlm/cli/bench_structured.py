"""`bench structured`: tasks with strict rules, for a pair of tiny models that were trained on them alone."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from ..assets import ASSETS
from ..evaluate.bench.measuring import Progress
from ..evaluate.bench.results import Result, ResultError
from ..evaluate.bench.structured.answers import Request, ask
from ..evaluate.bench.structured.report import report
from ..evaluate.bench.structured.writers import Pair
from ..structured.generators import TASKS
from ..train.structured import FACTS
from .options import add_settings_arguments, settings_from

SHIPPED = ASSETS / "bench" / "structured"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--models",
        type=Path,
        metavar="FOLDER",
        help="a pair that `python -m coladlm.train.structured` wrote (the one that ships)",
    )
    parser.add_argument("--items", type=int, default=Request.items, metavar="N",
                        help="instances of each task and size (%(default)s)")  # fmt: skip
    parser.add_argument("--tasks", nargs="+", choices=tuple(TASKS), default=tuple(TASKS), metavar="TASK",
                        help=f"some of {', '.join(TASKS)} (all)")  # fmt: skip
    parser.add_argument("--longer", action=argparse.BooleanOptionalAction, default=True,
                        help="brackets of lengths beyond those of the training, too (yes)")  # fmt: skip
    add_settings_arguments(parser)


def run(args: argparse.Namespace, progress: Progress) -> Result:
    """Raises ResultError, SettingsError."""
    if args.items < 1:
        raise ResultError(f"--items is {args.items}, expected 1 or more")
    torch.set_num_threads(1)  # the models are tiny: more threads only wait for each other
    folder = args.models or SHIPPED
    pair = Pair.load(folder, lambda own: settings_from(args, own))
    request = Request(tuple(args.tasks), args.items, args.longer, pair.settings.seed)
    answers = ask(pair, request, args.log, progress)
    return report(pair, request, answers, _command(args, pair), _training(folder / FACTS))


def _command(args: argparse.Namespace, pair: Pair) -> str:
    """The line that makes the result anew."""
    words = ["python -m coladlm bench structured", "--models DIR" if args.models else ""]
    words += [f"--items {args.items}" if args.items != Request.items else ""]
    words += ["--tasks " + " ".join(args.tasks) if tuple(args.tasks) != tuple(TASKS) else ""]
    words += ["" if args.longer else "--no-longer"]
    own, given = pair.cola.defaults.to_dict(), pair.settings.to_dict()
    for name, value in given.items():
        if value != own[name]:
            flag = name.replace("_", "-")
            if isinstance(value, bool):
                words.append(f"--{flag}" if value else f"--no-{flag}")
            else:
                words.append(f"--{flag} {' '.join(map(str, value)) if isinstance(value, list) else value}")
    return " ".join(word for word in words if word)


def _training(file: Path) -> dict[str, Any]:
    """What the pair's folder says of its training, nothing where it says nothing. Raises ResultError."""
    if not file.is_file():
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ResultError(f"{file}: not JSON ({error}), expected what the training wrote") from error
    if not isinstance(found, dict) or not all(isinstance(facts, dict) for facts in found.values()):
        raise ResultError(f"{file}: expected an object of stages with their steps, tokens and minutes")
    return found

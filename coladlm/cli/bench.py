"""`bench`: what the model does well and at what cost, each figure with its confidence interval."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from types import ModuleType

from ..evaluate.bench.picture import ENDINGS, draw
from ..evaluate.bench.results import Result, ResultError, lines_of
from ..extras import MissingExtraError, require
from . import STOPPED, CommandError
from .options import check_output
from .terminal_progress import TerminalProgress

# Each module has add_arguments(parser) and run(args, progress) -> Result, which raises ResultError for what the user
# did wrong, and gives None where another process tells what was found; args.log is the file of its finished items, if
# any. Name: module, one line of help.
PARTS: dict[str, tuple[str, str]] = {
    "tasks": ("coladlm.cli.bench_tasks", "answer the eight tasks of the published evaluation"),
    "structured": ("coladlm.cli.bench_structured", "tasks with strict rules, for a pair of tiny models"),
    "long": ("coladlm.cli.bench_long", "what context gives, long texts, recall over a distance, time and memory"),
    "likelihood": ("coladlm.cli.bench_likelihood", "how likely real text is, as a bound and from samples"),
    "strengths": ("coladlm.cli.bench_strengths", "holes, drafts, directions, pinned words: where diffusion could win"),
    "cost": ("coladlm.cli.bench_cost", "quality, variety and seconds by the settings of the sampler"),
}
EXAMPLES = """\
examples:
  python -m coladlm bench PART --help
  python -m coladlm bench PART --json result.json --picture result.png --log items.jsonl"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog, parser.formatter_class = EXAMPLES, argparse.RawDescriptionHelpFormatter
    parts = parser.add_subparsers(metavar="PART", title="parts", dest="part", required=True)
    for name, (_, help_) in PARTS.items():
        part = parts.add_parser(name, help=help_, description=help_[0].upper() + help_[1:] + ".")
        part.set_defaults(parser=part)
        _module(name).add_arguments(part)
        group = part.add_argument_group("output")
        group.add_argument("--json", type=Path, metavar="FILE.json", help="save the tables and curves")
        group.add_argument("--picture", type=Path, metavar="FILE.png", help="draw the curves (needs the extra `plots`)")
        group.add_argument("--log", type=Path, metavar="FILE.jsonl",
                           help="keep finished items here: the same command goes on where it was stopped")  # fmt: skip


def _module(name: str) -> ModuleType:
    return importlib.import_module(PARTS[name][0])


def run(args: argparse.Namespace) -> int:
    check_output(args.json)
    check_output(args.log, replaced=False)
    check_output(args.picture, ENDINGS)
    progress = TerminalProgress()
    try:
        if args.picture:
            require("matplotlib", "The picture of a bench")
        result: Result | None = _module(args.part).run(args, progress)
    except (ResultError, MissingExtraError) as error:
        raise CommandError(str(error)) from error
    except KeyboardInterrupt:
        progress.clear()
        print(_how_to_go_on(args.log), file=sys.stderr)
        return STOPPED
    finally:
        progress.clear()
    if result is None:
        return 0
    print("\n".join(lines_of(result)))
    if args.json:
        result.save(args.json)
    if args.picture:
        try:
            draw(result, args.picture)
        except ValueError as error:
            raise CommandError(str(error)) from error
    return 0


def _how_to_go_on(log: Path | None) -> str:
    if log is None:
        return "Stopped; nothing was kept. With --log FILE.jsonl the same command goes on where it was stopped."
    if not log.exists():
        return "Stopped before anything was finished."
    return f"Stopped; finished items are in {log}, and the same command goes on from there."

"""`bench tasks`: the eight tasks of the published evaluation."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..evaluate.bench.item_log import ItemLog, merged
from ..evaluate.bench.machine import machine_facts
from ..evaluate.bench.measuring import Progress
from ..evaluate.bench.results import Result, ResultError
from ..evaluate.bench.tasks.answering import PUBLISHED, Shard, Tasks, answer, head, log_key
from ..evaluate.bench.tasks.data import TASKS, digest, read_tasks
from ..evaluate.bench.tasks.ranks import Ranks
from ..evaluate.bench.tasks.report import Run, result, score_logged, score_shipped
from .options import add_model_arguments, load_model

EXAMPLES = """\
examples:
  python -m coladlm bench tasks --data DIR
  python -m coladlm bench tasks --data DIR --run --log items.jsonl
  python -m coladlm bench tasks --data DIR --run --shard 1/2 --log part1.jsonl   # and 2/2 elsewhere
  python -m coladlm bench tasks --data DIR --merge part1.jsonl part2.jsonl
  torchrun --standalone --nproc-per-node 2 -m -- coladlm bench tasks --data DIR --run --log items.jsonl

DIR holds lambada.jsonl.xz, mmlu.jsonl.xz and so on, or the same as .jsonl, in the form in which
ByteDance-Seed/Cola-DLM publishes them (eval_output/tasks_default)."""
# What changes nothing where no model answers, as it is left out.
_ONLY_OF_A_RUN = {"limit": None, "batch": 16, "seed": PUBLISHED.seed, "own_settings": False, "log": None, "model": None,
                  "revision": None, "device": "auto", "dtype": "auto"}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog, parser.formatter_class = EXAMPLES, argparse.RawDescriptionHelpFormatter
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the folder of the tasks")
    parser.add_argument("--tasks", nargs="+", choices=tuple(TASKS), default=tuple(TASKS), metavar="NAME",
                        help=f"some of {', '.join(TASKS)} (all)")  # fmt: skip
    about = "Without --run or --merge the answers in the files are scored, and nothing else."
    group = parser.add_argument_group("running a model", about)
    group.add_argument("--run", action="store_true", help="let a model answer, as the published one did")
    group.add_argument(
        "--limit",
        type=int,
        metavar="N",
        help="the first N questions of each task (all; with --merge those that the logs have)",
    )
    group.add_argument(
        "--batch", type=int, default=_ONLY_OF_A_RUN["batch"], metavar="N", help="questions at once (%(default)s)"
    )
    group.add_argument("--seed", type=int, default=PUBLISHED.seed, metavar="N", help="of the noise (%(default)s)")
    group.add_argument("--own-settings", action="store_true",
                       help="sample as the checkpoint's own settings have it, greedily; else as published: 16 steps, "
                       "guidance 7")  # fmt: skip
    group.add_argument("--shard", metavar="I/N", help="part I of N, for a process of several; needs --log")
    group.add_argument("--merge", type=Path, nargs="+", metavar="LOG", help="join what such processes have logged")
    add_model_arguments(parser)


def run(args: argparse.Namespace, progress: Progress) -> Result | None:
    """None from a process that another one speaks for. Raises ResultError."""
    shard, ranks = _shard(args), _ranks(args)
    _check_that_a_model_runs(args)
    tasks = read_tasks(args.data, args.tasks)
    if args.merge and args.limit is None:
        args.limit = _limit_of(args.merge, tasks)
    shipped, asked = score_shipped(tasks), {name: items[: args.limit] for name, items in tasks.items()}
    if ranks is not None:
        found = _run_over_ranks(args, tasks, asked, ranks, progress)
        if found is None:
            return None
        found, machine = found
    elif args.run:
        found, machine = _run(args, tasks, asked, shard, progress)
    elif args.merge:
        found, machine = _merge(args.merge, args.data, tasks, asked)
    else:
        found, machine = None, machine_facts()
    return result(_command(args), shipped, found, machine)


def _shard(args: argparse.Namespace) -> Shard:
    """Checks the options."""
    if args.run and args.merge:
        raise ResultError("--run and --merge are given, expected one of them: run the shards first, then merge")
    for name in ("limit", "batch"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ResultError(f"--{name} is {value}, expected at least 1")
    if args.shard is None:
        return Shard()
    if not args.run or args.log is None:
        raise ResultError("--shard needs --run and --log FILE: --merge reads the logs of all shards")
    parts = args.shard.split("/")
    if len(parts) != 2 or not all(part.isdecimal() for part in parts):
        raise ResultError(f"--shard is {args.shard}, expected I/N, as in 1/4")
    return Shard(int(parts[0]), int(parts[1]))


def _ranks(args: argparse.Namespace) -> Ranks | None:
    """The processes of torchrun, if it has started this one. Checks that the options let them share the work."""
    ranks = Ranks.of_environment()
    if ranks is None:
        return None
    if not args.run or args.log is None:
        raise ResultError("torchrun has started several processes, expected --run and --log FILE: each keeps its "
                          "answers in a log of its own beside FILE, and the first merges them")  # fmt: skip
    if args.shard is not None:
        raise ResultError(f"--shard is {args.shard} under torchrun, expected one of the two: its processes are shards")
    return ranks


def _check_that_a_model_runs(args: argparse.Namespace) -> None:
    """Refuses options that would change nothing."""
    if not args.run and not args.merge:
        for name, start in _ONLY_OF_A_RUN.items():
            if getattr(args, name) != start:
                flag = name.replace("_", "-")
                raise ResultError(
                    f"--{flag} is given without --run, expected both, or neither to score the files whole"
                )


def _run_over_ranks(args: argparse.Namespace, tasks: Tasks, asked: Tasks, ranks: Ranks,
                    progress: Progress) -> tuple[Run, dict[str, Any]] | None:  # fmt: skip
    """What all ranks have found, for the first; None for the others. All see the folder of the logs."""
    ranks.take_device()
    own = argparse.Namespace(**{**vars(args), "log": ranks.log(args.log)})
    _run(own, tasks, asked, ranks.shard, progress if ranks.first else lambda what, done, total: None)
    ranks.wait_for_all()
    return _merge(ranks.logs(args.log), args.data, tasks, asked) if ranks.first else None


def _run(args: argparse.Namespace, tasks: Tasks, asked: Tasks, shard: Shard,
         progress: Progress) -> tuple[Run, dict[str, Any]]:  # fmt: skip
    model = load_model(args)
    base = model.defaults if args.own_settings else PUBLISHED
    same = {name: getattr(PUBLISHED, name) for name in ("max_new_tokens", "temperature", "whole_sentences")}
    settings = dataclasses.replace(base, **same, seed=args.seed)
    about = head(model, tasks, settings)
    with ItemLog(args.log, about) as log:
        answer(model, asked, log, settings, shard, args.batch, progress)
        scored, seconds = score_logged(asked, log.items, shard)
    return Run(about["model"], scored, seconds, settings.to_dict(), shard), machine_facts(model.device)


def _merge(logs: Sequence[Path], data: Path, tasks: Tasks, asked: Tasks) -> tuple[Run, dict[str, Any]]:
    about, items = merged(logs)
    questions = {name: digest(items) for name, items in tasks.items()}
    kept = about.get("questions")
    if not isinstance(kept, dict) or any(kept.get(name) != value for name, value in questions.items()):
        raise ResultError(f"the logs are not of the questions in {data}, expected logs of the same files")
    scored, seconds = score_logged(asked, items)
    return Run(about["model"], scored, seconds, about["settings"]), about["machine"]


def _limit_of(logs: Sequence[Path], tasks: Tasks) -> int | None:
    """How many questions of each task the runs that wrote these logs had; None for all. Raises ResultError.

    No gap remains unseen: every answer up to the last one that is there is wanted.
    """
    _, items = merged(logs)
    wanted = {log_key(name, number): number for name, own in tasks.items() for number in range(len(own))}
    most = max((wanted[key] for key in items if key in wanted), default=-1) + 1
    return None if most in (0, max(map(len, tasks.values()))) else most


def _command(args: argparse.Namespace) -> str:
    """The line that makes the result anew, in one process."""
    words = ["python -m coladlm bench tasks --data DIR"]
    if len(args.tasks) < len(TASKS):
        words.append("--tasks " + " ".join(args.tasks))
    if args.run or args.merge:
        words.append("--run")
        words += [f"--{name} {value}" for name, value in (("limit", args.limit), ("seed", args.seed or None)) if value]
        words += ["--model PLACE"] if args.model else []
        words += ["--own-settings"] if args.own_settings else []
        words += [f"--shard {args.shard} --log FILE"] if args.shard else []
    return " ".join(words)

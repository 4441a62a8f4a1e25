"""`sweep`: sampler settings against each other on the same prompts, as a table and a picture."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from ..baseline.baseline import Baseline
from ..evaluate import sweep as sweeping
from ..evaluate.bench.picture import ENDINGS
from ..evaluate.judge import Judge
from ..evaluate.stories import EvaluationError, Excerpt, excerpts, excerpts_of_words
from ..extras import MissingExtraError, require
from ..paths import written_whole
from ..train.arguments import count
from ..train.corpus import CorpusError, read_stories
from . import STOPPED, CommandError
from .options import add_model_arguments, check_output, load_model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.formatter_class = sweeping.__doc__, argparse.RawDescriptionHelpFormatter
    default = " ".join(sweeping.DEFAULT)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="with valid.jsonl")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE.json", help="the table, to begin or to go on")
    parser.add_argument("--picture", type=Path, metavar="FILE.png")
    parser.add_argument("--vary", action="append", metavar="NAME=VALUE,VALUE", help=f"a setting ({default})")
    parser.add_argument("--prompts", type=count, default=32, metavar="N", help="first sentences (%(default)s)")
    parser.add_argument("--max-new-tokens", type=int, default=64, metavar="N", help="of each sample (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(%(default)s)")
    parser.add_argument("--batch", type=count, default=16, metavar="N", help="samples at once (%(default)s)")
    parser.add_argument("--baseline", type=Path, metavar="FOLDER", help="of the autoregressive baseline (the bundled)")
    parser.add_argument("--judge", type=Path, metavar="PATH", help="a causal language model: folder or .gguf file")
    parser.add_argument("--words", type=count, metavar="N", help="cut every text to N words, after --given words")
    parser.add_argument("--given", type=count, default=24, metavar="N", help="words of a prompt (%(default)s)")
    add_model_arguments(parser)


def run(args: argparse.Namespace) -> int:
    check_output(args.json)
    check_output(args.picture, ENDINGS)
    try:
        _sweep(args)
    except (CorpusError, EvaluationError, MissingExtraError) as error:
        raise CommandError(str(error)) from error
    except KeyboardInterrupt:
        print(f"Stopped; finished rows are in {args.json}, and the same command goes on from there.", file=sys.stderr)
        return STOPPED
    return 0


def _sweep(args: argparse.Namespace) -> None:
    if args.picture:
        require("matplotlib", "The picture of a sweep")  # before hours of sampling, not after them
    chosen = sweeping.combinations(args.vary or sweeping.DEFAULT)
    valid = read_stories(args.data / "valid.jsonl")
    model = load_model(args)
    baseline = Baseline.from_pretrained(args.baseline, args.device)
    base = dataclasses.replace(model.defaults, max_new_tokens=args.max_new_tokens, seed=args.seed)
    real = _real_texts(args, valid, baseline)
    judge = None if args.judge is None else Judge.from_pretrained(args.judge)
    known = _known(args.json)
    shown = len(known["rows"]) if known else 0
    for result in sweeping.sweep(model, baseline, real, base, chosen, known, args.batch, judge, args.words):
        for row in result["rows"][shown:]:
            print(row["settings"], sweeping.line_of(row), flush=True)
        shown = len(result["rows"])
        with written_whole(args.json) as partial:
            partial.write_text(json.dumps(result, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    if args.picture:
        sweeping.draw(result, args.picture)


def _known(file: Path) -> dict[str, Any] | None:
    """The table that an earlier sweep has begun, None where there is none. Raises EvaluationError."""
    if not file.is_file():
        return None
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise EvaluationError(f"{file}: not JSON ({error}), expected a table of a sweep or a new file") from error
    if not isinstance(known, dict) or not isinstance(known.get("rows"), list):
        raise EvaluationError(f"{file}: has no rows, expected a table of a sweep or a new file")
    return known


def _real_texts(args: argparse.Namespace, valid: list[Any], baseline: Baseline) -> list[Excerpt]:
    if args.words:
        return excerpts_of_words(valid, args.prompts, args.given, args.words, args.seed)
    return excerpts(valid, baseline.tokenizer, args.prompts, args.max_new_tokens, True,
                    baseline.network.config.max_tokens, args.seed)  # fmt: skip

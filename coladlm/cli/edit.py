"""`edit`: changes a span of a text."""

from __future__ import annotations

import argparse
import itertools
import sys

from ..latent import Edited
from ..latent.edit import token_span
from ..model import ColaDLM
from ..recipe import MAX_VARIATIONS
from . import CommandError
from .operation import add_operation_arguments, run_operation

EXAMPLES = """\
examples:
  python -m coladlm edit "The little dog ran home." --words "little dog" --candidates 4
  python -m coladlm edit "Tom was very happy." --start 3 --end 4 --method direction --direction happy-sad
  python -m coladlm edit "Tom was very happy." --words "very happy" --method renoise --strengths 0.3 0.5 0.7 0.9
  python -m coladlm edit "The cat sat." "A big bear ran." --method mix --start 0 --end 2 --other-end 3"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_operation_arguments(parser, "edit", EXAMPLES)
    parser.add_argument("--words", metavar="TEXT", help="the span by its words, in place of --start and --end")
    parser.add_argument("--candidates", type=int, default=1, metavar="N",
                        help=f"how many of each strength, ranked; up to {MAX_VARIATIONS} (%(default)s)")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    edited, status = run_operation(args, "edit", Edited, args.candidates, lambda model: _span(model, args))
    if edited is not None:
        print(f"best fit first (misfit, {edited.misfit_before:.3f} before):", file=sys.stderr)
        for strength, candidates in itertools.groupby(edited.candidates, lambda candidate: candidate.strength):
            ranks = ", ".join(f"{candidate.row + 1} ({candidate.misfit:.3f})" for candidate in candidates)
            print(f"strength {strength:g}: {ranks}", file=sys.stderr)
        for note in edited.notes:
            print(note, file=sys.stderr)
    return status


def _span(model: ColaDLM, args: argparse.Namespace) -> dict[str, int]:
    """The tokens that --words touches in the first text. Raises CommandError."""
    if args.words is None:
        return {}
    if args.option_start is not None or args.option_end is not None:
        raise CommandError("--words names a span, and so do --start and --end: expected one of the two")
    start = args.texts[0].find(args.words) if args.words else -1
    if start < 0:
        raise CommandError(f"--words is {args.words!r}, expected words that stand in the text")
    touched = token_span(model.tokenizer, args.texts[0], start, start + len(args.words))
    return {"start": touched[0], "end": touched[1]}

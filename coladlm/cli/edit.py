"""`edit`: changes a span of a text."""

from __future__ import annotations

import argparse
import sys

from ..latent import Edited
from ..recipe import MAX_VARIATIONS
from .operation import add_operation_arguments, run_operation

EXAMPLES = """\
examples:
  python -m coladlm edit "The little dog ran home." --start 1 --end 3 --candidates 4
  python -m coladlm edit "Tom was very happy." --start 3 --end 4 --method direction --direction happy-sad
  python -m coladlm edit "The cat sat." "A big bear ran." --method mix --start 0 --end 2 --other-end 3"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_operation_arguments(parser, "edit", EXAMPLES)
    parser.add_argument("--candidates", type=int, default=1, metavar="N",
                        help=f"how many, up to {MAX_VARIATIONS}; they are ranked (%(default)s)")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    edited, status = run_operation(args, "edit", Edited, args.candidates)
    if edited is not None:
        ranks = ", ".join(f"{candidate.row + 1} ({candidate.misfit:.3f})" for candidate in edited.candidates)
        print(f"best fit first (velocity error, {edited.misfit_before:.3f} before): {ranks}", file=sys.stderr)
        for note in edited.notes:
            print(note, file=sys.stderr)
    return status

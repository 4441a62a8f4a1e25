"""`fill`: fills the holes of a text."""

from __future__ import annotations

import argparse
import sys

from ..latent import Filled
from ..recipe import MAX_VARIATIONS
from .operation import add_operation_arguments, run_operation

EXAMPLES = """\
examples:
  python -m coladlm fill "The ___ ran to the ___."
  python -m coladlm fill "Lily was very ___ that day." --candidates 16 --longest 3"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_operation_arguments(parser, "fill", EXAMPLES)
    parser.add_argument("--candidates", type=int, default=8, metavar="N",
                        help=f"how many, up to {MAX_VARIATIONS}; they are ranked (%(default)s)")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    filled, status = run_operation(args, "fill", Filled, args.candidates)
    if filled is not None:
        ranks = ", ".join(f"{found.row + 1} ({found.misfit:.3f})" for found in filled.candidates)
        print(f"best fit first (misfit; equal texts once): {ranks}", file=sys.stderr)
    return status

"""`invert`: carries texts to their noise and back."""

from __future__ import annotations

import argparse
import sys

from ..latent import RoundTrips
from .operation import add_operation_arguments, run_operation

EXAMPLES = """\
examples:
  python -m coladlm invert "The cat sat on the mat."
  python -m coladlm invert "The cat sat on the mat." --iterations 0 --steps 64"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_operation_arguments(parser, "invert", EXAMPLES)


def run(args: argparse.Namespace) -> int:
    outcome, status = run_operation(args, "invert", RoundTrips)
    for number, trip in enumerate(outcome.trips if outcome is not None else (), 1):
        print(f"[{number}] {trip.restored} of {trip.tokens} tokens came back, latents off by {trip.latent_error:.3f} "
              f"rad, noise of size {trip.noise_size:.2f}", file=sys.stderr)  # fmt: skip
    return status

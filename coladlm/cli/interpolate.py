"""`interpolate`: walks from text to text."""

from __future__ import annotations

import argparse
import sys

from ..latent import Road
from .operation import add_operation_arguments, run_operation

EXAMPLES = """\
examples:
  python -m coladlm interpolate "The cat sat on the mat." "The dog ran to the park."
  python -m coladlm interpolate "One day" "One night" --road prompt_to_prompt --stops 5
  python -m coladlm interpolate "A" "B" "C" --weights 1 2 1"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_operation_arguments(parser, "interpolate", EXAMPLES)


def run(args: argparse.Namespace) -> int:
    road, status = run_operation(args, "interpolate", Road)
    if road is not None:
        for stop in road.stops:
            angles = ", ".join(f"{x:.2f}" for x in stop.latent_distances)
            tokens = ", ".join(map(str, stop.token_distances))
            print(f"[{stop.row + 1}] distances to the texts: {angles} in latents, {tokens} in tokens", file=sys.stderr)
        for note in road.notes:
            print(note, file=sys.stderr)
    return status

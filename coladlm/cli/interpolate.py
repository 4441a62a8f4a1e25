"""`interpolate`: interpolates between texts."""

from __future__ import annotations

import argparse
import sys

from ..latent import Interpolation
from .operation import add_operation_arguments, run_operation

EXAMPLES = """\
examples:
  python -m coladlm interpolate "The cat sat on the mat." "The dog ran to the park."
  python -m coladlm interpolate "One day" "One night" --road prompt_to_prompt --stops 5
  python -m coladlm interpolate "A" "B" "C" --weights 1 2 1"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_operation_arguments(parser, "interpolate", EXAMPLES)


def run(args: argparse.Namespace) -> int:
    interpolation, status = run_operation(args, "interpolate", Interpolation)
    if interpolation is not None:
        for waypoint in interpolation.waypoints:
            angles = ", ".join(f"{x:.2f}" for x in waypoint.latent_distances)
            tokens = ", ".join(map(str, waypoint.token_distances))
            where = f"[{waypoint.row + 1}]"
            print(f"{where} distances to the texts: {angles} in latents, {tokens} in tokens", file=sys.stderr)
        for note in interpolation.notes:
            print(note, file=sys.stderr)
    return status

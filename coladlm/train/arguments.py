"""Types of command-line arguments that training shares, so that a mistake is told before anything is done."""

from __future__ import annotations

import argparse
import math


def minutes(text: str) -> float:
    """A time of training. Raises ArgumentTypeError unless it is above 0."""
    value = _number(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"found {text}, expected a number above 0")
    return value


def count(text: str) -> int:
    """A number of things. Raises ArgumentTypeError unless it is a whole number from 1."""
    value = _number(text)
    if not value.is_integer() or value < 1:
        raise argparse.ArgumentTypeError(f"found {text}, expected a whole number from 1")
    return int(value)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a number") from error

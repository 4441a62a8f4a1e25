"""`python -m coladlm`: see coladlm/cli."""

from __future__ import annotations

import sys

from . import cli
from .garbage_collection import collect_seldom


def main() -> int:
    """Runs the command that the process was started with. Returns the exit status."""
    collect_seldom()
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())

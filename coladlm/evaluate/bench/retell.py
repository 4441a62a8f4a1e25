"""Writes the findings of kept results anew, from their tables, without measuring again.

python -m coladlm.evaluate.bench.retell assets/bench/cost.json
python -m coladlm.evaluate.bench.retell assets/bench/strengths.json --picture docs/pictures/bench-strengths.png
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ...extras import MissingExtraError
from .findings.telling import told
from .picture import draw
from .results import ResultError, load


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0, or 2 with a sentence on stderr where a file is no result or cannot be written."""
    parser = argparse.ArgumentParser(
        prog="python -m coladlm.evaluate.bench.retell", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "files", type=Path, nargs="+", metavar="FILE.json", help="results of the bench, written in place"
    )
    parser.add_argument("--picture", type=Path, metavar="FILE.png", help="draw the curves of the only file, too")
    args = parser.parse_args(arguments)
    try:
        if args.picture and len(args.files) > 1:
            raise ResultError(f"--picture is given with {len(args.files)} files, expected one")
        results = [told(load(file)) for file in args.files]
        for file, result in zip(args.files, results, strict=True):
            result.save(file)
            if args.picture:
                draw(result, args.picture)
    except (ValueError, OSError, MissingExtraError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

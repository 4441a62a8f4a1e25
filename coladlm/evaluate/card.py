"""The tables and samples of a model card, as Markdown, from a file that `evaluate --json` wrote.

    python -m coladlm.evaluate.card evaluation.json

prints them; what a card says in words stays where it is.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

SAMPLES = 10
# (name in the file, what the card calls it, how its numbers are written)
MEASURES = (
    ("perplexity_per_word", "perplexity per word", ".1f"),
    ("judged_per_word", "perplexity per word under the judge", ".1f"),
    ("distinct_2", "distinct 2-grams", ".3f"),
    ("repeated_4", "repeated 4-grams", ".3f"),
    ("copied_8", "8-grams copied from the training text", ".3f"),
    ("words", "words", ".0f"),
    ("ends", "share that comes to its end", ".2f"),
)
TITLES = {
    "prompted": "samples that go on from a first sentence",
    "free": "free samples",
    "opened": "samples that begin with an opening of the model's",
}


def card(result: Mapping[str, Any]) -> Iterator[str]:
    """Lines of Markdown: the tables of what was measured, then the first samples, unselected. Raises KeyError where
    the file holds no samples.
    """
    if "reconstruction" in result:
        restored = result["reconstruction"]["restored"]
        shares = [format(share, ".2%") for share in restored.values()]
        yield from _table(("noise on the latents", *restored), [("tokens restored", *shares)])
    for kind, title in TITLES.items():
        if kind in result:
            measures = result[kind]["measures"]
            yield from _table((title, "model", "held-out text", "model / held-out", "baseline"),
                              [_row(title, measures, name, form) for name, title, form in MEASURES
                               if name in measures["model"]])  # fmt: skip
    for sample in result["prompted"]["samples"]["model"][:SAMPLES]:
        text = sample["text"].rstrip().replace("\n", "\n> ")
        yield from (f"Sequence {sample['sequence']}:", "", f"> **{sample['prompt'].strip()}**{text}", "")


def _row(title: str, measures: Mapping[str, Mapping[str, float]], name: str, form: str) -> Sequence[str]:
    model, real, baseline = (measures[who][name] for who in ("model", "real", "baseline"))
    ratio = "" if not real or model is None else format(model / real, ".2f")
    return (title, *("" if v is None else format(v, form) for v in (model, real)), ratio,
            "" if baseline is None else format(baseline, form))  # fmt: skip


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for cells in (head, ["---"] * len(head), *rows):
        yield "| " + " | ".join(cells) + " |"
    yield ""


def main(argv: list[str] | None = None) -> int:
    """Parses `argv` and prints. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m coladlm.evaluate.card", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("json", type=Path, metavar="FILE.json", help="that `python -m coladlm evaluate --json` wrote")
    try:
        result = json.loads(parser.parse_args(argv).json.read_text(encoding="utf-8"))
        print("\n".join(card(result)))
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"card: {error!r}, expected a file that `evaluate --json` wrote with samples", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

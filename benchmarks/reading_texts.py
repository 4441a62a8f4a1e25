"""How long a file of short lines takes from its upload to the map: the sentence of docs/page.md.

    python -m benchmarks.reading_texts [--checkpoint FOLDER] [--lines 1000 5000]

Each line is eight words drawn from the sentences that ship. The time is that of the server: the DiT reads the lines,
and clusters, PCA, neighbours and the value for the page are made. The UMAP, which joins later, is not in it.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path

import torch

from app.map.handlers import Maps
from coladlm import ColaDLM
from coladlm.latent.reference_cloud import load_sentences
from coladlm.serve import Scheduler

WORDS = 8  # of a line


def lines(count: int) -> list[str]:
    """Different lines, the same ones every time."""
    words = [word for sentence in load_sentences() for word in sentence.split()]
    draw = random.Random(0)
    return [" ".join(draw.sample(words, WORDS)) for _ in range(count)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", help="folder or Hub id; the bundled model if absent")
    parser.add_argument("--lines", type=int, nargs="+", default=[1000, 5000])
    args = parser.parse_args()
    maps = Maps(ColaDLM.from_pretrained(args.checkpoint), Scheduler())
    list(maps.shipped("warm"))  # imports, and the sentences where they do not ship for this model
    print(f"{torch.get_num_threads()} threads")
    print("| lines | read, s | on the map, s |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for count in args.lines:
            file = Path(folder) / f"{count}.txt"
            file.write_text("\n".join(lines(count)), encoding="utf-8")
            start = read = time.perf_counter()
            for _, progress in maps.upload("visitor", str(file)):
                if progress["state"] == "error":
                    raise SystemExit(progress["message"])
                if progress["state"] == "running":
                    read = time.perf_counter()
            done = time.perf_counter()
            print(f"| {count:,} | {read - start:.1f} | {done - start:.1f} |", flush=True)


if __name__ == "__main__":
    main()

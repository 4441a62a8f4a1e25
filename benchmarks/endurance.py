"""Memory over many runs and many stopped runs: what a run takes, it gives back.

    python -m benchmarks.endurance [--checkpoint FOLDER] [--runs 50]

Prints resident memory after every tenth run to the end and after every tenth run that is stopped in the middle of a
block, and the growth from the first ten to the last. On a GPU also the memory that torch holds.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import os
from pathlib import Path

import torch

from coladlm import ColaDLM


def resident_megabytes() -> float:
    """Resident set of this process (Linux: the second field of statm, in pages)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def one_run(model: ColaDLM, seed: int, stop_after: int | None) -> None:
    """A run of four sequences, closed after `stop_after` events if that is given."""
    settings = dataclasses.replace(model.defaults, seed=seed, steps=8, max_new_tokens=64, stop_at_end=False)
    run = model.sample(["Once upon a time", "The cat", "", "One day Tom and his mom went out. " * 8], settings)
    for index, _ in enumerate(run):
        if index == stop_after:
            run.close()
            return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", help="folder or Hub id; the bundled model if absent")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--runs", type=int, default=50)
    options = parser.parse_args()
    model = ColaDLM.from_pretrained(options.checkpoint, device=options.device)
    print("| runs | kind | resident, MB | GPU, MB |\n|---|---|---|---|")
    for kind, stop_after in (("to the end", None), ("stopped", 21)):
        first = None
        for run in range(1, options.runs + 1):
            one_run(model, run, stop_after)
            if run % 10 == 0:
                gc.collect()
                gpu = torch.cuda.memory_allocated() / 2**20 if model.device.type == "cuda" else 0
                now = resident_megabytes()
                first = first or now
                print(f"| {run} | {kind} | {now:.0f} | {gpu:.0f} |", flush=True)
        print(f"| | growth, {kind} | {now - first:+.0f} | |")


if __name__ == "__main__":
    main()

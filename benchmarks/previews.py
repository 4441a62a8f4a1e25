"""What previews cost the steps of a batch: without any, in the order of the steps, and on a side stream.

    python -m benchmarks.previews [--checkpoint FOLDER] [--device cuda] [--batch 1 8 32] [--steps 32]

A batch with the model's settings, several times so many steps as are asked for, with the previews of all rows at every
second step, which is more often than the page has them. On a device without streams there is no side stream, and the
last column is the second one again.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from collections.abc import Callable

import torch

from coladlm import ColaDLM, SamplerSettings, Step
from coladlm.hardware.side_stream import InOrder, Side, side_of
from coladlm.sampling.shared_run import SharedRun

PROMPT = "Once upon a time"
WARM_UP, ROUNDS = 8, 3


def milliseconds(model: ColaDLM, settings: SamplerSettings, rows: int, steps: int, side: Side | None) -> float:
    """A step of a batch of so many rows, in ms; with previews of all of them at every second one where there is a
    side.
    """
    run = SharedRun(model.sampler, settings)
    group = run.join([model.plan(PROMPT, settings, row) for row in range(rows)])
    read: list[Step] = []

    def step(number: int) -> None:
        run.advance()
        if side is not None and number % 2 and isinstance(run.event, Step):
            with side.work() as work:
                run.read([group], work)
            read[:] = [run.of(group)]

    for number in range(WARM_UP):
        step(number)
    seconds = timed(model.device, lambda: [step(number) for number in range(steps)])
    for event in read:
        event.preview()
    run.close()
    return 1000 * seconds / steps


def timed(device: torch.device, work: Callable[[], object]) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    begun = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", help="folder or Hub id; the bundled model if absent")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--steps", type=int, default=32, help="(%(default)s)")
    options = parser.parse_args()
    model = ColaDLM.from_pretrained(options.checkpoint, options.device, options.dtype)
    settings = dataclasses.replace(model.defaults, max_new_tokens=256, stop_at_end=False, whole_sentences=False)
    print(f"{model.name} on {model.device}, {model.dtype}\n\n| batch | a step, ms | with previews in order | beside |\n"
          "|---|---|---|---|")  # fmt: skip
    for rows in options.batch:
        sides = None, InOrder(), side_of(model.device)
        found = [[milliseconds(model, settings, rows, options.steps, side) for side in sides] for _ in range(ROUNDS)]
        print(f"| {rows} | " + " | ".join(f"{statistics.median(x):.2f}" for x in zip(*found, strict=True)) + " |",
              flush=True)  # fmt: skip


if __name__ == "__main__":
    main()

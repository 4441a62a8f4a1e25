"""Speed of the sampler next to the bare matrix products it cannot do without. Runs on a CPU or a GPU.

    python -m benchmarks.sampler [--checkpoint FOLDER] [--device auto] [--dtype auto] [--threads N]

A guided step of a block is one pass of the DiT over 2 * batch * block_size rows. Its bare products are the linear
layers of that pass alone: same weights, same rows, nothing else. Both are timed in turns within one run, so that
whatever else the machine does hits both. The length table shows that a step costs the same late in a text.
"""

from __future__ import annotations

import argparse
import dataclasses
import platform
import statistics
import time

import torch

from coladlm import BlockDone, ColaDLM, Step
from coladlm.evaluate.speed import PROMPT, step_times, synchronise
from coladlm.hardware.threads import always


def tokens_per_second(model: ColaDLM, steps: int, batch: int, tokens: int) -> float:
    settings = dataclasses.replace(model.defaults, steps=steps, stop_at_end=False, max_new_tokens=tokens)
    start = time.perf_counter()
    model.generate([PROMPT] * batch, settings)
    return batch * tokens / (time.perf_counter() - start)


def step_by_length(model: ColaDLM, tokens: int) -> list[tuple[int, float]]:
    """(tokens written before, median milliseconds a step) for each eighth of a long run."""
    settings = dataclasses.replace(model.defaults, steps=8, guidance=2.0, stop_at_end=False, max_new_tokens=tokens)
    per_block, last, times = model.block_size * model.patch_size, None, {}
    for event in model.sample([PROMPT], settings):
        synchronise(model.device)
        now = time.perf_counter()
        if isinstance(event, Step) and last is not None:
            times.setdefault(event.block * per_block * 8 // tokens, []).append(now - last)
        last = None if isinstance(event, BlockDone) else now
    return [(part * tokens // 8, 1000 * statistics.median(seconds)) for part, seconds in sorted(times.items())]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", help="folder or Hub id; the bundled model if absent")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--blocks", type=int, default=24, help="blocks of a timed run")
    parser.add_argument("--threads", type=int, help="of torch on a CPU (all; the page gives a small model one)")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    model = ColaDLM.from_pretrained(options.checkpoint, device=options.device, dtype=options.dtype)
    model.sampler.threads = always(torch.get_num_threads())
    where = (
        torch.cuda.get_device_name(model.device)
        if model.device.type == "cuda"
        else f"{torch.get_num_threads()} CPU threads"
    )
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    print(f"{model.name}: {model.parameters / 1e6:.1f} M parameters, {model.dtype}, {where}, {versions}\n")
    model.generate([PROMPT], dataclasses.replace(model.defaults, max_new_tokens=8))  # warm up

    print("| batch | guided step, ms | its bare products, ms | ratio |\n|---|---|---|---|")
    for batch in (1, 8, 32):
        step, products = step_times(model, batch, options.blocks)
        print(f"| {batch} | {1000 * step:.2f} | {1000 * products:.2f} | {step / products:.2f} |", flush=True)

    print("\n| steps a block | tokens/s, batch 1 | tokens/s, batch 8 |\n|---|---|---|")
    for steps in (1, 4, 16, 32):
        rates = [tokens_per_second(model, steps, batch, 64) for batch in (1, 8)]
        print(f"| {steps} | {rates[0]:.0f} | {rates[1]:.0f} |", flush=True)

    print("\n| tokens already written | ms a step, batch 1 |\n|---|---|")
    for written, milliseconds in step_by_length(model, 1024):
        print(f"| {written} | {milliseconds:.2f} |")


if __name__ == "__main__":
    main()

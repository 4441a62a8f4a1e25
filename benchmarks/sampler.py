"""Speed of the sampler next to the bare matrix products it cannot do without. Runs on a CPU or a GPU.

    python -m benchmarks.sampler [--checkpoint FOLDER] [--device auto] [--dtype auto]

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
from coladlm.layers import Linear

PROMPT = "Once upon a time there was a little girl who liked to play in the garden. "


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def step_linears(model: ColaDLM) -> list[Linear]:
    """The linear layers that every step runs through; those of the time embedding are tabulated once a run."""
    dit = model.dit
    blocks = [layer for b in dit.blocks for layer in (b.msa.proj_qkv, b.msa.proj_out, b.mlp.proj_in, b.mlp.proj_out)]
    return [dit.txt_in["proj"], *blocks, dit.txt_out["proj"]]


@torch.inference_mode()
def product_seconds(linears: list[Linear], inputs: list[torch.Tensor], device: torch.device) -> float:
    synchronise(device)
    start = time.perf_counter()
    for linear, x in zip(linears, inputs, strict=True):
        torch.nn.functional.linear(x, linear.weight, linear.bias)
    synchronise(device)
    return time.perf_counter() - start


def step_times(model: ColaDLM, batch: int, blocks: int) -> tuple[float, float]:
    """Median seconds of a guided step and of its bare products, timed in turns."""
    b = model.block_size * model.patch_size
    settings = dataclasses.replace(model.defaults, steps=16, guidance=2.0, solver="euler", stochasticity=0.0,
                                   guidance_interval=(0.0, 1000.0), history="latents", stop_at_end=False,
                                   max_new_tokens=blocks * b)  # fmt: skip
    linears = step_linears(model)
    rows = 2 * batch * model.block_size
    inputs = [torch.randn(rows, layer.in_features, dtype=model.dtype, device=model.device) for layer in linears]
    steps, products, last = [], [], None
    for event in model.sample([PROMPT * 2] * batch, settings):
        synchronise(model.device)
        now = time.perf_counter()
        if isinstance(event, Step) and last is not None:
            steps.append(now - last)
        products.append(product_seconds(linears, inputs, model.device))
        last = time.perf_counter() if isinstance(event, Step) else None
    return statistics.median(steps), statistics.median(products)


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
    options = parser.parse_args()
    model = ColaDLM.from_pretrained(options.checkpoint, device=options.device, dtype=options.dtype)
    where = torch.cuda.get_device_name() if model.device.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
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

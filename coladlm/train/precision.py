"""Which dtype the matrix products of training run in: measured, since a device's name does not tell."""

from __future__ import annotations

import contextlib
import time

import torch
import torch.nn.functional as F

from ..hardware.devices import choose_device

# A product as the networks here make it: 2048 tokens, width 256, an MLP of four times that.
ROWS, WIDTH, HIDDEN = 2048, 256, 1024


def products_per_second(dtype: torch.dtype, device: torch.device | str = "cpu", seconds: float = 0.2) -> float:
    """Floating-point operations per second of such a product, in at least `seconds` of work."""
    x = torch.randn(ROWS, WIDTH, device=device).to(dtype)
    weight = torch.randn(HIDDEN, WIDTH, device=device).to(dtype)
    wait = torch.cuda.synchronize if torch.device(device).type == "cuda" else (lambda: None)
    F.linear(x, weight)
    wait()
    start, count = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - start) < seconds or count == 0:
        F.linear(x, weight)
        wait()
        count += 1
    return 2 * ROWS * WIDTH * HIDDEN * count / elapsed


def training_device(name: str) -> str:
    """The device for a training. "auto" leaves out Apple's GPUs: a step draws in float64, which they lack. Raises
    ValueError for a device that cannot be used.
    """
    device = str(choose_device(name))
    return "cpu" if name == "auto" and device == "mps" else device


def choose_dtype(name: str, device: torch.device | str = "cpu") -> torch.dtype:
    """`float32` and `bfloat16` as they say; `auto`: bfloat16 where its products are at least 1.3 times as fast."""
    if name == "float32":
        return torch.float32
    if name == "bfloat16":
        return torch.bfloat16
    if name != "auto":
        raise ValueError(f"dtype is {name!r}, expected auto, float32 or bfloat16")
    faster = products_per_second(torch.bfloat16, device) > 1.3 * products_per_second(torch.float32, device)
    return torch.bfloat16 if faster else torch.float32


def autocast(
    dtype: torch.dtype, device: torch.device | str, shared: bool = False
) -> contextlib.AbstractContextManager[object]:
    """Products in `dtype`, weights and sums in float32. shared: several threads do so at once with the same weights,
    which then must not share the cache of converted weights either."""
    if dtype == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(torch.device(device).type, dtype=dtype, cache_enabled=not shared)

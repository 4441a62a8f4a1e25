"""Which device and which compute dtype: "auto" decides by what is there and by a short measurement."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

# Up to this size a step of one sequence is many short operations, and threads that share them mostly wait.
SMALL_PARAMETERS = 50_000_000
NARROW = 1024  # networks of a smaller width are small
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(device: str | torch.device = "auto") -> torch.device:
    """The device to use; "auto" takes a GPU where there is one, Apple's ("mps") too. Raises ValueError for one
    that cannot be used.
    """
    if str(device) == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    if not isinstance(device, (str, torch.device)) or str(device) == "meta":
        raise ValueError(f"device is {device!r}, expected auto, cpu, cuda or another that computes")
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].partition(". ")[0]  # torch goes on with a list of its backends
        raise ValueError(f"device {str(device)!r} cannot be used: {reason}") from error
    return chosen


def choose_dtype(dtype: str | torch.dtype, device: torch.device, width: int, others: Sequence[str] = ()) -> torch.dtype:
    """The compute dtype; "auto" is bfloat16 on a GPU that has it and on a CPU where it is clearly faster. Apple's GPUs
    get float32: not all of them have bfloat16, and nothing here has been timed on one.

    others: what else the caller takes, for the sentence where it is none of these. Raises ValueError.
    width: of the network. A narrow one gets float32 everywhere: a step of it costs launches, not products, and in
    float32 texts on different devices, alone and in a batch, seldom part by rounding. A CPU without AMX or AVX-512 BF16
    multiplies bfloat16 a hundred times slower than float32, so its name says nothing and a measurement decides.
    """
    if isinstance(dtype, torch.dtype) and dtype in DTYPES.values():
        return dtype
    if dtype != "auto":
        if not isinstance(dtype, str) or dtype not in DTYPES:
            raise ValueError(f"dtype is {dtype!r}, expected auto or one of {', '.join((*DTYPES, *others))}")
        return DTYPES[dtype]
    if width < NARROW:
        return torch.float32
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    if device.type != "cpu":
        return torch.float32
    float32, bfloat16 = (_product_seconds(d, width) for d in (torch.float32, torch.bfloat16))
    return torch.bfloat16 if 1.5 * bfloat16 < float32 else torch.float32


def choose_threads(parameters: int, device: torch.device, most: int | None = None) -> int:
    """With how many threads of torch a program that does other things as well begins; `threads.py` finds out the rest.

    A small network on a CPU gets one. Two threads that spin while they wait for each other, hundreds of times a step,
    save a fifth of a step on an idle machine of two cores; where a browser or a server wants one of the cores, a step
    takes ten times as long. Two that sleep meanwhile are slower than one anywhere. See `benchmarks/sampler.py`. Others
    get `most`, or as many as torch has if absent.
    """
    if device.type == "cpu" and parameters <= SMALL_PARAMETERS:
        return 1
    return torch.get_num_threads() if most is None else most


def gpu_bytes(device: torch.device) -> int | None:
    """The bytes that this program has allocated on a GPU; None for a CPU."""
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else None


def software() -> str:
    """The version of torch and the number of threads that it computes with, in words."""
    threads = torch.get_num_threads()
    return f"torch {torch.__version__}, {threads} thread{'s' * (threads != 1)}"


def _product_seconds(dtype: torch.dtype, width: int, rows: int = 32) -> float:
    x, w = torch.randn(rows, width, dtype=dtype), torch.randn(4 * width, width, dtype=dtype)
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        torch.nn.functional.linear(x, w)
        best = min(best, time.perf_counter() - start)
    return best

"""How many operators a step of the sampler calls, how many of them compute and for how long, by torch's profiler.

What is compiled counts by its kernels, which Inductor names for the profiler if it is asked to before. Its functions
for a CPU may hold several loops each, which need not be one kernel on a GPU: see `launches.py`.
"""

from __future__ import annotations

import dataclasses
import os
import statistics
from collections.abc import Iterator
from typing import Any

import torch
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile

from coladlm import ColaDLM, SamplerSettings
from coladlm.evaluate.speed import PROMPT, synchronise

FUSED = "cpp_fused_"  # in the names of Inductor's kernels for a CPU
# operators that compute nothing: views, and room for results
SILENT = {
    "_reshape_alias", "_unsafe_view", "alias", "as_strided", "chunk", "contiguous", "detach", "empty", "empty_like",
    "empty_strided", "expand", "expand_as", "flatten", "lift_fresh", "narrow", "new_empty", "permute", "reshape",
    "resize_", "resolve_conj", "resolve_neg", "result_type", "select", "slice", "split", "split_with_sizes", "squeeze",
    "t", "to", "transpose", "unbind", "unflatten", "unfold", "unsqueeze", "view", "view_as_complex", "view_as_real",
}  # fmt: skip

# operators that are one kernel on a GPU, whatever they call on a CPU to convert what they are given or to spread a bias
WHOLE = {"add", "addcmul", "addmm", "mul", "sub"}


def name_kernels() -> None:
    """Has Inductor name its CPU kernels in profiles, and keeps the profiler from writing its own lines ("USDT:...")
    among the results. To be called before anything is compiled or profiled.
    """
    from torch._inductor import config as inductor  # for a second: others read this file for its counts alone

    inductor.cpp.enable_kernel_profile = True
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")


@dataclasses.dataclass(frozen=True)
class Calls:
    """Of one step, the mean of several. called: operators. computing: those of them that compute. kernels: what the
    profiler saw run on a GPU, copies included. busy: milliseconds inside kernels, or, on a CPU, wall time inside the
    operators that compute, with the cost of the call and of the profiler; the lower quartile, since other processes
    only ever add to it.
    """

    called: float
    computing: float
    kernels: float
    busy: float


def operators(model: ColaDLM, batch: int, settings: SamplerSettings, steps: int = 6) -> Calls:
    """What a step calls, in the middle of a block."""
    settings = dataclasses.replace(settings, max_new_tokens=4 * model.block_size * model.patch_size)
    events = model.sample([PROMPT * 2] * batch, settings)
    for _ in range(settings.steps + 2):
        next(events)
    profiled = [_step(events, model.device) for _ in range(steps + 1)][1:]  # the profiler's first step is slow
    events.close()
    called, computing, kernels = (statistics.mean(getattr(calls, name) for calls in profiled)
                                  for name in ("called", "computing", "kernels"))  # fmt: skip
    busy = statistics.quantiles((calls.busy for calls in profiled), n=4, method="inclusive")[0]  # one that was seen
    return Calls(called, computing, kernels, busy)


def _step(events: Iterator[Any], device: torch.device) -> Calls:
    """The next step."""
    kinds = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device.type == "cuda")
    with profile(activities=kinds) as profiler:
        next(events)
        synchronise(device)
    seen = list(profiler.events())
    on_cpu = [event for event in seen if event.device_type.name == "CPU"]
    called = [event for event in on_cpu if "::" in event.name]
    fused = [event for event in on_cpu if FUSED in event.name]
    kernels = [event for event in seen if event.device_type.name == "CUDA"]
    computing = [event for event in called if _computes(event)] + fused
    if kernels:
        microseconds = sum(event.device_time_total for event in kernels)
    else:
        microseconds = sum(event.cpu_time_total for event in computing)
    return Calls(len(called) + len(fused), len(computing), len(kernels), microseconds / 1000)


def is_silent(name: str) -> bool:
    """Whether an operator of this name computes nothing."""
    return name.split("::")[-1] in SILENT


def _whole(name: str) -> bool:
    return name.split("::")[-1] in WHOLE


def _computes(event: FunctionEvent) -> bool:
    """Whether this operator itself is what computes, and neither one that it calls nor one that calls it."""
    parent = event.cpu_parent
    while parent is not None:
        if _whole(parent.name):
            return False
        parent = parent.cpu_parent
    return _whole(event.name) or not (is_silent(event.name) or any(not is_silent(c.name) for c in event.cpu_children))

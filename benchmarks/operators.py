"""How many operators a step of the sampler calls, how many of them compute and for how long, by torch's profiler.

What is compiled counts by its kernels, which Inductor names for the profiler if it is asked to before. Its functions
for a CPU may hold several loops each, which need not be one kernel on a GPU: see `launches.py`.
"""

from __future__ import annotations

import dataclasses

from torch._inductor import config as inductor
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
    """Has Inductor give its kernels for a CPU a name in profiles. To be called before anything is compiled."""
    inductor.cpp.enable_kernel_profile = True


@dataclasses.dataclass(frozen=True)
class Calls:
    """Of one step. called: operators. computing: those of them that compute. kernels: that the profiler saw on a GPU.
    busy: milliseconds inside kernels, or, where there is no GPU, inside operators that compute; the profiler's own cost
    and that of the call are in the latter.
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
    kinds = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (model.device.type == "cuda")
    with profile(activities=kinds) as seen:
        for _ in range(steps):
            next(events)
        synchronise(model.device)
    events.close()
    on_cpu = [event for event in seen.events() if event.device_type.name == "CPU"]
    called = [event for event in on_cpu if "::" in event.name]
    fused = [event for event in on_cpu if FUSED in event.name]
    kernels = [event for event in seen.events() if event.device_type.name == "CUDA"]
    computing = [event for event in called if _computes(event)] + fused
    if kernels:
        microseconds = sum(event.device_time_total for event in kernels)
    else:
        microseconds = sum(event.cpu_time_total for event in computing)
    numbers = (len(called) + len(fused), len(computing), len(kernels), microseconds / 1000)
    return Calls(*(number / steps for number in numbers))


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

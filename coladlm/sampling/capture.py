"""Capture and replay: a function on memory that stays where it is, recorded once and then run without the host.

A capture takes a function without arguments and gives another one, which does the same to the same memory. On a GPU
that is a CUDA graph. `tape` does it anywhere: it writes down the operators that the function calls and replays them, so
what a graph would freeze, every choice that Python makes on the way, is frozen here as well.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode, _pop_mode_temporarily
from torch.utils._pytree import tree_leaves

Capture = Callable[[Callable[[], None]], Callable[[], None]]

WARM_UP = 2  # calls before a capture, in which libraries choose their kernels and make room for them


def cuda_graph(function: Callable[[], None], device: torch.device, pool: Any = None) -> Callable[[], None]:
    """The function as a CUDA graph. Raises RuntimeError where it does something that cannot be captured.

    device: whose memory the function works on, whatever the current one is. pool: of memory that graphs share which
    never run at once and leave nothing in it.
    """
    with torch.cuda.device(device):
        current, side = torch.cuda.current_stream(), torch.cuda.Stream()
        side.wait_stream(current)
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                function()
        current.wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        # The stream of the capture is given, as torch's own is for good one of the device that it was first asked on.
        # The current one is set once more from outside: after an error in a capture torch leaves that of the capture.
        capture = torch.cuda.graph(graph, pool=pool, stream=side, capture_error_mode="thread_local")
        with torch.cuda.stream(current), capture:  # other threads may do anything
            function()
    return graph.replay


class Writer(TorchDispatchMode):
    """Records every operator that is called inside, with its arguments and results."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Sequence[Any], dict[str, Any], list[Any]]] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # or torch imports its compiler, which takes seconds, to keep it from this

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, tree_leaves(result)))
        return result

    def replay(self) -> None:
        """Calls the operators with the same arguments and copies each result to where it was in the recording."""
        for call in self.calls:
            repeat(*call)


def repeat(func: Any, args: Sequence[Any], kwargs: dict[str, Any], before: list[Any]) -> None:
    """Calls a recorded operator once more. before: its results in the recording."""
    for old, new in zip(before, tree_leaves(func(*args, **kwargs)), strict=True):
        # a view, or what was written in place, is there already
        if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
            old.copy_(new)


def tape(function: Callable[[], None]) -> Callable[[], None]:
    """The function as the list of operators that it called, for devices without graphs. As in a graph, the memory for
    intermediate results belongs to the tape.
    """
    with Writer() as writer:
        function()
    return writer.replay


def as_one(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as a single operator for a tape, which does not see into what is compiled. It may write to its
    arguments, as operators do.
    """

    def called(*args: Any) -> Any:
        writer = _get_current_dispatch_mode()
        if not isinstance(writer, Writer):
            return function(*args)
        with _pop_mode_temporarily():
            result = function(*args)
        writer.calls.append((function, args, {}, tree_leaves(result)))
        return result

    return called


def capture_for(device: torch.device) -> Capture:
    """How functions are captured on this device."""
    if device.type != "cuda":
        return tape
    return functools.partial(cuda_graph, device=device, pool=torch.cuda.graph_pool_handle())

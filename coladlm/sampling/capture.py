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


def cuda_graph(function: Callable[[], None], pool: Any = None) -> Callable[[], None]:
    """The function as a CUDA graph. Raises RuntimeError where it does something that cannot be captured.

    pool: of memory that graphs share which never run at once and leave nothing in it.
    """
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            function()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):  # other threads may do anything
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
        for func, args, kwargs, before in self.calls:
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
    return functools.partial(cuda_graph, pool=torch.cuda.graph_pool_handle()) if device.type == "cuda" else tape

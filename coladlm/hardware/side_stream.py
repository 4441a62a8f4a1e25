"""Work beside the main work of a device: a stream of its own, where there are streams.

What is asked of a side stream reads memory that the main stream goes on to change or to give away. So whoever changes
it waits for the side's work first (`SideWork.before_changes`), which the device does by itself; what may be given away
is held (`held_here`); and whoever wants the result waits for that alone (`SideWork.wait`).
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor


class SideWork(Protocol):
    """Work that has been given to a device and may still be under way."""

    def before_changes(self) -> None:
        """Has what the device is given from now on wait for this work; the host does not."""

    def wait(self, *results: Tensor) -> None:
        """Waits until it is done. results: tensors it has made, which the calling thread is about to read."""


class Side(Protocol):
    """Where such work is done."""

    def work(self) -> contextlib.AbstractContextManager[SideWork]:
        """What is computed inside."""


class _Done:
    """Work in the order of everything else: whoever sees a result of it needs no more waiting than for any other."""

    def before_changes(self) -> None:
        pass

    def wait(self, *results: Tensor) -> None:
        pass


class InOrder:
    """No side at all: the work takes its place among the rest."""

    @contextlib.contextmanager
    def work(self) -> Iterator[SideWork]:
        yield _Done()


class _CudaWork:
    """done: an event behind the work, None until all of it has been given to the device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.done: Any = None

    def before_changes(self) -> None:
        if self.done is not None:
            torch.cuda.current_stream(self.device).wait_event(self.done)

    def wait(self, *results: Tensor) -> None:
        self.done.synchronize()
        for result in results:
            held_here(result)


class CudaSide:
    """A second stream of a CUDA device. It begins when the main one has done what it was given before."""

    def __init__(self, device: torch.device) -> None:
        self.stream = torch.cuda.Stream(device)

    @contextlib.contextmanager
    def work(self) -> Iterator[SideWork]:
        device = self.stream.device
        self.stream.wait_stream(torch.cuda.current_stream(device))
        work = _CudaWork(device)
        with torch.cuda.stream(self.stream):
            try:
                yield work
            finally:  # what was begun before an error reads memory, too
                work.done = self.stream.record_event()


def held_here(x: Tensor) -> None:
    """The memory of x, if it is freed, is not used again before the stream that is current here has read it."""
    if x.is_cuda:
        x.record_stream(torch.cuda.current_stream(x.device))


@functools.cache  # streams are few, and each keeps memory of its own
def side_of(device: torch.device) -> Side:
    """The side of a device, one for all work beside it: a stream of its own on CUDA, elsewhere none."""
    return CudaSide(device) if device.type == "cuda" else InOrder()

"""A side stream for tests: a device that does its side work as late as it may."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from coladlm.sampling.capture import Writer


class LateSide:
    """Work is done only when somebody waits for it, with what is then in the memory that it reads.

    Up to then its results are nan, as on a device that has not come to them. What reads too early, and what changes
    what is still to be read, both come to light.
    """

    def __init__(self) -> None:
        self.waiting: list[Writer] = []  # oldest first, as on a stream
        self.count = 0
        self.lock = threading.RLock()  # the main stream waits while it is done for somebody else

    @contextlib.contextmanager
    def work(self) -> Iterator[LateWork]:
        work = LateWork(self)
        with Writer() as writer:
            yield work
        with torch.inference_mode():
            for result in made_by(writer):
                if result.is_floating_point():
                    result.fill_(torch.nan)
        self.waiting.append(writer)
        self.count += 1
        work.writer = writer


class LateWork:
    def __init__(self, side: LateSide) -> None:
        self.side, self.writer = side, None

    def before_changes(self) -> None:
        self._do()

    def wait(self, *results: Tensor) -> None:
        self._do()

    @torch.inference_mode()
    def _do(self) -> None:
        with self.side.lock:
            while self.writer in self.side.waiting:
                self.side.waiting[0].replay()
                del self.side.waiting[0]


def made_by(writer: Writer) -> list[Tensor]:
    """The tensors that are a recording's own, and no view of what was there before."""
    there, made, own = set(), set(), []
    for _, args, kwargs, results in writer.calls:
        for x in tree_leaves((args, kwargs)):
            if isinstance(x, Tensor) and storage(x) not in made:
                there.add(storage(x))
        for x in results:
            if isinstance(x, Tensor) and storage(x) not in there:
                made.add(storage(x))
                own.append(x)
    return own


def storage(x: Tensor) -> int:
    return x.untyped_storage().data_ptr()

"""A side stream for tests: a device that does its side work as late as it may, or between any two other operators."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from coladlm.sampling.capture import Writer, repeat


class LateSide:
    """Work is done only when somebody waits for it, with what is then in the memory that it reads.

    Up to then its results are nan, as on a device that has not come to them. What reads too early, and what changes
    what is still to be read, both come to light; with `between`, also what works on the same memory at the same time.
    """

    def __init__(self) -> None:
        self.waiting: list[list[Any]] = []  # works as what is left of their operators, oldest first, as on a stream
        self.count = 0
        self.busy = False  # is it at work, or is work noted down? Then nothing of it comes in between
        self.begun = False  # is a part of the oldest work done?
        self.lock = threading.RLock()  # the main stream waits while it is done for somebody else

    @contextlib.contextmanager
    def work(self) -> Iterator[LateWork]:
        work = LateWork(self)
        while self.begun:  # what is noted down is done at once as well, in the memory that half a work would go on with
            self.advance(1)
        self.busy = True
        with Writer() as writer:
            yield work
        self.busy = False
        with torch.inference_mode():
            for result in made_by(writer):
                if result.is_floating_point():
                    result.fill_(torch.nan)
        work.calls = list(writer.calls)
        self.waiting.append(work.calls)
        self.count += 1

    @contextlib.contextmanager
    def between(self, seed: int) -> Iterator[None]:
        """Inside, operators of the side come before some of the main stream, many at once, at random."""
        with Interleaving(self, random.Random(seed)):
            yield

    @torch.inference_mode()
    def advance(self, operators: int) -> None:
        """Does so many operators of the work that waits."""
        self.busy = True
        for _ in range(operators):
            if not self.waiting:
                break
            repeat(*self.waiting[0].pop(0))
            self.begun = bool(self.waiting[0])
            if not self.begun:
                del self.waiting[0]
        self.busy = False


class LateWork:
    """calls: what is left of it; None until all of it has been asked for."""

    def __init__(self, side: LateSide) -> None:
        self.side, self.calls = side, None

    def before_changes(self) -> None:
        self._do()

    def wait(self, *results: Tensor) -> None:
        self._do()

    def _do(self) -> None:
        with self.side.lock:
            while any(self.calls is calls for calls in self.side.waiting):
                self.side.advance(1)


class Interleaving(TorchDispatchMode):
    def __init__(self, side: LateSide, draw: random.Random) -> None:
        super().__init__()
        self.side, self.draw = side, draw

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.side.waiting and not self.side.busy and self.draw.random() < 0.01:
            self.side.advance(self.draw.randrange(120))
        return func(*args, **(kwargs or {}))


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

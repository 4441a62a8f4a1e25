"""Settling: which rows of a block are ended early, because their words have not changed for some steps.

A row's words are the likeliest tokens of its clean estimate, as the decoder reads them after the text so far. Once they
have stayed the same for `patience` steps, with every position of the block on its way out of the noise, the row is
brought to its clean estimate and stands still there. Each row is looked at by itself, so it ends where it would alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import torch
from torch import Tensor


class Settling:
    """For the rows of one block. done: (rows,) bool, those that have settled. over: all of them have.

    free: (rows, b) bool, the positions that are not pinned.
    """

    def __init__(self, patience: int, free: Tensor) -> None:
        self.patience, self.free = patience, free
        self.done = torch.zeros(len(free), dtype=torch.bool, device=free.device)
        self.over = False
        self._same = torch.full((len(free),), -1, device=free.device)  # steps without a change; -1: nothing read yet
        self._ids: Tensor | None = None

    def look(self, ids: Tensor, begun: Tensor) -> None:
        """Takes in the words of a step in which no position waits any more.

        ids: (rows, b * patch_size). begun: (rows,) bool, false where a row resumes at a later step.
        """
        ids = ids.unflatten(1, (self.free.shape[1], -1))
        alike = (self._same >= 0) & ((ids == (ids if self._ids is None else self._ids)).all(-1) | ~self.free).all(1)
        self._same, self._ids = torch.where(alike, self._same + 1, 0).masked_fill(~begun, -1), ids
        self.done = self.done | (self._same >= self.patience)
        self.over = bool(self.done.all())

    @overload
    def stilled(self, x: Tensor) -> Tensor: ...

    @overload
    def stilled(self, x: None) -> None: ...

    def stilled(self, x: Tensor | None) -> Tensor | None:
        """x (rows, ...) with 0 for the rows that stand still: their velocity, their times."""
        return None if x is None else x.masked_fill(self.done.view(-1, *[1] * (x.ndim - 1)), 0.0)

    def keep(self, rows: Sequence[int]) -> None:
        """Forgets all rows but these."""
        kept = torch.tensor(rows, dtype=torch.long, device=self.free.device)
        self.free, self.done, self._same = self.free[kept], self.done[kept], self._same[kept]
        self._ids = None if self._ids is None else self._ids[kept]

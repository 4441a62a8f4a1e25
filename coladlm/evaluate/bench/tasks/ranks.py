"""The processes that `torchrun` starts for one command: each answers a shard and logs it, the first merges the logs."""

from __future__ import annotations

import dataclasses
import datetime
import os
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.distributed

from ..results import ResultError
from .answering import Shard

PATIENCE = datetime.timedelta(days=30)  # that the first to be done waits for the others; torchrun ends all if one fails


@dataclasses.dataclass(frozen=True)
class Ranks:
    """rank: of this process, from 0, of `count`. local: its number on its own machine, as of the GPU that it takes."""

    rank: int
    count: int
    local: int = 0

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] = os.environ) -> Ranks | None:
        """The ranks by the variables that torchrun sets; None for a process of its own. Raises ResultError."""
        rank, count = environment.get("RANK"), environment.get("WORLD_SIZE")
        if (rank is None and count is None) or count == "1":
            return None
        try:
            found = cls(int(rank or ""), int(count or ""), int(environment.get("LOCAL_RANK", "0")))
        except ValueError:
            found = None
        if found is None or not 0 <= found.rank < found.count or found.local < 0:
            raise ResultError(f"RANK is {rank!r} and WORLD_SIZE is {count!r} in the environment, expected the number "
                              "of this process, from 0, and how many there are, as torchrun sets them")  # fmt: skip
        return found

    @property
    def first(self) -> bool:
        """Is this the process that merges and tells?"""
        return self.rank == 0

    @property
    def shard(self) -> Shard:
        """What this process answers."""
        return Shard(self.rank + 1, self.count)

    def log(self, file: Path, rank: int | None = None) -> Path:
        """The log of a rank, by default this one, beside `file`: items.1of2.jsonl for items.jsonl."""
        number = (self.rank if rank is None else rank) + 1
        return file.with_name(f"{file.stem}.{number}of{self.count}{file.suffix}")

    def logs(self, file: Path) -> list[Path]:
        """The logs of all ranks."""
        return [self.log(file, rank) for rank in range(self.count)]

    def take_device(self) -> None:
        """Makes "cuda" mean a GPU of its own, where there are GPUs."""
        if torch.cuda.is_available():
            torch.cuda.set_device(self.local % torch.cuda.device_count())

    def wait_for_all(self) -> None:
        """Returns when every rank has come here, so that all logs are written."""
        torch.distributed.init_process_group("gloo", timeout=PATIENCE)
        try:
            torch.distributed.barrier()
        finally:
            torch.distributed.destroy_process_group()

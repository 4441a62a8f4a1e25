"""Processes that train together: torchrun starts them, and each has a share of every batch.

    torchrun --nproc-per-node 2 -m -- coladlm.train dit --run runs/story

(Without the two dashes torchrun takes `--run` for an option of its own.) Two processes draw and compute what one does
with `--workers 2`, so they give its curve up to rounding, and either goes on from the other's state file. Small models
are copied (DistributedDataParallel); large ones are sharded (FSDP2): gradients, optimiser and moving average lie in
parts, and a process holds whole weights only from a layer's forward pass to the end of the backward one. The folder of
the run is one that all of them see.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..networks.dit import AdaLN


@dataclasses.dataclass(frozen=True)
class Ranks:
    """Which of the processes this is: `rank` of `count`. sharded: by FSDP2."""

    rank: int = 0
    count: int = 1
    sharded: bool = False

    @property
    def first(self) -> bool:
        """Is this the process that writes and reports?"""
        return self.rank == 0

    def share(self, rows: Tensor) -> tuple[Tensor, float]:
        """This process's rows of a batch, and their weight in a mean over all processes.

        A batch may have fewer rows than there are processes; then the others work along with weight 0, since all have
        to take part in every exchange.
        """
        shares = rows.chunk(self.count)
        if self.rank < len(shares):
            return shares[self.rank], self.count / len(shares)
        return shares[0], 0.0

    def parallel(self, stage: nn.Module, leaves_out: bool) -> nn.Module:
        """The stage with its gradients averaged over all processes. A sharded one is changed in place.

        leaves_out: may a batch leave a parameter without a gradient?
        """
        if self.count == 1:
            return stage
        if not self.sharded:
            return nn.parallel.DistributedDataParallel(stage, find_unused_parameters=leaves_out)
        for unit in [*_units(stage), stage]:
            _shard(unit)
        return stage

    def after_backward(self, stage: nn.Module) -> None:
        """Lets go of whole weights. Not before the end: the noisy copy of a batch comes after the clean one, which
        needs the same weights in its backward pass.
        """
        if self.sharded and self.count > 1:
            for unit in [*_units(stage), stage]:
                unit.reshard()  # pyrefly: ignore[not-callable]

    def agreed(self, value: float) -> float:
        """The value of the first process: what all decide by, where each has a clock of its own."""
        if self.count == 1:
            return value
        told = torch.tensor(value, dtype=torch.float64, device=_exchange())
        dist.broadcast(told, 0)
        return told.item()

    def agreed_dtype(self, dtype: torch.dtype) -> torch.dtype:
        """That of the first process, where each has measured which of two it takes."""
        return torch.bfloat16 if self.agreed(float(dtype == torch.bfloat16)) else torch.float32

    def mean(self, values: dict[str, Any]) -> dict[str, Any]:
        """The means of named numbers over all processes."""
        if self.count == 1 or not values:
            return values
        numbers = [float(value) for value in values.values()]
        together = torch.tensor(numbers, dtype=torch.float64, device=_exchange())
        dist.all_reduce(together)
        return dict(zip(values, (together / self.count).tolist(), strict=True))

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            dist.barrier()


ALONE = Ranks()


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor that may lie in parts; then every process has to ask for it."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def like(tensor: Tensor, place: Tensor) -> Tensor:
    """A whole tensor in the parts in which `place` lies, if it does and if they have one shape."""
    if not hasattr(place, "full_tensor") or tensor.shape != place.shape:
        return tensor
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(place, DTensor)
    return distribute_tensor(tensor, place.device_mesh, place.placements)


@contextlib.contextmanager
def joined(device: str, sharded: bool = False) -> Iterator[tuple[Ranks, str]]:
    """The process among those that torchrun has started, alone where it has not, and the device that is its own.

    Raises ValueError for sharding without other processes.
    """
    count = int(os.environ.get("WORLD_SIZE", 1))
    if count == 1:
        if sharded:
            raise ValueError("--shard is given and there is one process, expected several: torchrun --nproc-per-node 2")
        yield Ranks(), device
        return
    if device == "cuda":
        device = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield Ranks(dist.get_rank(), count, sharded), device
    finally:
        dist.destroy_process_group()


def _exchange() -> str:
    """The device on which numbers are exchanged."""
    return "cuda" if dist.get_backend() == "nccl" else "cpu"


def _units(stage: nn.Module) -> list[nn.Module]:
    """What is sharded by itself: layers, and within them the modulations, which are tabulated before all layers."""
    layers = [layer for module in stage.modules() if isinstance(module, nn.ModuleList) for layer in module]
    tabulated = [module for module in stage.modules() if isinstance(module, AdaLN)]
    return [unit for unit in (*tabulated, *layers) if any(p.requires_grad for p in unit.parameters())]


def _shard(unit: nn.Module) -> None:
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    frozen = {parameter for parameter in unit.parameters() if not parameter.requires_grad}
    fully_shard(unit, reshard_after_forward=False, ignored_params=frozen)
    unit.set_reshard_after_backward(False)  # pyrefly: ignore[not-callable]
    if hasattr(unit, "validate"):
        register_fsdp_forward_method(unit, "validate")

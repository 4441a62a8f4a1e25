"""Small tensors on their way to the model's device."""

from __future__ import annotations

import torch
from torch import Tensor


def upload(x: Tensor, device: torch.device) -> Tensor:
    """The tensor of the CPU on this device, without waiting for what the device still has to do.

    CUDA takes a copy of ordinary memory before the call returns, so the tensor may go away at once ("API
    synchronization behavior" in NVIDIA's documentation of its runtime). Other devices promise no such thing.
    """
    return x.to(device, non_blocking=device.type == "cuda")

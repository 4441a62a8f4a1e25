"""Small tensors on their way to the model's device."""

from __future__ import annotations

import torch
from torch import Tensor


def upload(x: Tensor, device: torch.device) -> Tensor:
    """A small CPU tensor on this device; where CUDA allows it, without waiting for the work that the device still has.

    CUDA copies ordinary (pageable) memory to a staging buffer before the call returns, so the tensor may be freed at
    once. For small copies it need not wait for the stream, though its documentation allows it to ("API synchronization
    behavior", NVIDIA's runtime API). Other devices make no such promise, so there the copy is a blocking one.
    """
    return x.to(device, non_blocking=device.type == "cuda")

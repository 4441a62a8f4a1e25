"""A model without its weights, for a process that checks requests and reads texts while others compute."""

from __future__ import annotations

from pathlib import Path

import torch

from ..checkpoint import find_checkpoint, load_networks
from ..model import ColaDLM
from ..tokenizer import load_tokenizer


def model_outline(path: str | Path | None = None) -> ColaDLM:
    """A checkpoint's tokenizer, sizes, settings and fingerprint. It takes no memory for weights, and cannot compute.

    Raises ValueError as `ColaDLM.from_pretrained` does.
    """
    checkpoint = find_checkpoint(path)
    vae, dit = load_networks(checkpoint, "meta", torch.float32)
    return ColaDLM(
        vae, dit, load_tokenizer(checkpoint.tokenizer_file), checkpoint.settings,
        checkpoint.name, checkpoint.fingerprint,
    )  # fmt: skip

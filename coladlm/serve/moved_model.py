"""A model that is loaded on the processor and moved to a device afterwards."""

from __future__ import annotations

from pathlib import Path

from ..checkpoint import find_checkpoint, load_networks
from ..hardware.devices import NARROW, choose_device, choose_dtype
from ..model import ColaDLM
from ..tokenizer import load_tokenizer


def moved_model(path: str | Path | None, device: str, dtype: str) -> ColaDLM:
    """A checkpoint as `ColaDLM.from_pretrained` loads it, by way of this machine's memory.

    For a device that is not there yet while the program begins, only its name, as on ZeroGPU: what moves a module there
    is replaced, and what reads a file into a device is not. Raises ValueError as `from_pretrained` does.

    dtype: "auto" is what `choose_dtype` makes of it on a GPU that has bfloat16, as all of ZeroGPU's do.
    """
    checkpoint = find_checkpoint(path)
    if dtype == "auto":
        dtype = "float32" if checkpoint.dit_config.txt_dim < NARROW else "bfloat16"
    vae, dit = load_networks(checkpoint, "cpu", choose_dtype(dtype, choose_device("cpu"), 0))
    return ColaDLM(
        vae.to(device), dit.to(device), load_tokenizer(checkpoint.tokenizer_file),
        checkpoint.settings, checkpoint.name, checkpoint.fingerprint,
    )  # fmt: skip

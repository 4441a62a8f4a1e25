"""Saves a checkpoint of the published form, whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from ..networks.config import check_pair
from ..networks.dit import BlockCausalDiT
from ..networks.text_vae import TextVAE
from ..paths import why_unwritable
from .form import DOCUMENTS, PARTS, WEIGHTS, first_line, more_of, norm_keys, rotary_frequencies
from .replaced_folder import replaced_folder
from .weights import CheckpointError


def save_checkpoint(
    folder: str | Path,
    vae: TextVAE,
    dit: BlockCausalDiT,
    tokenizer: Tokenizer,
    sampler: dict[str, Any] | None = None,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Writes a checkpoint of the published form, whole or not at all, and replaces the one that `folder` may hold.

    Matrices are stored in `dtype` (float32 or bfloat16), LayerNorms in float32. sampler: the content of sampler.json.
    Documents beside the checkpoint (a model card, its pictures, measured numbers) stay.
    Raises CheckpointError where a weight is not finite, where `folder` holds anything but a checkpoint, or where the
    files cannot be written; whatever was there before is then as it was.
    """
    folder = Path(folder)
    if dtype not in (torch.float32, torch.bfloat16):
        raise CheckpointError(f"{folder}: dtype is {dtype}, expected torch.float32 or torch.bfloat16")
    check_pair(vae.config, dit.config)
    documents = check_destination(folder)
    try:
        with replaced_folder(folder) as partial:
            for network, module in (("cola_vae", vae), ("cola_dit", dit)):
                (partial / network).mkdir()
                write_json(partial / network / "config.json", module.config.to_dict())
                state = _published_state(module, dtype, folder / network / WEIGHTS)
                save_file(state, partial / network / WEIGHTS, metadata={"format": "pt"})
            tokenizer.save(str(partial / "tokenizer.json"))
            if sampler is not None:
                write_json(partial / "sampler.json", sampler)
            for document in documents:
                shutil.copy2(document, partial)
    except (OSError, SafetensorError) as error:
        raise _unwritable(folder, first_line(error)) from error


def check_destination(folder: Path, parts: Collection[str] = PARTS, what: str = "a checkpoint") -> list[Path]:
    """The documents beside what `folder` holds, which stay when it is written anew: ask before a long training.

    parts: the names of what is replaced. Raises CheckpointError where `folder` holds anything else, and where nothing
    can be written.
    """
    if folder.exists() and not folder.is_dir():
        raise CheckpointError(f"{folder}: found a file, expected a folder or nothing")
    others = [entry for entry in folder.iterdir() if entry.name not in parts] if folder.is_dir() else []
    documents = [entry for entry in others if entry.suffix in DOCUMENTS and entry.is_file()]
    foreign = sorted(entry.name for entry in others if entry not in documents)
    if foreign:
        raise CheckpointError(f"{folder}: found {foreign[0]}{more_of(foreign)}, expected nothing but {what} to replace")
    refusal = why_unwritable(Path(os.path.realpath(folder)).parent)
    if refusal is not None:
        raise _unwritable(folder, refusal)
    return documents


def _unwritable(folder: Path, why: str) -> CheckpointError:
    return CheckpointError(f"{folder}: cannot be written ({why}), expected free space and permission")


def _published_state(module: nn.Module, dtype: torch.dtype, file: Path) -> dict[str, Tensor]:
    """What a file of weights holds, on the CPU. With the rotary frequencies, which the published code asks for."""
    norms = norm_keys(module)
    state = {}
    for key, tensor in module.state_dict().items():
        if not tensor.isfinite().all():
            raise CheckpointError(f"{file}: {key} would hold NaN or infinity, expected finite numbers")
        state[key] = tensor.to("cpu", torch.float32 if key in norms else dtype).contiguous()
    if isinstance(module, BlockCausalDiT):
        for layer in range(module.config.num_layers):
            state[f"blocks.{layer}.msa.rope.rope.freqs"] = rotary_frequencies(module.config)
    return state


def write_json(file: Path, data: dict[str, Any]) -> None:
    """Writes an object as JSON. Raises CheckpointError for what JSON does not know, such as NaN."""
    try:
        text = json.dumps(data, indent=2, allow_nan=False)
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{file.name}: {error}, expected plain data with finite numbers") from error
    file.write_text(text + "\n", encoding="utf-8")

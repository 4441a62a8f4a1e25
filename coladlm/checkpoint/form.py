"""The published form of a checkpoint: names of its files and of what is in them, for finding, loading and saving."""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn

from ..networks.config import DiTConfig, TextVAEConfig
from ..networks.dit import ROPE_THETA
from ..networks.layers import LayerNorm, rotary_angles

CONFIGS = {"cola_vae": TextVAEConfig, "cola_dit": DiTConfig}
LEVEL = "cola_dlm"
DOCUMENTS = {".md", ".png", ".svg", ".json"}  # endings of what may lie beside a checkpoint in its folder
PARTS = {*CONFIGS, "tokenizer.json", "sampler.json"}
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
# The frequencies of the rotary embedding: a checkpoint may carry them in every layer of its DiT, or leave them out.
ROTARY = re.compile(r"blocks\.\d+\.msa\.rope\.rope\.freqs")


def norm_keys(module: nn.Module) -> set[str]:
    """The keys of what is float32 in every compute dtype: the LayerNorms, and buffers, the mean latents of tokens."""
    norms = [(name, norm) for name, norm in module.named_modules() if isinstance(norm, LayerNorm)]
    return {f"{name}.{key}" for name, norm in norms for key in norm.state_dict()} | dict(module.named_buffers()).keys()


def rotary_frequencies(config: DiTConfig) -> Tensor:
    """(rope_dim / 2,) float32: the angles of position 1."""
    return rotary_angles(torch.tensor(1), config.rope_dim, ROPE_THETA).float()


def more_of(keys: list[str]) -> str:
    return f" (and {len(keys) - 1} more)" if len(keys) > 1 else ""


def first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]

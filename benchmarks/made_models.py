"""Models that benchmarks of the engine make: the published size with random weights, and one that is all depth."""

from __future__ import annotations

import dataclasses

import torch
from torch import nn

from coladlm import ColaDLM
from coladlm.checkpoint.skeleton import without_weights
from coladlm.networks.config import DiTConfig
from coladlm.networks.dit import BlockCausalDiT
from coladlm.networks.int8 import SMALLEST, Int8Linear
from coladlm.networks.layers import Linear
from coladlm.networks.text_vae import TextVAE
from coladlm.rounding import dit_to_int8

PUBLISHED = DiTConfig(txt_dim=2048, emb_dim=2048, heads=16, head_dim=128, num_layers=24, block_size=16)


def published_model(bundled: ColaDLM, device: torch.device, dtype: torch.dtype, layers: int) -> ColaDLM:
    """A DiT of the published size with random weights, and a VAE of the bundled kind for its blocks."""
    with without_weights():
        dit = BlockCausalDiT(dataclasses.replace(PUBLISHED, num_layers=layers)).to(dtype)
    dit = dit.to_empty(device=device).requires_grad_(False)
    drawn = 0.02 * torch.randn(PUBLISHED.txt_dim, PUBLISHED.hidden_dim, generator=torch.Generator().manual_seed(0))
    drawn = drawn.flatten().to(device, dtype)
    for name, parameter in dit.named_parameters():
        if "norm" in name:
            parameter.data = torch.full_like(parameter, float(name.endswith("weight")), dtype=torch.float32)
        else:  # the same numbers in each layer: nobody reads what comes of them
            parameter.copy_(drawn[: parameter.numel()].view_as(parameter))
    vae = TextVAE(dataclasses.replace(bundled.vae.config, block_size=PUBLISHED.block_size)).requires_grad_(False)
    for module in vae.modules():
        if isinstance(module, (nn.Linear, nn.Embedding, nn.Conv1d)):
            module.to(dtype)
    return ColaDLM(vae.to(device), dit, bundled.tokenizer, name="published size, random weights")


def linears(model: ColaDLM) -> list[Linear | Int8Linear]:
    """The linear layers that every step runs through."""
    dit = model.dit
    named = [pair for network in (dit.txt_in, dit.blocks, dit.txt_out) for pair in network.named_modules()]
    return [layer for name, layer in named if isinstance(layer, (Linear, Int8Linear)) and ".ada." not in name]


def narrow(model: ColaDLM) -> ColaDLM:
    """A model of the same depth and minimal width: what is left of a step is the host's time. With int8 weights
    where the model has them, for which its layers must not be too narrow.
    """
    in_int8 = any(isinstance(layer, Int8Linear) for layer in linears(model))
    width = SMALLEST if in_int8 else 32 if model.dit.config.token_output else 16  # room for its coefficients
    config = dataclasses.replace(model.dit.config, txt_dim=width, emb_dim=width, heads=1, head_dim=width, rope_dim=8)
    dit = BlockCausalDiT(config).requires_grad_(False).to(model.device)
    for module in dit.modules():
        if isinstance(module, Linear):
            module.to(model.dtype)
    if in_int8:
        dit_to_int8(dit, model.dtype)
    return ColaDLM(model.vae, dit, model.tokenizer)

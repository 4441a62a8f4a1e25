"""Models whose DiT names tokens, made of ones whose DiT does not."""

import copy
import dataclasses

import torch

from coladlm import ColaDLM
from coladlm.networks.dit import BlockCausalDiT


def with_tokens(model, read: bool = False) -> ColaDLM:
    """The model with an output layer that names tokens, means drawn at random. read: its input layer reads them."""
    config = dataclasses.replace(model.dit.config, token_output=model.vae.config.vocab_size, token_input=read)
    dit = BlockCausalDiT(config).requires_grad_(False)
    kept = {key: value for key, value in model.dit.state_dict().items() if not key.startswith("txt_out.")}
    dit.load_state_dict(dit.state_dict() | kept)
    tokens = dit.tokens
    tokens.means.normal_(generator=torch.Generator().manual_seed(0))
    tokens.spread.fill_(0.01)
    if read:
        dit.txt_in["tokens"].prior.normal_(generator=torch.Generator().manual_seed(1))
    return ColaDLM(copy.deepcopy(model.vae), dit, model.tokenizer, model.defaults)

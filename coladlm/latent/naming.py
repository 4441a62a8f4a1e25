"""Which tokens a DiT that names them expects in noisy states of a block, after the text before it."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..model import ColaDLM
from ..networks.layers import attention, block_causal_mask
from .branch import History


def names_tokens(model: ColaDLM) -> bool:
    """Whether its DiT does (see `networks/token_output.py`)."""
    return model.dit.config.token_output > 0


@torch.inference_mode()
def name_states(model: ColaDLM, history: History, states: np.ndarray, t: np.ndarray) -> Tensor:
    """The probabilities (m, b, vocab), on the CPU, of the tokens of m states (m, b, d) at times t (m, b) in [0, 1000].

    No token is left out (min-p), and nothing guides. Raises ValueError for a model that names none.
    """
    if not names_tokens(model):
        raise ValueError("the DiT of this model gives velocities, expected one that names tokens")
    dit, n, b = model.dit, len(history.latents), states.shape[1]
    z, positions = torch.as_tensor(states).to(model.device), torch.arange(n + b, device=model.device)
    each = torch.as_tensor(t).to(model.device).flatten()
    times, index = torch.unique(F.pad(each, (1, 0)), return_inverse=True)  # the first is 0, that of the history
    modulations = dit.modulations(times)
    kept: list[tuple[Tensor, Tensor]] = []

    def keep(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        kept.append((k, v))
        return attention(q, k, v, block_causal_mask(n, b, model.device))

    def after(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        past_k, past_v = (x.expand(len(q), -1, -1, -1) for x in kept[layer])
        return attention(q, torch.cat((past_k, k), 1), torch.cat((past_v, v), 1))

    if n:
        dit.hidden(history.latents[None].to(model.device), modulations.at(0), dit.rope(positions[:n]), keep)
    at_times = modulations.at(index[1:].view(t.shape))
    hidden = dit.hidden(z, at_times, dit.rope(positions[n:]), after if n else _alone)
    return dit.token_logits(hidden, at_times, z).softmax(-1).cpu()


def _alone(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return attention(q, k, v)

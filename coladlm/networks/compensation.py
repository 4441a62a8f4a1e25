"""Rounding of weights in which each column makes up for the errors of those before it.

What counts is not how far a weight is off but how far the product is, on the inputs that the layer really gets. These
are correlated, so the error of one input channel can be taken back by the channels that are not rounded yet (Frantar et
al. 2022, arXiv:2210.17323, algorithm 1). That needs the second moments of the inputs, which `Watched` layers collect
while the model runs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .layers import Linear

DAMPING = 1e-3  # of the mean of the moments' diagonal: what is added to it
COLUMNS = 128  # whose errors are handed on together to all later columns


class Watched(nn.Module):
    """A linear layer that adds up the second moments of its inputs, `moments` (in, in)."""

    def __init__(self, layer: Linear) -> None:
        super().__init__()
        self.layer = layer
        self.moments = torch.zeros(layer.in_features, layer.in_features, device=layer.weight.device)

    def forward(self, x: Tensor) -> Tensor:
        self._note(x)
        return self.layer(x)

    def gelu_tanh(self, x: Tensor) -> Tensor:
        """The layer with a tanh-GELU behind it."""
        self._note(x)
        return self.layer.gelu_tanh(x)

    def _note(self, x: Tensor) -> None:
        x = x.reshape(-1, x.shape[-1]).float()
        self.moments.addmm_(x.T, x)


def watch(network: nn.Module, least: int) -> None:
    """Puts a watched layer in the place of each linear layer with at least so many channels in and out."""
    for name, layer in list(network.named_modules()):
        if isinstance(layer, Linear) and min(layer.in_features, layer.out_features) >= least:
            parent, _, child = name.rpartition(".")
            network.get_submodule(parent).add_module(child, Watched(layer))


def compensated(weight: Tensor, scale: Tensor, moments: Tensor, most: int) -> Tensor:
    """Weights (out, in) in whole steps of `scale` (out,), from -most to most, as float32: of all roundings one whose
    product with inputs of these second moments (in, in) is near to that of the weights. All zero moments: the nearest.
    """
    weight, size, count = weight.float() / scale[:, None], moments.diagonal().mean(), weight.shape[1]
    damped = moments + (DAMPING * size).clamp(min=1e-12) * torch.eye(count, device=weight.device)
    factor = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(damped)), upper=True)
    rounded = torch.empty_like(weight)
    for begin in range(0, count, COLUMNS):
        end = min(begin + COLUMNS, count)
        errors = torch.zeros(len(weight), end - begin, device=weight.device)
        for column in range(begin, end):
            rounded[:, column] = weight[:, column].round().clamp(-most, most)
            error = (weight[:, column] - rounded[:, column]) / factor[column, column]
            weight[:, column:end] -= error[:, None] * factor[column, column:end]
            errors[:, column - begin] = error
        weight[:, end:] -= errors @ factor[begin:end, end:]
    return rounded

"""What several tests of the sampler share."""

import pytest
import torch

from coladlm.networks.layers import FEW_ROWS
from coladlm.networks.slot_cache import attended, steady

from ..token_models import with_tokens


@pytest.fixture(scope="module")
def one(model):
    """A model that names tokens, some of which are likelier than others."""
    torch.manual_seed(0)
    made = with_tokens(model)
    with torch.no_grad():
        made.dit.tokens.proj.weight.normal_(std=0.5)
    return made


@pytest.fixture(scope="session")
@torch.inference_mode()
def rows_stay(bundled) -> bool:
    """Are a row of a product and a query of an attention the same to the last bit whatever stands beside them here?"""
    draw = torch.Generator().manual_seed(0)
    layer = bundled.dit.layers[0].mlp.proj_in
    x = torch.randn(96, layer.in_features, generator=draw)
    whole = layer(x)
    stays = all(torch.equal(layer(x[:n]), whole[:n]) for n in (1, 2, 3, 4, 8, 12, 48))
    for length in range(4, 300, 16):
        most = steady(length + 200)
        q, k, v = (torch.randn(3, n, 4, 64, generator=draw) for n in (96, most, most))
        k, v = k.transpose(1, 2), v.transpose(1, 2)
        mask = torch.zeros(1, 1, 1, most)
        mask[..., length:] = -torch.inf
        wanted = attended(q, k, v, mask)
        span = steady(length)
        for n in (1, FEW_ROWS, 8, 48, 96):
            found = attended(q[:1, :n], k[:1, :, :span], v[:1, :, :span], mask[..., :span])
            stays &= torch.equal(found, wanted[:1, :n])
    return stays

"""What a DiT expects of noisy states is what its velocity there is made of."""

import numpy as np
import pytest
import torch

from coladlm.latent.branch import History
from coladlm.latent.naming import name_states

from ..token_models import with_tokens


@pytest.mark.parametrize("read", [False, True])
@pytest.mark.parametrize("n", [0, 8])
def test_probabilities_give_the_velocity_of_the_whole_text(model, n, read):
    one = with_tokens(model, read)
    with torch.no_grad():
        one.dit.tokens.proj.weight.normal_(std=0.3)
    text = one.encode_texts(["Once upon a time there was a little cat and a rainy day"])[0]
    b, d = one.block_size, one.latent_dim
    states, t = torch.randn(3, b, d), 50 + 950 * torch.rand(3, b)
    t[1] = 1000.0  # pure noise
    found = name_states(one, History(text.latents[:n], text.padded_ids[:n]), states.numpy(), t.numpy())
    assert found.shape == (3, b, one.vae.config.vocab_size)
    torch.testing.assert_close(found.sum(-1), torch.ones(3, b))
    whole = torch.cat((text.latents[:n].expand(3, -1, -1), states), 1)
    with torch.inference_mode():
        velocity = one.dit(whole, torch.cat((torch.zeros(3, n), t), 1))[:, n:]
        c = one.dit.tokens.coefficients(t.flatten() / 1000).view(3, b, -1)
        wanted = c[..., :1] * states + c[..., 1:2] * (found @ one.dit.tokens.means)
    torch.testing.assert_close(velocity, wanted, atol=1e-4, rtol=1e-4)


def test_a_model_that_names_no_tokens_is_refused(model):
    history = History(torch.zeros(0, model.latent_dim), torch.zeros(0, dtype=torch.long))
    states, t = np.zeros((1, model.block_size, model.latent_dim)), np.ones((1, model.block_size))
    with pytest.raises(ValueError, match="gives velocities, expected one that names tokens"):
        name_states(model, history, states, t)

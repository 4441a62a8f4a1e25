"""What comes back of a text: posteriors without padding, and what the decoder reads in them."""

import pytest
import torch

from coladlm.latent.round_trip import posteriors, read_back, read_latents

TEXT = "The cat sat by the door."


def test_the_posteriors_are_those_of_the_text_without_padding(model):
    found, whole = posteriors(model, TEXT), model.encode(TEXT)
    assert found.ids == model.tokenize(TEXT)
    count = -(-len(found.ids) // model.patch_size)
    torch.testing.assert_close(torch.from_numpy(found.mean), whole.mean[:count])
    torch.testing.assert_close(torch.from_numpy(found.std), (0.5 * whole.logvar[:count]).exp())


def test_what_is_read_back_is_what_the_decoder_makes_of_the_means(model):
    back = read_back(model, TEXT)
    p = model.decode(model.vae.scale(model.encode(TEXT).mean)).softmax(-1)[: len(back.posteriors.ids)]
    assert back.read == p.argmax(-1).tolist()
    assert back.probabilities == pytest.approx(p.amax(-1).tolist(), rel=1e-4)
    assert len(back.drawn) == len(back.read)


def test_latents_of_part_of_a_block_are_read_as_in_the_block_filled_up_with_zeros(model):
    z = torch.randn(model.block_size + 1, model.latent_dim, generator=torch.Generator().manual_seed(0))
    ids, p = read_latents(model, z.tolist())
    filled = torch.cat((z, torch.zeros(model.block_size - 1, model.latent_dim)))
    logits = model.decode(filled)[: len(z) * model.patch_size]
    assert ids == logits.argmax(-1).tolist()
    assert p == pytest.approx(logits.softmax(-1).amax(-1).tolist(), rel=1e-4)

"""The VAE's objective: what is padded, what is masked, what is pulled, and that it learns a few words by heart."""

import math
from types import SimpleNamespace

import pytest
import torch

from coladlm.networks.config import TextVAEConfig
from coladlm.networks.text_vae import Posterior
from coladlm.train.loop import generator_for
from coladlm.train.vae import VAEObjective, VAEStage, _Random

CONFIG = TextVAEConfig(vocab_size=40, encoder_num_blocks=1, decoder_num_blocks=1, dim=32, ffn_dim=64, num_heads=2,
                       latent_dim=8, block_size=4, post_norm=False)  # fmt: skip
PAD = 2


def stage(**objective) -> VAEStage:
    torch.manual_seed(0)
    meaning = torch.nn.functional.layer_norm(torch.randn(40, 8), (8,))
    return VAEStage(CONFIG, meaning, PAD, VAEObjective(**objective))


def test_it_learns_to_restore_tokens_and_leans_on_meaning():
    model = stage(beta=0.0, pull_weight=1.0)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    ids = torch.randint(3, 40, (16, 16), generator=torch.Generator().manual_seed(0))
    first = model.validate([ids], generator_for(0, 0, "cpu"))
    for step in range(90):
        loss = model(ids, generator_for(0, step, "cpu"))["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    last = model.validate([ids], generator_for(0, 0, "cpu"))
    assert first["accuracy_0.0"] < 0.2 and last["accuracy_0.0"] > 0.95
    assert last["accuracy_0.6"] > 0.6
    assert last["pull"] < 0.5 * first["pull"]


def test_padded_blocks_keep_their_first_token_and_end_in_padding():
    model = stage(padded_blocks=1.0)
    ids = torch.full((64, 16), 7)
    found = model.pad_some_blocks(ids, _Random(ids, generator_for(0, 0, "cpu"))).view(-1, 4) == PAD
    assert not found[:, 0].any() and found[:, -1].all()
    assert (found.int().diff(dim=1) >= 0).all()  # once padding, padding to the block's end
    assert {1, 2, 3} == set(found.sum(1).tolist())


def test_the_parts_of_the_loss_add_up():
    model = stage(beta=0.01, pull_weight=0.3)
    parts = model(torch.randint(3, 40, (4, 16)), generator_for(0, 0, "cpu"))
    expected = parts["restored"] + 0.01 * parts["divergence"] + 0.3 * parts["pull"]
    assert parts["loss"].item() == pytest.approx(expected.item(), rel=1e-5)


def by_hand(**objective):
    """The parts of one batch's loss beside all they are made of, with networks that answer what we know."""
    model = stage(**({"padded_blocks": 0.0} | objective))
    random = torch.Generator().manual_seed(1)
    ids = torch.randint(3, 40, (4, 8), generator=random)
    mean, logvar = torch.randn(4, 8, 8, generator=random), torch.randn(4, 8, 8, generator=random) - 1
    logits = torch.randn(4, 8, 40, generator=random)
    read = []

    def encode(shown):
        read.append(shown)
        return Posterior(mean, logvar)

    model.vae.encode, model.vae.decode = encode, lambda z: logits
    parts = {name: value.item() for name, value in model(ids, generator_for(0, 0, "cpu")).items()}
    masked = read[0] == model.vae.mask_id
    places = [(row, at) for row in range(4) for at in range(8)]
    # -log of the softmax at the true token, and the mean square distance to the true token's meaning
    surprise = {(r, a): math.log(sum(math.exp(x) for x in logits[r, a].tolist())) - logits[r, a, ids[r, a]].item()
                for r, a in places}  # fmt: skip
    distance = {(r, a): sum((m - w) ** 2 for m, w in zip(mean[r, a].tolist(), model.meaning[ids[r, a]].tolist(),
                                                         strict=True)) / 8 for r, a in places}  # fmt: skip
    return SimpleNamespace(parts=parts, ids=ids, read=read[0], masked=masked, mean=mean, logvar=logvar,
                           surprise=surprise, distance=distance)  # fmt: skip


def test_the_divergence_is_that_of_two_gaussians():
    found = by_hand()
    each = zip(found.mean.flatten().tolist(), found.logvar.flatten().tolist(), strict=True)
    total = sum(0.5 * (m**2 + math.exp(v) - 1 - v) for m, v in each)
    assert found.parts["divergence"] == pytest.approx(total / 32, rel=1e-4)  # a latent's sum, over 32 latents


def test_only_tokens_that_the_encoder_saw_are_pulled_to_their_meaning():
    found = by_hand(mask_rows=1.0, mask_tokens=0.4)
    seen = [pull for place, pull in found.distance.items() if not found.masked[place]]
    assert 0 < len(seen) < 32
    assert found.parts["pull"] == pytest.approx(sum(seen) / len(seen), rel=1e-4)


@pytest.mark.parametrize("mask_weight", [0.5, 3.0])
def test_masked_tokens_are_to_be_restored_with_their_own_weight(mask_weight):
    found = by_hand(mask_rows=1.0, mask_tokens=0.4, mask_weight=mask_weight)
    assert 0 < found.masked.sum() < 32
    total = sum((mask_weight if found.masked[place] else 1.0) * lost for place, lost in found.surprise.items())
    assert found.parts["restored"] == pytest.approx(total / 32, rel=1e-4)


def test_the_encoder_reads_the_mask_in_some_tokens_of_some_rows():
    found = by_hand(mask_rows=1.0, mask_tokens=0.4)
    assert 5 < found.masked.sum() < 20  # 0.4 of 32 tokens are 13
    assert torch.equal(found.read[~found.masked], found.ids[~found.masked])
    rows = by_hand(mask_rows=0.5, mask_tokens=1.0).masked.float().mean(1).tolist()
    assert set(rows) == {0.0, 1.0}
    assert not by_hand(mask_rows=0.0, mask_tokens=1.0).masked.any()


def test_the_posterior_learns_its_variance_from_rows_that_use_it():
    model = stage(own_noise_rows=1.0, beta=0.0)
    model(torch.randint(3, 40, (4, 16)), generator_for(0, 0, "cpu"))["restored"].backward()
    logvar_rows = model.vae.encoder.final_layer.weight.grad[8:]
    assert logvar_rows.abs().sum() > 0


def test_the_same_generator_gives_the_same_loss():
    model, ids = stage(), torch.randint(3, 40, (4, 16))
    one, two, other = (model(ids, generator_for(0, step, "cpu"))["loss"].item() for step in (1, 1, 2))
    assert one == two != other


def test_noise_has_one_size_a_row_or_one_a_block():
    ids = torch.zeros(64, 16, dtype=torch.long)
    by_row = stage(noise=0.5).noise_sizes(ids, _Random(ids, generator_for(0, 0, "cpu")))[..., 0]
    by_block = stage(noise=0.5, noise_by_block=1.0).noise_sizes(ids, _Random(ids, generator_for(0, 0, "cpu")))[..., 0]
    assert all(len(row.unique()) == 1 for row in by_row)
    assert all(len(block.unique()) == 1 for block in by_block.reshape(-1, 4))
    assert by_block[:, 0].ne(by_block[:, 4]).all()
    assert 0.4 < by_row.max() <= 0.5 and by_row.min() < 0.1

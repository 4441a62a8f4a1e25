"""The fit of a text is the flow-matching error of its latents."""

import pytest
import torch

from coladlm.latent import fit, lay_out
from coladlm.latent.fit import FIT_TIMES, text_misfits, unlikelihoods, velocity_error
from coladlm.sampling.flow import interpolant
from coladlm.sampling.randomness import fit_noise

from ..token_models import with_tokens

TEXT = "She said hello to the bird and the bird sang a song."


def latents(model):
    return lay_out(model, [model.tokenize(TEXT)])[0].latents


def test_the_error_of_a_first_block_is_that_of_its_velocity(model):
    b, z = model.block_size, latents(model)[: model.block_size]
    error = velocity_error(model, z[None], torch.ones(b, dtype=torch.bool), seed=3)[0]
    wanted = torch.zeros(b)
    for index, time in enumerate(FIT_TIMES):
        noise, t = fit_noise(3, index, 0, (b, model.latent_dim)), torch.full((b,), time)
        velocity = model.velocity(interpolant(z, noise, t), t)
        wanted += (velocity - (noise - z)).square().mean(-1) / len(FIT_TIMES)
    torch.testing.assert_close(error, wanted, rtol=0, atol=1e-4)


def test_a_block_is_asked_with_the_blocks_before_it_and_none_after(model):
    z = latents(model)
    n, b = len(z), model.block_size
    asked = torch.zeros(n, dtype=torch.bool)
    asked[b : 2 * b] = True
    error = velocity_error(model, z[None], asked)[0]
    changed_later, changed_before = z.clone(), z.clone()
    changed_later[2 * b :] += 1
    changed_before[:b] += 1
    torch.testing.assert_close(velocity_error(model, changed_later[None], asked)[0], error, rtol=0, atol=1e-5)
    assert not torch.allclose(velocity_error(model, changed_before[None], asked)[0], error, rtol=0, atol=1e-4)


def test_only_asked_positions_have_an_error(model):
    z = latents(model)
    asked = torch.zeros(len(z), dtype=torch.bool)
    asked[5] = asked[7] = True
    error = velocity_error(model, z[None], asked)[0]
    assert (error[asked] > 0).all() and (error[~asked] == 0).all()


def test_a_text_alone_equals_the_text_in_a_batch(model):
    z = latents(model)
    asked = torch.arange(len(z)) >= 6
    both = velocity_error(model, torch.stack((z, z.flip(0))), asked)
    torch.testing.assert_close(velocity_error(model, z[None], asked)[0], both[0], rtol=0, atol=1e-4)


@pytest.mark.parametrize("at_once", [1, 40, 10_000])
def test_draws_are_the_mean_of_their_seeds_however_many_are_made_at_once(model, monkeypatch, at_once):
    z = latents(model)
    texts, asked = torch.stack((z, z.flip(0))), torch.arange(len(z)) >= 6
    wanted = torch.stack([velocity_error(model, texts, asked, seed) for seed in (4, 5, 6)]).mean(0)
    monkeypatch.setattr(fit, "AT_ONCE", at_once)
    torch.testing.assert_close(velocity_error(model, texts, asked, 4, draws=3), wanted, rtol=0, atol=1e-4)


def test_the_misfit_of_a_text_is_that_of_its_own_tokens_alone(model):
    ids = model.tokenize(TEXT)
    z = latents(model)
    asked = torch.arange(len(z)) < -(-len(ids) // model.patch_size)
    wanted = float(velocity_error(model, z[None], asked)[0][asked].mean())
    alone, beside, nothing = text_misfits(model, [ids, [*ids, *ids], []])
    assert abs(alone - wanted) < 1e-4 and beside != alone and nothing != nothing


def test_the_misfit_after_another_text_is_that_of_the_text_in_its_place(model):
    before, ids = model.tokenize("One day, "), model.tokenize(TEXT)
    layout = lay_out(model, [[*before, *ids]])[0]
    places = torch.arange(len(layout.latents)) * model.patch_size
    asked = (places >= len(before)) & (places < len(before) + len(ids))
    wanted = float(velocity_error(model, layout.latents[None], asked)[0][asked].mean())
    assert abs(text_misfits(model, [ids], before)[0] - wanted) < 1e-4


def test_where_tokens_are_named_a_text_has_a_probability_token_by_token(model):
    """Those of all next tokens add up to 1, and that of a text is the product of its own."""
    one, (*before, last) = with_tokens(model), model.tokenize(TEXT)[:9]  # whole blocks and a token
    with torch.no_grad():
        one.dit.tokens.proj.weight.normal_(std=0.5)
    every = [[token] for token in range(one.vae.config.vocab_size)]
    shares = torch.tensor(unlikelihoods(one, every, before)).neg().exp()
    assert shares.sum().item() == pytest.approx(1, abs=1e-4) and shares.max() > 2 / len(every)
    (both,) = unlikelihoods(one, [[*before[-1:], last]], before[:-1])
    (first,) = unlikelihoods(one, [before[-1:]], before[:-1])
    assert both == pytest.approx(first - shares[last].log().item(), abs=1e-3)


def test_what_stands_later_has_no_say_in_how_unlikely_a_token_is(model):
    one, (*before, last) = with_tokens(model), model.tokenize(TEXT)[:9]  # whole blocks and a token
    (alone,) = unlikelihoods(one, [[last]], before)
    (beside, _) = unlikelihoods(one, [[last], [last, *before]], before)
    assert beside == pytest.approx(alone, abs=1e-4)


def test_where_no_tokens_are_named_it_is_the_error_of_the_velocity(model):
    ids = model.tokenize(TEXT)
    assert unlikelihoods(model, [ids[6:], ids[7:]], ids[:6]) == text_misfits(model, [ids[6:], ids[7:]], ids[:6])


@pytest.mark.parametrize(
    ("likely", "unlikely"),
    [("The girl ran to the beach.", "The girl and ran to the beach."),
     ("Once upon a time, there was a goat.", "Once upon a time, there was was a goat."),
     ("Tom was happy because his mom was there.", "Tom was proud of because his mom was there.")],
)  # fmt: skip
def test_the_bundled_model_finds_a_sentence_likelier_than_one_that_is_none(bundled, likely, unlikely):
    first, second = unlikelihoods(bundled, [bundled.tokenize(text) for text in (likely, unlikely)])
    assert first + 1 < second

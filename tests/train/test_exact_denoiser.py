"""The exact denoiser: Bayes' rule by hand, and where it may teach a DiT."""

import math

import pytest
import torch

from coladlm.baseline.transformer import Transformer, TransformerConfig
from coladlm.networks.config import DiTConfig, TextVAEConfig
from coladlm.networks.text_vae import TextVAE
from coladlm.train.dit import DiTObjective, DiTStage
from coladlm.train.exact_denoiser import ExactDenoiser, token_means

BLOCK, PAD, START, VOCABULARY, CHANNELS = 4, 2, 1, 50, 8
VAE = TextVAEConfig(vocab_size=VOCABULARY, encoder_num_blocks=1, decoder_num_blocks=1, dim=16, ffn_dim=32, num_heads=2,
                    latent_dim=CHANNELS, block_size=BLOCK)  # fmt: skip
DIT = DiTConfig(txt_in_channels=CHANNELS, txt_out_channels=CHANNELS, block_size=BLOCK, txt_dim=32, emb_dim=32, heads=2,
                head_dim=16, num_layers=2, rope_dim=12)  # fmt: skip


def exact_denoiser(spread: float = 0.3) -> ExactDenoiser:
    torch.manual_seed(3)
    network = Transformer(TransformerConfig(VOCABULARY, 32, 1, 2, 48))
    torch.nn.init.normal_(network.embedding.weight, std=1.0)
    shares = torch.rand(VOCABULARY)
    return ExactDenoiser(network, START, torch.randn(VOCABULARY, CHANNELS), spread, shares / shares.sum())


def taught_stage(**objective) -> DiTStage:
    torch.manual_seed(0)
    return DiTStage(DIT, TextVAE(VAE), PAD, DiTObjective(**objective), exact_denoiser())


def test_the_guess_is_the_rule_of_bayes():
    """Against the densities written out, one token and one channel after another."""
    exact, t = exact_denoiser(), 0.6
    state, prior = torch.randn(CHANNELS), torch.randn(VOCABULARY).log_softmax(-1)
    variance = t**2 + (1 - t) ** 2 * 0.3
    density = torch.stack([torch.distributions.Normal((1 - t) * mean, math.sqrt(variance)).log_prob(state).sum()
                           for mean in exact.means])  # fmt: skip
    expected = (prior + density).softmax(-1)
    # E[z | state, token] of two normal variables that add up to the state
    given = exact.means + (1 - t) * 0.3 / variance * (state - (1 - t) * exact.means)
    posterior, clean = exact.guess(state[None], torch.tensor([[t]]), prior[None])
    torch.testing.assert_close(posterior[0].exp(), expected, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(clean[0], expected @ given, atol=1e-5, rtol=1e-5)


def test_noise_alone_tells_nothing_and_a_clean_state_tells_the_token():
    exact, prior = exact_denoiser(1e-4), torch.randn(2, VOCABULARY).log_softmax(-1)
    states = torch.stack((torch.randn(CHANNELS), 0.999 * exact.means[7]))
    posterior, _ = exact.guess(states, torch.tensor([[1.0], [0.001]]), prior)
    torch.testing.assert_close(posterior[0], prior[0])
    assert posterior[1].argmax() == 7 and posterior[1, 7] > -1e-3


def test_the_prior_reads_what_comes_before_and_no_more():
    exact, ids = exact_denoiser(), torch.randint(3, VOCABULARY, (1, 8))
    other = ids.clone()
    other[0, 4] = 3 if ids[0, 4] != 3 else 4
    same = (exact.prior(ids) - exact.prior(other)).abs().amax(-1)[0] < 1e-6
    assert same[:5].all() and not same[5:].any()
    torch.testing.assert_close(exact.prior(ids).exp().sum(-1), torch.ones(1, 8))


def test_the_mean_latents_are_those_of_the_text():
    torch.manual_seed(0)
    vae, rows = TextVAE(VAE), [torch.randint(3, 20, (4, 16)), torch.randint(3, 20, (2, 8))]
    means, spread, shares = token_means(vae, PAD, iter(rows))
    z = torch.cat([vae.scale(vae.encode(ids).mean).flatten(0, 1) for ids in rows])
    ids = torch.cat([ids.flatten() for ids in rows])
    torch.testing.assert_close(means[5], z[ids == 5].mean(0))
    assert spread == pytest.approx((z - means[ids]).square().mean().item(), rel=1e-3)
    assert shares[5].item() == pytest.approx((ids == 5).float().mean().item()) and shares[30] == 0
    alone = torch.full((1, BLOCK), PAD)
    alone[0, 0] = 30
    torch.testing.assert_close(means[30], vae.scale(vae.encode(alone).mean)[0, 0])


def noised_rows(stage: DiTStage, rows: int = 32, n: int = 32):
    generator = torch.Generator().manual_seed(4)
    ids = torch.randint(3, VOCABULARY, (rows, n), generator=generator)
    ids[:, -3:] = PAD
    return ids, stage.noise(torch.randn(rows, n, CHANNELS, generator=generator), generator)


def test_it_teaches_where_a_block_is_finished_before_a_position_and_noise_after_it():
    stage = taught_stage(single_rows=0.3, wide_rows=0.2, pinned_blocks=0.3, history_dropped=0.3)
    ids, noised = noised_rows(stage)
    exact, last, seen = stage.exact(noised, ids), len(noised.times) - 1, set()
    for row in range(len(ids)):
        for i in range(ids.shape[1]):
            start = i // BLOCK * BLOCK
            before, after = noised.index[row, start:i], noised.index[row, i + 1 : start + BLOCK]
            history = bool(noised.history[row]) or i == start
            in_line = bool((before == 0).all() and (after == last).all()) and history
            single, in_line = bool(noised.sizes[row] == 1), in_line and bool(noised.sizes[row] <= BLOCK)
            expected = (single or in_line) and bool(noised.free[row, i]) and ids[row, i] != PAD
            assert exact[row, i] == expected
            seen.add((single, bool(noised.history[row]), bool(expected)))
    assert len(seen) == 8


def test_what_is_taught_is_a_share_of_its_guess_and_the_truth_elsewhere():
    stage = taught_stage(single_rows=0.5, history_dropped=0.4, taught=0.7, copies=2)
    ids, noised = noised_rows(stage, rows=6)
    exact, read = stage.exact(noised, ids), stage.teacher.read(ids)
    taught = stage.taught_velocity(noised, ids, read)
    posteriors, _ = stage.teach(noised, read, exact.flatten().nonzero()[:, 0])
    assert torch.equal(taught[~exact], noised.velocity[~exact])
    prior = stage.teacher.prior(ids)
    kinds = set()
    for (row, i), posterior_there in zip(exact.nonzero().tolist(), posteriors, strict=True):
        t = noised.times[noised.index[row, i]]
        known = prior[row % 6, i] if noised.history[row] else stage.teacher.unknown
        posterior, clean = stage.teacher.guess(noised.noisy[row, i][None], t.view(1, 1), known[None])
        velocity = (noised.noisy[row, i] - clean[0]) / t
        expected = 0.7 * velocity + 0.3 * noised.velocity[row, i]
        torch.testing.assert_close(taught[row, i], expected, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(posterior_there, posterior[0], atol=1e-4, rtol=1e-4)
        kinds.add((row // 6, bool(noised.history[row])))
    assert len(kinds) == 4


def test_a_teacher_that_is_not_listened_to_changes_nothing():
    ids = torch.randint(3, VOCABULARY, (4, 16), generator=torch.Generator().manual_seed(1))
    stage = taught_stage(single_rows=0.5, taught=0.0)
    with_teacher = stage(ids, torch.Generator().manual_seed(1))
    stage.teacher = None
    torch.testing.assert_close(with_teacher, stage(ids, torch.Generator().manual_seed(1)))


def test_the_token_head_is_taught_the_posterior():
    """All positions single, all of the head's target taught: its loss is the cross-entropy with the posterior."""
    stage = taught_stage(single_rows=1.0, history_dropped=0.0, taught=1.0, head_share=1.0)
    ids = torch.randint(3, VOCABULARY, (4, 16), generator=torch.Generator().manual_seed(1))
    noised = stage.noise(stage.latents(ids), torch.Generator().manual_seed(1))
    everywhere = torch.arange(ids.numel())
    logits = stage.token_logits(stage.predict(noised), noised, everywhere)
    posterior = stage.teach(noised, stage.teacher.read(ids), everywhere)[0].exp()
    expected = -(posterior * logits.log_softmax(-1)).sum(-1).mean()
    torch.testing.assert_close(stage(ids, torch.Generator().manual_seed(1))["head"], expected)


def test_the_next_token_head_is_taught_what_the_teacher_expects():
    stage = taught_stage(single_rows=1.0, taught=0.25, next_weight=1.0, next_share=1.0)
    ids = torch.randint(3, VOCABULARY, (4, 16), generator=torch.Generator().manual_seed(1))
    noised = stage.noise(stage.latents(ids), torch.Generator().manual_seed(1))
    clean = stage.predict(noised).clean
    logits, known = stage.next_logits(clean[:, :-1]).log_softmax(-1), stage.teacher.prior(ids)[:, 1:].exp()
    hard = -logits.gather(-1, ids[:, 1:, None]).mean()
    soft = -(known * logits).sum(-1).mean()
    found = stage.next_token_loss(clean, ids, noised.sizes, torch.Generator().manual_seed(0), stage.teacher.read(ids))
    torch.testing.assert_close(found, 0.75 * hard + 0.25 * soft)


def test_the_teacher_is_not_trained():
    stage = taught_stage(single_rows=1.0)
    before = {name: value.clone() for name, value in stage.teacher.state_dict().items()}
    ids = torch.randint(3, VOCABULARY, (4, 16))
    stage(ids, torch.Generator().manual_seed(0))["loss"].backward()
    assert all(parameter.grad is None for parameter in stage.teacher.parameters())
    assert all(torch.equal(before[name], value) for name, value in stage.teacher.state_dict().items())


@pytest.mark.parametrize("taught", [-0.1, 1.5, float("nan")])
def test_a_share_outside_of_0_to_1_is_refused(taught):
    with pytest.raises(ValueError, match="expected 0 to 1"):
        DiTObjective(taught=taught)

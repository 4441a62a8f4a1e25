import pytest
import torch

from coladlm.randomness import block_noise, step_noise, token_uniforms
from coladlm.tokens import choose, penalised, token_distribution


def test_the_penalty_divides_positive_and_multiplies_negative_logits_of_seen_tokens_only():
    logits = torch.tensor([[[2.0, -2.0, 3.0]]])
    seen = torch.tensor([[True, True, False]])
    assert penalised(logits, seen, 2.0).tolist() == [[[1.0, -4.0, 3.0]]]


def test_temperature_zero_is_greedy():
    logits = torch.randn(2, 3, 11)
    assert torch.equal(choose(logits, None, 0.0, 50, 0.9), logits.argmax(-1))


def test_top_k_and_top_p_leave_the_most_probable_tokens():
    logits = torch.log(torch.tensor([[[0.5, 0.3, 0.15, 0.05]]]))
    probabilities, ids = token_distribution(logits, 1.0, 3, 1.0)
    assert ids.tolist() == [[[0, 1, 2]]]
    assert probabilities.flatten().tolist() == pytest.approx([0.5 / 0.95, 0.3 / 0.95, 0.15 / 0.95])
    probabilities, _ = token_distribution(logits, 1.0, 0, 0.6)
    assert probabilities.flatten().tolist() == pytest.approx([0.625, 0.375, 0, 0])
    probabilities, _ = token_distribution(logits, 1.0, 0, 1e-9)
    assert probabilities.flatten().tolist() == [1, 0, 0, 0]


def test_draws_follow_the_distribution():
    logits = torch.log(torch.tensor([0.6, 0.3, 0.1])).expand(1, 30_000, 3)
    uniforms = torch.rand(1, 30_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    counts = choose(logits, uniforms, 1.0, 0, 1.0).flatten().bincount(minlength=3) / 30_000
    assert counts.tolist() == pytest.approx([0.6, 0.3, 0.1], abs=0.01)


def test_a_uniform_at_the_very_end_still_draws_a_possible_token():
    logits = torch.log(torch.tensor([[[0.5, 0.3, 0.2]]]))
    assert choose(logits, torch.tensor([[1.0]]), 1.0, 0, 0.6).item() in (0, 1)


def test_noise_depends_on_its_key_alone():
    first = block_noise(1, 2, 3, (4, 5))
    assert torch.equal(first, block_noise(1, 2, 3, (4, 5)))
    others = [block_noise(*key, (4, 5)) for key in ((0, 2, 3), (1, 0, 3), (1, 2, 0))]
    others += [step_noise(1, 2, 3, 0, (4, 5)), step_noise(1, 2, 3, 1, (4, 5))]
    for i, a in enumerate([first, *others]):
        for b in [first, *others][i + 1 :]:
            assert not torch.equal(a, b)


def test_noise_is_standard_normal():
    noise = torch.stack([block_noise(0, s, 0, (8, 16)) for s in range(100)])
    assert abs(noise.mean()) < 0.02 and abs(noise.std() - 1) < 0.02


def test_token_draws_of_a_position_do_not_depend_on_how_many_positions_there_are():
    assert torch.equal(token_uniforms(5, 0, 1, 16)[:4], token_uniforms(5, 0, 1, 4))

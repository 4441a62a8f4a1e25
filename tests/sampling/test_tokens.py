import numpy as np
import pytest
import torch

from coladlm.sampling.philox import first_doubles
from coladlm.sampling.randomness import block_noise, step_noise, token_uniforms
from coladlm.sampling.tokens import (
    NO_TOKEN,
    choose,
    choose_unrepeated,
    penalised,
    repeats,
    token_distribution,
    word_starts,
)


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


TINY = [5e-324, 1e-300, 1e-45, 1e-40, 1e-38]


@pytest.mark.parametrize("temperature", TINY)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_tiny_temperature_is_greedy(temperature, dtype):
    logits = torch.tensor([[[1.0, 3.0, 2.0], [-5.0, -7.0, -6.0], [0.0, -torch.inf, -1.0]]], dtype=dtype)
    assert token_distribution(logits, temperature, 0, 0.9)[0][0, :, 0].tolist() == [1, 1, 1]
    assert choose(logits, torch.tensor([[0.0, 0.5, 0.999]]), temperature, 0, 1.0).tolist() == [[1, 0, 0]]


def test_a_tiny_temperature_shares_out_between_equal_logits():
    probabilities, _ = token_distribution(torch.tensor([[[4.0, 4.0, 3.0]]]), 1e-300, 0, 1.0)
    assert probabilities.tolist() == [[[0.5, 0.5, 0.0]]]


def test_a_huge_temperature_knows_no_difference():
    logits = torch.tensor([[[4.0, 3.0, -torch.inf]]])
    assert token_distribution(logits, 1e308, 0, 1.0)[0].tolist() == [[[0.5, 0.5, 0.0]]]


@pytest.mark.parametrize("top_p", TINY)
def test_a_tiny_top_p_leaves_the_first_token(top_p):
    probabilities, ids = token_distribution(torch.tensor([[[1.0, 3.0, 2.0]]]), 1.0, 0, top_p)
    assert probabilities.tolist() == [[[1.0, 0.0, 0.0]]] and ids[0, 0, 0] == 1


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
    keys = [(5, 0, 1), (0, 3, 2)]
    assert torch.equal(token_uniforms(keys, 16)[:, :4], token_uniforms(keys, 4))
    assert torch.equal(token_uniforms(keys, 4)[1:], token_uniforms(keys[1:], 4))


def test_the_first_numbers_of_many_generators_are_numpys():
    """However many words of 32 bits a key has."""
    draw = np.random.default_rng(0)
    keys = [tuple(int(n) for n in draw.integers(0, 2**63, 5) >> draw.integers(0, 63, 5)) for _ in range(300)]
    keys += [(0,), (0, 0), (2**32 - 1, 2**32), (2**53, 2, 0, 0, 3), (2**100, 1), (1, 2, 3, 4, 5, 6, 7)]
    wanted = [np.random.Generator(np.random.Philox(np.random.SeedSequence(key))).random() for key in keys]
    assert first_doubles(keys).tolist() == wanted


def test_repeats_are_the_tokens_that_stood_behind_the_same_tokens():
    draw = torch.Generator().manual_seed(0)
    for size in (2, 3, 4):
        context = torch.randint(0, 4, (20, 30), generator=draw)
        for row, padding in enumerate(range(20)):
            context[row, :padding] = NO_TOKEN
        found = repeats(context, size, 4)
        assert found.any() and not found.all()
        for row, padding in enumerate(range(20)):
            text = context[row, padding:].tolist()
            grams = [tuple(text[i : i + size]) for i in range(len(text) - size + 1)]
            expected = [(*text[-(size - 1) :], token) in grams for token in range(4)]
            assert found[row].tolist() == expected


def test_a_text_shorter_than_the_n_gram_repeats_nothing():
    assert not repeats(torch.tensor([[1, 1]]), 3, 4).any()
    assert not repeats(torch.empty(1, 0, dtype=torch.long), 2, 4).any()


def test_words_begin_with_a_space_and_a_letter_or_digit():
    tokens = [" cat", "cat", " ", ' "', "\n", " 7", "", " é"]
    assert word_starts(lambda ids: tokens[ids[0]], len(tokens)).tolist() == [True, *[False] * 4, True, False, True]


WORDS = torch.tensor([True, True, True, False])  # the last token is a sign


def unrepeated(logits, context, size=2, pinned=None, free=True, temperature=0.0, words=WORDS):
    """choose_unrepeated for one text of given tokens."""
    n = logits.shape[1]
    pinned = torch.full((1, n), NO_TOKEN) if pinned is None else torch.tensor([pinned])
    context = torch.cat((torch.tensor([context], dtype=torch.long), torch.full((1, n), NO_TOKEN)), 1)
    uniforms = torch.full((1, n), 0.3) if temperature else None
    free = torch.full((1, n), free)
    return choose_unrepeated(logits, uniforms, temperature, 0, 1.0, context, size, words, pinned, free)[0].tolist()


def test_a_word_that_repeats_an_n_gram_gives_way_to_the_next_likeliest_word():
    logits = torch.tensor([[[3.0, 2.0, 1.0, 2.5]] * 3])  # a word, then the sign, then the other words
    assert choose(logits, None, 0.0, 0, 1.0).tolist() == [[0, 0, 0]]
    assert unrepeated(logits, [1, 0, 1]) == [1, 2, 0]  # "1 0" stands already, and then "1 1" does
    assert unrepeated(logits, [0, 0]) == [1, 0, 2]  # "0 0" stands already, and then "0 1" does


def test_signs_may_repeat_and_nothing_else_takes_the_place_of_a_word():
    sign = torch.tensor([[[0.0, 0.0, 0.0, 5.0]]])
    assert unrepeated(sign, [1, 3, 1]) == [3]
    word = torch.tensor([[[5.0, 1.0, 0.0, 4.0]]])
    assert unrepeated(word, [2, 0, 2]) == [1]


def test_where_no_other_word_is_left_the_choice_stays():
    logits = torch.tensor([[[3.0, 2.0, 1.0, 0.0]]])
    assert unrepeated(logits, [1, 0, 1], words=torch.tensor([True, False, False, False])) == [0]
    assert unrepeated(logits, [1, 0, 1], words=torch.tensor([False] * 4), temperature=1.0) == [0]


def test_pinned_tokens_count_for_those_after_them_and_given_text_may_repeat():
    logits = torch.tensor([[[3.0, 2.0, 1.0, 0.0]] * 2])
    assert unrepeated(logits, [1, 0], pinned=[1, NO_TOKEN]) == [0, 1]  # "1 0" stands, and the pinned 1 before it
    assert unrepeated(logits, [1, 0, 1], free=False) == [0, 0]


def test_a_drawn_word_gives_way_to_one_drawn_among_the_others():
    logits = torch.log(torch.tensor([[[0.5, 0.25, 0.15, 0.1]]]))
    assert unrepeated(logits, [2, 3], temperature=1.0) == [0]
    assert unrepeated(logits, [2, 0, 2], temperature=1.0) == [1]

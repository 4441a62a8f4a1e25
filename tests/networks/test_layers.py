"""Rotary embeddings, masks, attention and the key-value cache, each against its definition."""

import copy
import math

import pytest
import torch

from coladlm.networks.layers import (
    KVCache,
    LayerNorm,
    Linear,
    StackedNorms,
    attention,
    block_causal_mask,
    gelu_tanh,
    rotary_halves,
    rotary_pairs,
    rotate_halves,
    rotate_pairs,
)


def test_mask_is_the_definition_of_block_causality():
    mask = block_causal_mask(7, 3)
    assert all(bool(mask[i, j]) == (j // 3 <= i // 3) for i in range(7) for j in range(7))


def test_pairs_rotate_neighbours_and_leave_the_last_channels():
    x, position = torch.randn(1, 1, 1, 6), 5
    out = rotate_pairs(x, rotary_pairs(torch.tensor([position]), 6, 4, 100.0))[0, 0, 0]
    for i, frequency in enumerate((1.0, 100.0**-0.5)):
        cos, sin = math.cos(position * frequency), math.sin(position * frequency)
        a, b = x[0, 0, 0, 2 * i], x[0, 0, 0, 2 * i + 1]
        torch.testing.assert_close(out[2 * i : 2 * i + 2], torch.stack((a * cos - b * sin, b * cos + a * sin)))
    torch.testing.assert_close(out[4:], x[0, 0, 0, 4:])


def test_halves_rotate_a_channel_with_the_one_half_a_head_away():
    x, position = torch.randn(1, 1, 1, 4), 5
    out = rotate_halves(x, *rotary_halves(torch.tensor([position]), 4, 100.0))[0, 0, 0]
    for i, frequency in enumerate((1.0, 100.0**-0.5)):
        cos, sin = math.cos(position * frequency), math.sin(position * frequency)
        a, b = x[0, 0, 0, i], x[0, 0, 0, i + 2]
        torch.testing.assert_close(out[[i, i + 2]], torch.stack((a * cos - b * sin, b * cos + a * sin)))


@pytest.mark.parametrize("kind", ["pairs", "halves"])
def test_products_of_rotated_vectors_depend_on_their_distance_alone(kind):
    q, k = torch.randn(2, 1, 1, 1, 8)

    def product(i: int, j: int) -> float:
        def rotated(x, position):
            if kind == "pairs":
                return rotate_pairs(x, rotary_pairs(torch.tensor([position]), 8, 6, 10000.0))
            return rotate_halves(x, *rotary_halves(torch.tensor([position]), 8, 10000.0))

        return (rotated(q, i) * rotated(k, j)).sum().item()

    assert product(9, 4) == pytest.approx(product(105, 100), abs=1e-4)


def test_linear_takes_any_dtype_and_layer_norm_answers_in_float32():
    linear, norm = Linear(4, 3).bfloat16(), LayerNorm(4)
    assert linear(torch.randn(2, 4)).dtype == torch.bfloat16
    assert norm(torch.randn(2, 4).bfloat16()).dtype == torch.float32


def test_attention_with_one_shared_key_head_equals_that_head_repeated():
    q, k, v = torch.randn(2, 5, 3, 4), torch.randn(2, 5, 1, 4), torch.randn(2, 5, 1, 4)
    mask = block_causal_mask(5, 2)
    repeated = attention(q, k.repeat(1, 1, 3, 1), v.repeat(1, 1, 3, 1), mask)
    torch.testing.assert_close(attention(q, k, v, mask), repeated)


def small_cache(padding: list[int], capacity: int = 8, block_size: int = 2) -> KVCache:
    return KVCache(1, 2, 4, capacity, torch.tensor(padding), block_size, torch.float32, "cpu")


@pytest.mark.parametrize(("start", "end"), [(-2, 2), (2, 2), (4, 2), (6, 10)])
def test_a_cache_refuses_slots_that_it_does_not_have(start, end):
    with pytest.raises(ValueError, match=f"slots {start} to {end} do not lie in a cache of 8"):
        small_cache([0]).place(start, end)


def test_a_cache_writes_its_slots_in_place_and_no_others():
    cache = small_cache([0, 0])
    memory = cache.k.data_ptr()
    q, k, v = torch.randn(3, 2, 2, 2, 4)
    cache.place(2, 4)
    cache(0, q, k, v)
    assert cache.k.data_ptr() == memory
    torch.testing.assert_close(cache.k[0, :, :, 2:4], k.transpose(1, 2))
    torch.testing.assert_close(cache.v[0, :, :, 2:4], v.transpose(1, 2))
    assert not cache.k[0, :, :, :2].any()
    assert not cache.k[0, :, :, 4:].any()


def test_a_padded_query_is_a_number():
    cache = small_cache([0, 4])
    cache.place(0, 6)
    assert cache(0, *torch.randn(3, 2, 6, 2, 4)).isfinite().all()


def test_keep_drops_the_other_rows_and_their_padding():
    cache = small_cache([0, 2, 4])
    q, k, v = torch.randn(3, 3, 6, 2, 4)
    cache.place(0, 6)
    whole = cache(0, q, k, v)
    size = cache.nbytes
    cache.keep(torch.tensor([0, 2]))
    assert cache.padding.tolist() == [0, 4]
    assert cache.nbytes * 3 == size * 2
    cache.place(4, 6)
    torch.testing.assert_close(cache(0, q[[0, 2], 4:], k[[0, 2], 4:], v[[0, 2], 4:]), whole[[0, 2], 4:])


def test_gelu_is_its_definition_with_and_without_gradients():
    x = torch.cat((torch.linspace(-12, 12, 4001), torch.tensor([-1e20, 1e20])))
    wanted = torch.nn.functional.gelu(x, approximate="tanh")
    torch.testing.assert_close(gelu_tanh(x), wanted)
    with torch.inference_mode():
        torch.testing.assert_close(gelu_tanh(x), wanted, atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(gelu_tanh(x.double()), torch.nn.functional.gelu(x.double(), approximate="tanh"))


def norms() -> tuple[LayerNorm, LayerNorm]:
    torch.manual_seed(2)
    made = LayerNorm(6), LayerNorm(6)
    for parameter in (*made[0].parameters(), *made[1].parameters()):
        torch.nn.init.normal_(parameter)
    return made


def test_stacked_norms_follow_their_norms():
    one, other = norms()
    stacked = StackedNorms()
    with torch.no_grad():
        weights, biases = stacked(one, other)
        assert torch.equal(weights[:, 0], torch.stack((one.weight, other.weight)))
        assert torch.equal(biases[:, 0], torch.stack((one.bias, other.bias)))
        assert stacked(one, other)[0] is weights
        one.weight.mul_(2)
        assert torch.equal(stacked(one, other)[0][0, 0], one.weight)
        other.load_state_dict({"weight": torch.ones(6), "bias": torch.zeros(6)}, assign=True)
        assert torch.equal(stacked(one, other)[0][1, 0], torch.ones(6))
        one.double()
        assert stacked(one, other.double())[0].dtype == torch.float64
    assert copy.deepcopy(stacked).key is None


def test_stacked_norms_pass_gradients_on():
    one, other = norms()
    stacked = StackedNorms()
    with torch.no_grad():
        stacked(one, other)
    weights, biases = stacked(one, other)
    (weights.sum() + 2 * biases.sum()).backward()
    assert torch.equal(other.weight.grad, torch.ones(6))
    assert torch.equal(one.bias.grad, torch.full((6,), 2.0))

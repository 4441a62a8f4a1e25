"""Packed weights: the same numbers as plain ones, the same row in any batch, never those of other weights."""

import copy
import platform

import pytest
import torch
import torch.nn.functional as F

from coladlm.networks import packed
from coladlm.networks.layers import Linear
from coladlm.networks.packed import can_pack, pack


def layer(inputs: int = 96, outputs: int = 160, bias: bool = True) -> Linear:
    if not can_pack():
        pytest.skip("this build of torch has no oneDNN products")
    torch.manual_seed(0)
    made = Linear(inputs, outputs, bias=bias)
    assert pack(made, least=0) == 1
    return made


def plain(made: Linear, x: torch.Tensor) -> torch.Tensor:
    return F.linear(x, made.weight, made.bias)


def test_where_torch_has_onednn_for_x86_it_is_used():
    assert can_pack() or not torch.backends.mkldnn.is_available() or platform.machine() not in ("x86_64", "AMD64")


@pytest.mark.parametrize("shape", [(96,), (1, 96), (5, 96), (2, 3, 96), (0, 4, 96)])
@pytest.mark.parametrize("bias", [True, False])
def test_products_are_those_of_a_linear_layer(shape, bias):
    made, x = layer(bias=bias), torch.randn(shape)
    with torch.inference_mode():
        torch.testing.assert_close(made(x), plain(made, x), atol=1e-5, rtol=1e-5)
        wanted = F.gelu(plain(made, x), approximate="tanh")
        torch.testing.assert_close(made.gelu_tanh(x), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("apart", [True, False])
def test_a_gelu_in_the_product_and_one_behind_it_are_the_same(monkeypatch, apart):
    monkeypatch.setattr(packed, "gelu_apart", lambda: apart)
    made, x = layer(), torch.randn(5, 96)
    with torch.inference_mode():
        wanted = F.gelu(plain(made, x), approximate="tanh")
        torch.testing.assert_close(made.gelu_tanh(x), wanted, atol=1e-5, rtol=1e-5)


def test_an_input_in_another_order_in_memory_gives_the_same():
    made, x = layer(), torch.randn(96, 7).t()
    with torch.inference_mode():
        torch.testing.assert_close(made(x), plain(made, x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("rows", [2, 3, 8, 64, 301])
def test_a_row_is_the_same_with_any_number_of_others(rows):
    """To the bit with AVX2 and later. An older kernel may add up in another order: then to what float32 allows two
    sums of 96 products and a bias, 2 * 97 u times the sum of their sizes.
    """
    made, x = layer(), torch.randn(rows, 96)
    with torch.inference_mode():
        together, allowed = made(x), 2 * 97 * 2**-24 * F.linear(x.abs(), made.weight.abs(), made.bias.abs())
        for row in (0, rows - 1):
            assert ((made(x[row : row + 1]) - together[row : row + 1]).abs() <= allowed[row]).all()


def test_weights_that_changed_are_the_ones_that_count():
    made, x = layer(), torch.randn(2, 96)
    with torch.no_grad():
        made.weight.mul_(2)
        torch.testing.assert_close(made(x), plain(made, x))
        assert pack(made, least=0) == 1
        made.weight.data = torch.zeros(160, 96)
        torch.testing.assert_close(made(x), made.bias.expand(2, -1))
        assert pack(made, least=0) == 1
        made.bias.add_(1)
        torch.testing.assert_close(made(x), made.bias.expand(2, -1))


def test_gradients_flow_as_without():
    made, x = layer(), torch.randn(2, 96, requires_grad=True)
    made.gelu_tanh(x).sum().backward()
    assert made.weight.grad.abs().sum() > 0
    assert x.grad.abs().sum() > 0


def test_a_copy_has_weights_of_its_own():
    made = layer()
    other = copy.deepcopy(made)
    assert other.packed is None
    assert made.packed is not None


def test_only_plain_float32_layers_are_packed():
    assert pack(torch.nn.ModuleList([Linear(4, 4, dtype=torch.bfloat16), torch.nn.LayerNorm(4)]), least=0) == 0


def test_weights_made_in_inference_mode_stay_plain_and_change_nothing_for_others():
    can_pack.cache_clear()
    with torch.inference_mode():
        assert pack(Linear(4, 4), least=0) == 0
    assert layer().packed is not None


def test_a_network_whose_layers_are_small_is_faster_without():
    assert pack(torch.nn.ModuleList([Linear(64, 64), Linear(64, 256)])) == 0
    assert pack(torch.nn.ModuleList([Linear(16, 256), Linear(256, 1024)])) == (2 if can_pack() else 0)


def test_the_state_of_a_packed_network_is_its_weights_alone():
    assert set(layer().state_dict()) == {"weight", "bias"}

"""Weights in int8: near the products of the weights they were, in both ways to multiply, whatever the processor has."""

import copy

import pytest
import torch

from coladlm.networks import int8
from coladlm.networks.compensation import Watched, watch
from coladlm.networks.int8 import (
    SMALLEST,
    Int8Linear,
    in_parts,
    parts_are_faster,
    product_of_parts,
    product_widened,
    quantise,
    quantised,
)
from coladlm.networks.layers import Linear, gelu_tanh
from coladlm.rounding import to_int8

WIDTH = 128


@pytest.fixture
def layer() -> Linear:
    torch.manual_seed(3)
    return Linear(WIDTH, 2 * WIDTH).requires_grad_(False)


def test_a_weight_is_off_by_half_a_step_at_most():
    weight = torch.randn(7, 50) * torch.logspace(-3, 2, 7)[:, None]
    numbers, scale = quantised(weight)
    assert numbers.dtype == torch.int8
    assert ((numbers * scale[:, None] - weight).abs() <= 0.5001 * scale[:, None]).all()
    assert not quantised(torch.zeros(2, 3))[0].any()


def test_two_parts_of_an_activation_leave_next_to_nothing_out():
    x = torch.cat((torch.randn(5, WIDTH), torch.zeros(1, WIDTH), 1e6 * torch.randn(1, WIDTH)))
    parts, scale = in_parts(x)
    coarse, fine = parts.double().chunk(2)
    error = (scale * (coarse + fine / 254) - x).abs()
    assert (error <= x.abs().amax(1, keepdim=True) / 127 / 254 / 2 * 1.001 + 1e-30).all()


def test_both_products_are_that_of_the_rounded_weights(layer):
    weight, scale = quantised(layer.weight)
    for rows in (1, 9, 40):
        x = torch.randn(rows, WIDTH)
        wanted = x.double() @ (weight.double() * scale.double()[:, None]).T
        torch.testing.assert_close(product_widened(x, weight, scale).double(), wanted, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(product_of_parts(x, weight, scale).double(), wanted, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("in_two_parts", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_answers_as_the_one_it_was_made_of(in_two_parts, bias):
    torch.manual_seed(3)
    layer = Linear(WIDTH, 2 * WIDTH, bias=bias).requires_grad_(False)
    made, x = Int8Linear(layer, in_two_parts, torch.float32), torch.randn(2, 3, WIDTH)
    assert (made(x) - layer(x)).norm() < 0.01 * layer(x).norm()
    torch.testing.assert_close(made.gelu_tanh(x), gelu_tanh(made(x)))
    assert made(x.bfloat16()).dtype == torch.float32


def test_a_weight_takes_a_byte_and_small_layers_stay(layer):
    network = torch.nn.ModuleDict({"large": layer, "small": Linear(SMALLEST - 1, WIDTH).requires_grad_(False)})
    parameters = sum(p.numel() for p in network.parameters())
    quantise(network, torch.float32)
    assert network["large"].weight.dtype == torch.int8
    assert network["small"].weight.dtype == torch.float32
    assert sum(p.numel() for p in network.parameters()) == parameters


def test_a_product_that_does_not_exist_or_is_wrong_is_not_used(monkeypatch):
    def missing(*_):
        raise NotImplementedError("no kernel")

    for product in (missing, lambda *_: torch.zeros(32, 1024)):
        monkeypatch.setattr(int8, "product_of_parts", product)
        parts_are_faster.cache_clear()
        assert not parts_are_faster("cpu", torch.float32)
    parts_are_faster.cache_clear()


def test_a_rounding_that_makes_up_for_its_errors_is_nearer_on_the_inputs_that_were_seen():
    torch.manual_seed(5)
    layer = Linear(WIDTH, 2 * WIDTH, bias=False).requires_grad_(False)
    inputs = torch.randn(500, 20) @ torch.randn(20, WIDTH)  # few directions, as activations have
    watched = Watched(layer)
    torch.testing.assert_close(watched(inputs), layer(inputs))
    torch.testing.assert_close(watched.moments, inputs.T @ inputs)
    nearest, made = (Int8Linear(layer, False, torch.float32, m) for m in (None, watched.moments))
    errors = [(other(inputs) - layer(inputs)).norm() for other in (nearest, made)]
    assert errors[1] < 0.5 * errors[0]
    unseen = Int8Linear(layer, False, torch.float32, torch.zeros(WIDTH, WIDTH))
    assert torch.equal(unseen.weight, nearest.weight)


def test_watched_layers_are_put_in_place_and_replaced():
    network = torch.nn.Sequential(Linear(WIDTH, WIDTH), Linear(WIDTH, 4)).requires_grad_(False)
    watch(network, SMALLEST)
    assert [type(layer) for layer in network] == [Watched, Linear]
    network(torch.randn(300, WIDTH))
    quantise(network, torch.float32)
    assert [type(layer) for layer in network] == [Int8Linear, Linear]


def test_what_int8_changes_is_said(bundled):
    vae, dit = copy.deepcopy(bundled.vae), copy.deepcopy(bundled.dit)
    rounding = to_int8(vae, dit, torch.float32, watched=False)
    before, after = rounding.megabytes
    assert after < 0.4 * before
    assert 0 < rounding.logits < 0.05 * rounding.spread
    assert rounding.tokens > 0.97
    assert 0 < rounding.velocity < 0.05
    assert f"{after:.0f} MB of weights in place of {before:.0f}" in str(rounding)

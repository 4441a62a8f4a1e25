"""Weights in int8: near the products of the weights they were, in both ways to multiply, whatever the processor has."""

import copy
import dataclasses
from types import SimpleNamespace

import pytest
import torch

from coladlm import BlockDone, ColaDLM
from coladlm.networks import int8
from coladlm.networks.int8 import (
    SMALLEST,
    STEPS,
    Int8Linear,
    Rounded,
    has_int8_product,
    in_parts,
    parts_are_faster,
    product_of_parts,
    product_widened,
    quantise,
    rounded,
    widened,
)
from coladlm.networks.layers import Linear, gelu_tanh
from coladlm.rounding import Rounding, to_int8

WIDTH = 128


@pytest.fixture
def layer() -> Linear:
    torch.manual_seed(3)
    return Linear(WIDTH, 2 * WIDTH).requires_grad_(False)


def value(weight: Rounded) -> torch.Tensor:
    return widened(weight, torch.float64) * weight.scale[:, None]


@pytest.mark.parametrize("with_fine", [True, False])
@pytest.mark.parametrize("inputs", [50, 51])
def test_a_weight_is_off_by_half_a_step_at_most(inputs, with_fine):
    weight = torch.randn(7, inputs) * torch.logspace(-3, 2, 7)[:, None]
    made, largest = rounded(weight, with_fine), weight.abs().amax(1)
    assert made.coarse.dtype == torch.int8
    if with_fine:
        assert (made.fine.dtype, made.fine.shape) == (torch.uint8, (7, (inputs + 1) // 2))
    else:
        assert made.fine is None
    assert ((value(made) - weight).abs() <= 0.5001 * largest[:, None] / (2047 if with_fine else 127)).all()
    torch.testing.assert_close(value(made).abs().amax(1).float(), largest)  # the largest stays as it is
    assert not value(rounded(torch.zeros(2, 3), with_fine)).any()


def test_two_parts_of_an_activation_leave_next_to_nothing_out():
    x = torch.cat((torch.randn(5, WIDTH), torch.zeros(1, WIDTH), 1e6 * torch.randn(1, WIDTH)))
    parts, scale = in_parts(x)
    coarse, fine = parts.double().chunk(2)
    error = (scale * (coarse + fine / 254) - x).abs()
    assert (error <= x.abs().amax(1, keepdim=True) / 127 / 254 / 2 * 1.001 + 1e-30).all()


@pytest.mark.parametrize("with_fine", [True, False])
def test_both_products_are_that_of_the_rounded_weights(layer, with_fine):
    weight = rounded(layer.weight, with_fine)
    for rows in (1, 9, 40):
        x = torch.randn(rows, WIDTH)
        wanted = x.double() @ value(weight).T
        torch.testing.assert_close(product_widened(x, weight).double(), wanted, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(product_of_parts(x, weight).double(), wanted, atol=2e-3, rtol=1e-3)


def test_the_largest_sums_of_a_wide_layer_do_not_overflow():
    weight = rounded(torch.ones(16, 1 << 14))
    x = torch.ones(16, 1 << 14)
    torch.testing.assert_close(product_of_parts(x, weight), torch.full((16, 16), float(1 << 14)), rtol=1e-4, atol=0)


@pytest.mark.parametrize("in_two_parts", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_answers_as_the_one_it_was_made_of(in_two_parts, bias):
    torch.manual_seed(3)
    layer = Linear(WIDTH, 2 * WIDTH, bias=bias).requires_grad_(False)
    made, x = Int8Linear(layer, in_two_parts, torch.float32), torch.randn(2, 3, WIDTH)
    # a weight is off by a step over the root of 12, and their largest is not six times as large as they spread
    assert (made(x) - layer(x)).norm() < 6 / 2047 / 12**0.5 * layer(x).norm()
    torch.testing.assert_close(made.gelu_tanh(x), gelu_tanh(made(x)))
    assert made(x.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize("in_two_parts", [True, False])
def test_in_some_directions_a_layer_is_exact(layer, in_two_parts):
    directions = torch.linalg.qr(torch.randn(WIDTH, 3)).Q
    made = Int8Linear(layer, in_two_parts, torch.float32, False, directions)
    x = torch.randn(5, 3) @ directions.T
    plain = Int8Linear(layer, in_two_parts, torch.float32, False)
    assert (made(x) - layer(x)).norm() < 0.05 * (plain(x) - layer(x)).norm()


def test_a_weight_takes_a_byte_and_a_half_and_small_layers_stay(layer):
    network = torch.nn.ModuleDict({"large": layer, "small": Linear(SMALLEST - 1, WIDTH).requires_grad_(False)})
    parameters = sum(p.numel() for p in network.parameters())
    quantise(network, torch.float32)
    large = network["large"]
    assert sum(x.nbytes for x in (large.weight, large.fine)) == 1.5 * WIDTH * 2 * WIDTH
    assert network["small"].weight.dtype == torch.float32
    assert sum(p.numel() for p in network.parameters()) == parameters


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_row_of_an_embedding_is_off_by_half_a_step_at_most_and_a_number_takes_a_byte(dtype):
    rows = torch.randn(SMALLEST, 96) * torch.logspace(-3, 3, SMALLEST)[:, None]
    layer = torch.nn.Embedding(SMALLEST, 96, _weight=rows)
    layer.weight.data[5] = 0
    network = torch.nn.Sequential(layer)
    quantise(network, dtype)
    ids = torch.tensor([[0, 5, 63], [7, 7, 1]])
    found, wanted = network(ids), layer(ids)
    assert found.dtype == dtype and found.shape == (2, 3, 96)
    step = wanted.abs().amax(-1, keepdim=True) / STEPS
    assert ((found.float() - wanted).abs() <= 0.501 * step + wanted.abs() * torch.finfo(dtype).eps).all()
    (weight,) = network.parameters()
    assert weight.nbytes == weight.numel() == SMALLEST * 96
    small = torch.nn.Sequential(torch.nn.Embedding(SMALLEST, SMALLEST - 1))
    quantise(small, dtype)
    assert isinstance(small[0], torch.nn.Embedding) and small[0].weight.dtype == dtype


def test_a_product_that_does_not_exist_or_is_wrong_is_not_used(monkeypatch):
    def missing(*_):
        raise NotImplementedError("no kernel")

    for product in (missing, lambda *_: torch.zeros(32, 1024)):
        monkeypatch.setattr(int8, "product_of_parts", product)
        parts_are_faster.cache_clear()
        assert not parts_are_faster("cpu", torch.float32)
    parts_are_faster.cache_clear()


@pytest.fixture(scope="module")
def small(bundled) -> tuple[ColaDLM, Rounding]:
    """The bundled model in int8, and what is said of that."""
    vae, dit = copy.deepcopy(bundled.vae), copy.deepcopy(bundled.dit)
    rounding = to_int8(vae, dit, torch.float32)
    return ColaDLM(vae, dit, bundled.tokenizer, bundled.defaults, openings=bundled.openings), rounding


def test_the_bundled_model_takes_less_than_half_of_its_memory_and_what_changes_is_said(small):
    rounding = small[1]
    before, after = rounding.megabytes
    assert after < 0.5 * before
    assert 0 < rounding.logits < 0.01 * rounding.spread
    assert rounding.tokens > 0.98  # of random ones
    assert 0 < rounding.velocity < 0.01  # mostly since what is noised comes through the embedding, which is in 8 bits
    assert f"{after:.0f} MB of weights in place of {before:.0f}" in str(rounding)


def test_it_writes_the_tokens_of_float32(bundled, small):
    """What is promised is that 99 % of tokens are the same. Of 64 tokens with that chance each, five or more are not in
    one of two thousand such tests.
    """
    tokens = bundled.block_size * bundled.patch_size
    settings = dataclasses.replace(bundled.defaults, steps=4, temperature=0.0, stop_at_end=False, max_new_tokens=tokens)
    wrote = [list(model.sample(bundled.openings, settings))[-2] for model in (bundled, small[0])]
    assert all(isinstance(event, BlockDone) for event in wrote)
    same = wrote[0].token_ids == wrote[1].token_ids
    assert same.numel() == 64
    assert (~same).sum() < 5


def test_cuda_multiplies_int8_in_multiples_of_eight():
    """A vocabulary of 100,278 is none."""
    for inputs, outputs, possible in ((1024, 4096, True), (1024, 100_278, False), (100, 64, False)):
        layer = SimpleNamespace(in_features=inputs, out_features=outputs)
        layer.weight = SimpleNamespace(device=torch.device("cuda"))
        assert has_int8_product(layer) == possible
        layer.weight.device = torch.device("cpu")
        assert has_int8_product(layer)

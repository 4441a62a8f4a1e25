"""What benchmarks.engine prints is what it says: counts of the form that is named, floors, parts, joins."""

import copy
import dataclasses
import sys

import pytest
import torch
from torch._inductor import config as inductor

from benchmarks import engine
from benchmarks.made_models import linears, narrow
from benchmarks.operators import operators
from coladlm.networks.int8 import Int8Linear
from coladlm.rounding import dit_to_int8
from coladlm.sampling.form import choose_form

SHORT = dataclasses.replace(engine.PLAIN, steps=8)


@pytest.fixture
def own(model):
    """A model whose form and weights a test may change."""
    one = copy.copy(model)
    one.dit, one.sampler = copy.deepcopy(model.dit), copy.copy(model.sampler)
    one.sampler.dit = one.dit
    return one


def test_operators_of_an_eager_step_do_not_depend_on_the_form_of_the_model(own):
    eager = operators(own, 1, SHORT, steps=2)
    choose_form(own.sampler, "graph", False)
    with engine.without(own, "graph"):
        unplugged = operators(own, 1, SHORT, steps=2)
    assert (unplugged.called, unplugged.computing) == (eager.called, eager.computing)
    assert 0 < eager.computing < eager.called and eager.busy > 0 and eager.kernels == 0


def test_a_part_is_switched_off_in_captured_steps_too_and_comes_back(own):
    choose_form(own.sampler, "graph", False)
    before = own.sampler.graphs
    with engine.without(own, "one attention"):
        assert own.sampler.graphs is not None and own.sampler.graphs is not before
    assert own.sampler.graphs is before
    assert "graph" in engine.parts_of(own) and "compiled pieces" not in engine.parts_of(own)


def test_the_narrow_model_has_int8_layers_where_the_model_has(bundled):
    one = copy.copy(bundled)
    one.dit = copy.deepcopy(bundled.dit)
    assert not any(isinstance(layer, Int8Linear) for layer in linears(narrow(one)))
    dit_to_int8(one.dit, torch.float32)
    counts = [sum(isinstance(layer, Int8Linear) for layer in linears(made)) for made in (one, narrow(one))]
    assert counts[0] == counts[1] > 0


def test_the_floor_is_the_time_to_read_the_weights_of_a_step(model):
    weights, bandwidth, least = engine.floor(model, size=1 << 20)
    parameters = sum(x.numel() for layer in linears(model) for x in layer.parameters())
    assert weights == 4 * parameters
    assert least == pytest.approx(1000 * weights / bandwidth)


def test_it_prints_busy_time_the_floor_and_joins_a_second(golden_folder, monkeypatch, capsys):
    command = ["engine", "--checkpoint", str(golden_folder), "--device", "cpu", "--dtype", "float32"]
    monkeypatch.setenv("KINETO_LOG_LEVEL", "99")  # a command sets this for good, as it does enable_kernel_profile
    monkeypatch.setattr(sys, "argv", [*command, "--batch", "1", "--steps", "2", "--busy", "0"])
    threads = torch.get_num_threads()
    try:
        with inductor.patch({"cpp.enable_kernel_profile": False}):
            engine.main()
    finally:
        torch.set_num_threads(threads)
    printed = capsys.readouterr().out
    for part in ("ms of wall time inside those", "The floor: ", " a second\n", "A story of 128 tokens"):
        assert part in printed
    assert "busy processes" not in printed

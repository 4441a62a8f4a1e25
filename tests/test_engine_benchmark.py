"""What benchmarks.engine prints is what it says: counts of the form that is named, floors, parts, joins."""

import contextlib
import copy
import dataclasses
import functools
import sys

import pytest
import torch

from benchmarks import engine
from benchmarks.made_models import linears, narrow
from benchmarks.operators import operators
from coladlm import BlockDone, Step
from coladlm.networks import compiled_pieces
from coladlm.networks.compiled_pieces import CompiledPieces
from coladlm.networks.int8 import Int8Linear
from coladlm.rounding import dit_to_int8
from coladlm.sampling.capture import as_one
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


@pytest.mark.parametrize("compiled", [False, True])
def test_a_captured_step_is_two_calls_whatever_it_is_made_of(own, monkeypatch, compiled):
    choose_form(own.sampler, "graph", False)
    if compiled:  # one piece: the others would be recorded alike
        first = compiled_pieces._compiled(compiled_pieces._first, "eager")
        monkeypatch.setattr(compiled_pieces, "_compiled", lambda piece, backend: piece)
        monkeypatch.setattr(compiled_pieces, "_first", first)
        own.dit.pieces = CompiledPieces(own.dit, "eager", as_one)
    assert engine.host_calls(own, 2) == pytest.approx(2, abs=0.5)


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


@pytest.mark.parametrize("form", ["eager", "graph"])
def test_the_change_of_a_block_spans_its_result_and_the_first_step_of_the_next_one(own, monkeypatch, form):
    monkeypatch.setattr(engine, "CHANGES", 5)
    choose_form(own.sampler, form, False)
    seen, sample, once = [], own.sample, engine.Times.once

    def noted(*arguments):
        for event in sample(*arguments):
            seen.append(event.index if isinstance(event, Step) else type(event))
            yield event

    @contextlib.contextmanager
    def spans(times, device):
        seen.append("begun")
        with once(times, device):
            yield
        seen.append("ended")

    own.sample = noted
    monkeypatch.setattr(engine.Times, "once", spans)
    engine.block_change(own, 1)
    timed = ["begun", BlockDone, 0, "ended", "begun", 1, "ended"] * engine.CHANGES
    assert seen[-len(timed) :] == timed and seen.count("begun") == 2 * engine.CHANGES


def test_a_difference_is_one_of_medians():
    longer, shorter = engine.Times([5.0, 9.0, 6.0], [4.0, 4.0, 8.0]), engine.Times([1.0, 8.0, 2.0], [1.0, 1.5, 9.0])
    difference = longer.beyond(shorter)
    assert (difference.wall, difference.processor, str(difference)) == ([4.0], [2.5], "4.00 (2.50)")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--form", "foo"], "argument --form: invalid choice: 'foo'"),
        (["--dtype", "int4"], "argument --dtype: invalid choice: 'int4'"),
        (["--batch", "8", "0"], "argument --batch: found 0, expected a whole number from 1"),
        (["--threads", "0"], "argument --threads: found 0, expected a whole number from 1"),
        (["--steps", "0"], "argument --steps: found 0, expected a whole number from 1"),
        (["--busy", "-1"], "argument --busy: found -1, expected a whole number from 0"),
        (["--device", "nowhere"], "device 'nowhere' cannot be used"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_with_a_sentence(monkeypatch, capsys, arguments, message):
    from torch._inductor import config as inductor

    monkeypatch.setenv("KINETO_LOG_LEVEL", "99")
    monkeypatch.setattr(sys, "argv", ["engine", *arguments])
    monkeypatch.setattr(engine, "story", functools.partial(engine.story, times=1))
    threads = torch.get_num_threads()
    try:
        with inductor.patch({"cpp.enable_kernel_profile": False}), pytest.raises(SystemExit):
            engine.main()
    finally:
        torch.set_num_threads(threads)
    assert message in capsys.readouterr().err


def test_it_prints_busy_time_the_floor_and_joins_a_second(golden_folder, monkeypatch, capsys):
    from torch._inductor import config as inductor

    command = ["engine", "--checkpoint", str(golden_folder), "--device", "cpu", "--dtype", "float32"]
    monkeypatch.setenv("KINETO_LOG_LEVEL", "99")  # a command sets this for good, as it does enable_kernel_profile
    monkeypatch.setattr(sys, "argv", [*command, "--batch", "1", "--steps", "2", "--busy", "0"])
    monkeypatch.setattr(engine, "CHANGES", 2)
    story = functools.partial(engine.story, times=1)

    def short(model):
        model.defaults = dataclasses.replace(model.defaults, steps=2)
        return story(model)

    monkeypatch.setattr(engine, "story", short)
    threads = torch.get_num_threads()
    try:
        with inductor.patch({"cpp.enable_kernel_profile": False}):
            engine.main()
    finally:
        torch.set_num_threads(threads)
    printed = capsys.readouterr().out
    for part in ("ms of wall time inside those", "The floor: ", " a second\n", "Change of a block", "A story of 128"):
        assert part in printed
    assert "busy processes" not in printed and "batch 32" not in printed

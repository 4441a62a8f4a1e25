"""Compiled pieces give the velocities of operators, and where they cannot, operators it is.

Here torch traces the pieces and runs what it has traced. What Inductor makes of that takes longer to compile than all
of these tests, and is compared with the operators wherever it is loaded.
"""

import copy
import dataclasses
from types import SimpleNamespace

import pytest
import torch
from torch._inductor import config as inductor

from coladlm.networks import compiled_pieces as module
from coladlm.networks.compiled_pieces import CompiledPieces, compiled_pieces, disagreement, most_disagreement
from coladlm.rounding import dit_to_int8
from coladlm.sampling import form
from coladlm.sampling.form import choose_form

PROMPTS = ["Once upon a time, a dog", "The cat", ""]


@pytest.fixture
def own(model):
    """The small random model with a DiT of its own, which a test may change."""
    one = copy.copy(model)
    one.dit = copy.deepcopy(model.dit)
    one.sampler = copy.copy(model.sampler)
    one.sampler.dit = one.dit
    return one


@pytest.mark.parametrize(("dtype", "backend"), [(torch.float32, "eager"), (torch.bfloat16, "eager")])
def test_traced_pieces_have_the_velocities_of_operators(model, dtype, backend):
    dit = copy.deepcopy(model.dit)
    for layer in module._products(dit):
        layer.to(dtype)
    for part in (dit.txt_in, dit.txt_out):
        part.to(dtype)
    pieces = CompiledPieces(dit, backend)
    for rows, guided in ((1, True), (3, False), (3, True)):
        assert disagreement(dit, pieces, rows, guided) <= most_disagreement(dit)
    assert dit.pieces is None  # it only tried them


@pytest.mark.parametrize("changes", [
    pytest.param({"guidance": 2.0, "stagger": 0.5}, id="guided, one after another"),
    pytest.param({"guidance": 1.0, "stagger": 0.0}, id="unguided, at once"),
    pytest.param({"guidance": 2.0, "solver": "heun", "block_size": 2}, id="two velocities a step, small blocks"),
])  # fmt: skip
def test_runs_with_traced_pieces_have_the_texts_of_runs_without(own, changes):
    settings = dataclasses.replace(own.defaults, steps=3, max_new_tokens=12, **changes)
    wanted = own.generate(PROMPTS, settings)
    asked = []
    own.dit.pieces = CompiledPieces(own.dit, "eager")
    hidden = own.dit.pieces.hidden
    own.dit.pieces.hidden = lambda *given: asked.append(1) or hidden(*given)
    assert own.generate(PROMPTS, settings) == wanted
    assert asked


def test_without_a_compiler_layers_run_as_operators_and_the_log_says_so(own, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))  # or it takes what it compiled before
    torch.compiler.reset()
    with inductor.patch({"cpp.cxx": (None, "no-such-compiler"), "fx_graph_cache": False}):
        choose_form(own.sampler, compiled=True)
    assert own.dit.pieces is None
    (line,) = [record.message for record in caplog.records if record.name == module.__name__]
    assert line.startswith("Layers are not compiled and run one operator after another: ") and "compiler" in line


def test_layers_of_other_numbers_are_not_compiled(own, caplog):
    dit_to_int8(own.dit, torch.float32)
    assert compiled_pieces(own.dit, "eager") is None
    assert "layers are Int8Linear, expected Linear" in caplog.text


def test_pieces_that_differ_are_dropped(model, monkeypatch, caplog):
    found = iter([0.0, float("nan"), 0.0, 0.0])
    monkeypatch.setattr(module, "disagreement", lambda *given: next(found))
    assert compiled_pieces(model.dit, "eager") is None
    assert "Compiled layers are off by 0.0e+00, nan, 0.0e+00, 0.0e+00, expected at most" in caplog.text


def test_what_cannot_be_compiled_anew_in_a_run_goes_on_as_operators(own, caplog):
    settings = dataclasses.replace(own.defaults, steps=3, max_new_tokens=12)
    wanted = own.generate(PROMPTS, settings)

    def fails(*given):
        raise RuntimeError("no space left")

    own.dit.pieces = CompiledPieces(own.dit, fails)
    assert own.generate(PROMPTS, settings) == wanted
    (line,) = [record.message for record in caplog.records if record.name == module.__name__]
    assert line.startswith("Layers could not be compiled anew") and "no space left" in line


def test_blocks_of_one_position_alone_run_as_operators(own):
    """A compiler makes code of its own for a length of 1, in the middle of a run."""
    own.dit.pieces = CompiledPieces(own.dit, "eager")
    own.dit.pieces.compiled_hidden = None  # nobody calls it
    settings = dataclasses.replace(own.defaults, steps=2, max_new_tokens=4, guidance=1.0, block_size=1)
    assert len(own.generate(PROMPTS, settings)) == len(PROMPTS)


class Clock:
    """A clock for the measurement of forms: how long a step takes, by what it is made of."""

    def __init__(self, sampler, seconds) -> None:
        self.sampler, self.seconds, self.now = sampler, seconds, 0.0

    def __call__(self) -> float:
        self.now += self.seconds[self.sampler.dit.pieces is not None, self.sampler.graphs is not None]
        return self.now


@pytest.mark.parametrize("fastest", [(False, False), (False, True), (True, False), (True, True)])
def test_on_a_gpu_the_fastest_of_all_forms_is_taken(own, monkeypatch, fastest):
    monkeypatch.setattr(form, "GRAPH_DEVICES", ("cpu",))
    plain = SimpleNamespace(hidden=lambda *given: type(own.dit).hidden(without, *given))
    without = copy.copy(own.dit)
    monkeypatch.setattr(form, "compiled_pieces", lambda dit: plain)
    times = {(pieces, captured): 2.0 for pieces in (False, True) for captured in (False, True)} | {fastest: 1.0}
    choose_form(own.sampler, clock=Clock(own.sampler, times))
    assert (own.dit.pieces is not None, own.sampler.graphs is not None) == fastest


def test_on_a_processor_nothing_is_compiled_unless_it_is_asked_for(own, monkeypatch):
    asked = []
    monkeypatch.setattr(form, "compiled_pieces", asked.append)
    for wanted in (None, False):
        choose_form(own.sampler, compiled=wanted)
    assert asked == []
    with pytest.raises(ValueError, match="compiled is True and form is 'graph' on cpu, expected one of them"):
        choose_form(own.sampler, "graph", compiled=True)

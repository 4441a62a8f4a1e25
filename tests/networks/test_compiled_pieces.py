"""Compiled pieces give the velocities of operators, and where they cannot, operators it is.

Here torch traces the pieces and runs what it has traced; Inductor, which takes longest, compiles one kernel, where
there is a C++ compiler. All of them are compared with the operators wherever they are loaded.
"""

import copy
import dataclasses
import shutil
from types import SimpleNamespace

import pytest
import torch

from coladlm import SamplerSettings, Step
from coladlm.networks import compiled_pieces as module
from coladlm.networks.compiled_pieces import CompiledPieces, compiled_pieces, disagreement, most_disagreement
from coladlm.rounding import dit_to_int8
from coladlm.sampling import form
from coladlm.sampling.capture import as_one, tape
from coladlm.sampling.form import choose_form
from coladlm.sampling.graph import GraphEngine

PIECES = 3  # the first, that between two attentions, and the last
PROMPTS = ["Once upon a time, a dog", "The cat", ""]


def with_own_dit(model):
    one = copy.copy(model)
    one.dit = copy.deepcopy(model.dit)
    one.sampler = copy.copy(model.sampler)
    one.sampler.dit = one.dit
    return one


@pytest.fixture
def own(model):
    """The small random model with a DiT of its own, which a test may change."""
    return with_own_dit(model)


@pytest.fixture(scope="module")
def traced(model):
    """The same for some tests, with traced pieces. asked: what counts the steps that they take; graphs: all that were
    traced for them.
    """
    one, asked, graphs = with_own_dit(model), [], []

    def as_it_is(graph, inputs):  # as "eager"
        graphs.append(graph)
        return graph.forward

    pieces = one.dit.pieces = CompiledPieces(one.dit, as_it_is, as_one)
    last = pieces.last
    pieces.last = as_one(lambda *given: asked.append(1) or last(*given))
    return SimpleNamespace(model=one, pieces=pieces, asked=asked, graphs=graphs)


def graphs_traced() -> int:
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


def has_compiler() -> bool:
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        return shutil.which(get_cpp_compiler()) is not None
    except InvalidCxxCompiler:
        return False


def assert_velocities_of_operators(dit, pieces):
    """For any number of rows and threads."""
    threads = torch.get_num_threads()
    try:
        for rows, guided in ((2, True), (1, True), (3, False), (3, True)):
            torch.set_num_threads(1 + rows % 2)  # as the tuner does
            assert disagreement(dit, pieces, rows, guided) <= most_disagreement(dit)
    finally:
        torch.set_num_threads(threads)


def test_traced_once_pieces_have_the_velocities_of_operators_for_any_rows(traced):
    assert_velocities_of_operators(traced.model.dit, traced.pieces)
    assert len(traced.graphs) == PIECES


def test_traced_once_pieces_in_bfloat16_have_the_velocities_of_operators_for_any_rows(own):
    for layer in module._products(own.dit):
        layer.to(torch.bfloat16)
    pieces, before = CompiledPieces(own.dit, "eager"), graphs_traced()
    assert_velocities_of_operators(own.dit, pieces)
    assert graphs_traced() - before == PIECES
    assert own.dit.pieces is None  # it only tried them


def test_with_what_inductor_compiles_the_golden_answers_hold(own, golden, golden_settings, tmp_path, monkeypatch):
    """Of one kernel, in which queries, keys and values are normed, turned and written: more take too long here."""
    from torch._inductor import config as inductor

    if not has_compiler():
        pytest.skip("there is no C++ compiler: the load says so and runs operators")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    pieces = CompiledPieces(own.dit, "eager")
    put = module._compiled(module._put, "inductor")

    def of_any_length(qkv, *given):
        torch._dynamo.maybe_mark_dynamic(qkv, 0)  # as what the whole pieces are given
        put(qkv, *given)

    monkeypatch.setattr(module, "_put", of_any_length)
    pieces.first, pieces.between, pieces.last = module._first, module._between, module._last
    quickly = {
        "cpp.vec_isa_ok": False,
        "cpp_cache_precompile_headers": False,
        "fx_graph_cache": False,
        "compile_threads": 1,
    }
    settings = SamplerSettings(
        steps=golden_settings["timestep_num"], guidance=golden_settings["guidance_scale"],
        max_new_tokens=golden_settings["max_new_tokens"], temperature=golden_settings["temperature"],
        repetition_penalty=golden_settings["repetition_penalty"],
    )  # fmt: skip
    before = graphs_traced()
    with inductor.patch(quickly):  # all along: with other options it would be compiled once more
        assert 0 < disagreement(own.dit, pieces, 2, True) <= most_disagreement(own.dit)
        pieces.deadline, own.dit.pieces = None, pieces
        *_, finished = events = list(own.sample(golden_settings["prompts"], settings, noise=golden["sample.noise"]))
    assert graphs_traced() - before == 1
    assert finished.texts == golden_settings["generated"]
    for event in (event for event in events if isinstance(event, Step)):
        for found, name in ((event.conditional, "cond"), (event.unconditional, "uncond")):
            wanted = golden[f"sample.velocity_{name}"][event.block, event.index]
            torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


@pytest.fixture(scope="module", params=[
    pytest.param({"guidance": 2.0, "stagger": 0.5}, id="guided, one after another"),
    pytest.param({"guidance": 1.0, "stagger": 0.0}, id="unguided, at once"),
    pytest.param({"guidance": 2.0, "solver": "heun", "block_size": 1}, id="two velocities a step, single positions"),
])  # fmt: skip
def plain(request, model):
    """Runs of operators with some settings: their texts, and the steps of the first."""
    settings = dataclasses.replace(model.defaults, steps=2, max_new_tokens=8, **request.param)
    runs = [list(model.sample(prompts, settings)) for prompts in (PROMPTS, PROMPTS[:1])]
    steps = sum(isinstance(event, Step) for event in runs[0])
    return SimpleNamespace(settings=settings, texts=[events[-1].texts for events in runs], steps=steps)


@pytest.mark.parametrize("captured", [False, True], ids=["eager", "captured"])
def test_runs_with_traced_pieces_have_the_texts_of_runs_without(plain, traced, captured):
    traced.asked.clear()
    traced.model.sampler.graphs = GraphEngine(traced.model.dit, tape) if captured else None
    for prompts, texts in zip((PROMPTS, PROMPTS[:1]), plain.texts, strict=True):
        assert traced.model.generate(prompts, plain.settings) == texts
    assert len(traced.asked) >= plain.steps  # on a tape, for each replay
    assert not traced.model.dit.pieces.broken
    assert len(traced.graphs) == PIECES  # whatever the rows, the blocks and the times


def test_a_tape_replays_what_is_noted_as_one_with_its_writes():
    x, out, seen = torch.arange(4.0), torch.zeros(4), []

    def add_squares(x, out):
        seen.append(1)
        return out.add_(x * x).sum()

    total = torch.zeros(())

    def step() -> None:
        total.copy_(2 * as_one(add_squares)(x, out))

    replay = tape(step)
    assert (total, seen) == (28, [1])
    x.add_(1)
    replay()
    assert out.tolist() == [1, 5, 13, 25]
    assert (total, seen) == (88, [1, 1])


def test_without_a_compiler_layers_run_as_operators_and_the_log_says_so(own, tmp_path, monkeypatch, caplog):
    from torch._inductor import config as inductor

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))  # or it takes what it compiled before

    def first(z, weight, bias, *given):  # a short one: it is turned into C++ before anybody looks for a compiler
        return z + 1

    monkeypatch.setattr(module, "_first", first)
    with inductor.patch({"cpp.cxx": (None, "no-such-compiler"), "fx_graph_cache": False}):
        choose_form(own.sampler, compiled=True)
    assert own.dit.pieces is None
    (line,) = [record.message for record in caplog.records if record.name == module.__name__]
    assert line.startswith("The layers of a step are not compiled and run one operator after another: ")
    assert "compiler" in line


def test_what_cannot_be_compiled_anew_runs_as_operators_from_then_on(own, caplog):
    """Something that no compiled code fits, and a compiler that has gone."""
    settings = dataclasses.replace(own.defaults, steps=3, max_new_tokens=8)
    wanted = own.generate(PROMPTS, settings)

    def gone(*given):
        raise torch._dynamo.exc.TorchRuntimeError("no space left on device")

    pieces = own.dit.pieces = CompiledPieces(own.dit, "eager")
    pieces.deadline, pieces.between = None, gone
    assert own.generate(PROMPTS, settings) == wanted
    assert pieces.broken
    assert caplog.text.count("could not be compiled anew and run one operator after another: no space left") == 1


def test_compiling_ends_where_it_takes_too_long(own, caplog):
    assert compiled_pieces(own.dit, "eager", seconds=-1.0) is None
    assert "not compiled and run one operator after another: it takes too long" in caplog.text


def test_layers_of_other_numbers_are_not_compiled(own, caplog):
    dit_to_int8(own.dit, torch.float32)
    assert compiled_pieces(own.dit, "eager") is None
    assert "int8 weights cannot be compiled" in caplog.text


@pytest.mark.parametrize(("off", "shown"), [(0.5, "5.0e-01"), (float("nan"), "nan")])
def test_pieces_that_differ_are_dropped(model, monkeypatch, caplog, off, shown):
    monkeypatch.setattr(module, "disagreement", lambda dit, pieces, rows, guided: 0.0 if rows == 2 else off)
    assert compiled_pieces(model.dit, "eager") is None
    assert f"The compiled layers of a step are off by {shown}, expected at most" in caplog.text


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
    limits = []
    plain = SimpleNamespace(predict=lambda *given: None)
    monkeypatch.setattr(form, "compiled_pieces", lambda dit, seconds, noted: limits.append(seconds) or plain)
    times = {(pieces, captured): 2.0 for pieces in (False, True) for captured in (False, True)} | {fastest: 1.0}
    choose_form(own.sampler, clock=Clock(own.sampler, times))
    assert (own.dit.pieces is not None, own.sampler.graphs is not None) == fastest
    assert limits == [form.COMPILE_SECONDS]


def test_on_a_processor_nothing_is_compiled_unless_it_is_asked_for(own, monkeypatch):
    asked = []
    monkeypatch.setattr(form, "compiled_pieces", lambda dit, seconds, noted: asked.append(seconds))
    for wanted in (None, False):
        choose_form(own.sampler, compiled=wanted)
    assert asked == []
    choose_form(own.sampler, compiled=True)
    assert asked == [float("inf")]

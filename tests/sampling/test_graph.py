"""Steps as a graph, with the tape in place of a GPU's capture: what is replayed gives what eager steps give."""

import dataclasses
import logging
from typing import ClassVar

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from coladlm import BlockDone, Finished, SamplerSettings, Step
from coladlm.latent import lay_out
from coladlm.latent.invert import text_plan
from coladlm.recipe import Recipe
from coladlm.run import run
from coladlm.sampling.capture import WARM_UP, tape
from coladlm.sampling.form import choose_form
from coladlm.sampling.graph import LEAST_HISTORY, GraphEngine
from coladlm.sampling.shared_run import SharedRun

PROMPTS = ["Once upon a time there was", "The", "A little girl", "One day he said to the cat: come and"]
SHORT = SamplerSettings(steps=3, guidance=2.0, max_new_tokens=7, stop_at_end=False)


class CountingTape:
    """The tape, and how many functions it has captured and how often one was replayed."""

    def __init__(self) -> None:
        self.captures = self.replays = 0

    def __call__(self, function):
        replay = tape(function)
        self.captures += 1

        def counted() -> None:
            self.replays += 1
            replay()

        return counted


@pytest.fixture
def graphs(model, monkeypatch) -> CountingTape:
    """The model steps by graphs."""
    counting = CountingTape()
    monkeypatch.setattr(model.sampler, "graphs", GraphEngine(model.dit, counting))
    return counting


def eager(model, *arguments):
    """The events of a run without graphs."""
    engine, model.sampler.graphs = model.sampler.graphs, None
    try:
        return list(model.sample(*arguments))
    finally:
        model.sampler.graphs = engine


def check(found: list, wanted: list) -> None:
    """The same events with the same tensors up to rounding, and the same tokens."""
    assert [type(event) for event in found] == [type(event) for event in wanted]
    for a, b in zip(found, wanted, strict=True):
        if isinstance(a, Finished):
            assert a == b
            continue
        for field in dataclasses.fields(a):
            x, y = getattr(a, field.name), getattr(b, field.name)
            if isinstance(x, torch.Tensor):
                torch.testing.assert_close(x, y, atol=1e-4, rtol=1e-4, msg=lambda m, name=field.name: f"{name}: {m}")
            elif field.name != "decode":
                assert x == y, field.name


CHANGES = [
    {},
    {"solver": "heun"},
    {"solver": "midpoint", "stagger": 0.5},
    {"stagger": 1.0, "stochasticity": 0.4},
    {"stochasticity": 1.0, "history": "reencoded"},
    {"guidance": 1.0},
    {"guidance_interval": (0.0, 500.0)},
    {"time_grid": "cosine", "guidance_interval": (300.0, 1000.0), "stagger": 0.5},
    {"block_size": 1},
    {"block_size": 8, "stagger": 0.5, "history": "reencoded"},
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_replayed_steps_are_the_eager_ones(model, graphs, change):
    settings = dataclasses.replace(SHORT, **change)
    for prompts in (PROMPTS[:1], PROMPTS):
        check(list(model.sample(prompts, settings)), eager(model, prompts, settings))
    assert graphs.replays > 2 * settings.steps


def test_a_capture_looks_up_nothing_that_another_run_has_left(model, graphs):
    """The first run leaves its places in the table behind, and a cache with room for the second one, whose longer
    history is captured. Both begin with a block that a part of the prompt stands in.
    """
    for prompt, tokens in ((PROMPTS[0], 40), (" ".join(PROMPTS)[:60], 10)):
        settings = dataclasses.replace(SHORT, steps=1, max_new_tokens=tokens)
        assert len(model.tokenize(prompt)) % model.block_size
        check(list(model.sample([prompt], settings)), eager(model, [prompt], settings))


def test_spare_rows_look_up_nothing_that_another_run_has_left(model, graphs):
    """Four rows with many times, and then three with few: the fourth row is still computed."""
    text = "One day a little girl found a needle in her room."
    for steps, strengths in ((10, [0.2, 0.4, 0.6, 0.8]), (15, [0.3, 0.6, 0.9])):
        options = {"start": 4, "end": 9, "method": "renoise", "strengths": strengths}
        recipe = Recipe("edit", (text,), dataclasses.replace(SHORT, steps=steps), options=options)
        assert isinstance(list(run(model, recipe))[-1], Finished)


def test_a_form_is_captured_once_and_replayed_in_every_later_run(model, graphs):
    model.generate(PROMPTS[:3], SHORT)
    captures = graphs.captures
    assert graphs.replays > captures
    replays, runs = graphs.replays, 3
    for seed in range(1, 1 + runs):  # another seed, guidance, noise: the same graph
        model.generate(PROMPTS[:3], dataclasses.replace(SHORT, seed=seed, guidance=3.0))
    assert graphs.captures == captures
    assert graphs.replays == (1 + runs) * replays


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_a_longer_history_is_captured_where_the_last_block_has_ended(model, monkeypatch, steps):
    """The buffers have room for a power of two of steps, and a GPU runs a step some times before it captures it."""

    def warmed_up(function):
        for _ in range(WARM_UP):
            function()
        return tape(function)

    monkeypatch.setattr(model.sampler, "graphs", GraphEngine(model.dit, warmed_up))
    tokens = (LEAST_HISTORY + 2) * model.block_size * model.patch_size
    settings = dataclasses.replace(SHORT, steps=steps, max_new_tokens=tokens, stochasticity=0.5)
    check(list(model.sample(PROMPTS[:1], settings)), eager(model, PROMPTS[:1], settings))
    histories = {form.history for form in model.sampler.graphs._graphs}
    assert len(histories) > 1


def test_a_step_is_two_calls_of_the_host(model, graphs):
    class Watch(TorchDispatchMode):
        calls: ClassVar[list[str]] = []

        @classmethod
        def _should_skip_dynamo(cls):
            return False

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            name = func._schema.name.removeprefix("aten::")
            if name not in ("select", "slice", "unbind", "view", "transpose", "alias"):  # views
                self.calls.append(name)
            return func(*args, **(kwargs or {}))

    model.sampler.graphs = GraphEngine(model.dit, lambda function: lambda: Watch.calls.append("replay"))
    events = model.sample(PROMPTS[:2], dataclasses.replace(SHORT, steps=8))
    for _ in range(3):
        next(events)
    Watch.calls.clear()
    with Watch():
        for _ in range(4):
            next(events)
    events.close()
    assert Watch.calls == ["replay", "clone"] * 4


def test_events_that_were_kept_do_not_change(model, graphs):
    steps = [event for event in model.sample(PROMPTS[:2], SHORT) if isinstance(event, Step)]
    wanted = [event for event in eager(model, PROMPTS[:2], SHORT) if isinstance(event, Step)]
    check(steps, wanted)


def test_a_preview_in_between_does_not_disturb_the_steps(model, graphs):
    texts = []
    for event in model.sample(PROMPTS[:2], SHORT):
        if isinstance(event, Step):
            event.preview()
        elif isinstance(event, Finished):
            texts = event.texts
    assert texts == eager(model, PROMPTS[:2], SHORT)[-1].texts


def test_whoever_joins_and_leaves_gets_the_text_it_gets_alone(model, graphs):
    settings = dataclasses.replace(SHORT, stagger=0.5, stochasticity=0.3)
    lengths = [14, 6, 18, 9]
    own = [dataclasses.replace(settings, max_new_tokens=length, seed=length) for length in lengths]
    alone = [eager(model, [prompt], mine)[-1].texts for prompt, mine in zip(PROMPTS, own, strict=True)]
    shared = SharedRun(model.sampler, settings)
    plans = [dataclasses.replace(model.plan(prompt, mine), settings=mine)
             for prompt, mine in zip(PROMPTS, own, strict=True)]  # fmt: skip
    groups = [shared.join(plans[:1])]
    for turn in range(200):
        if turn in (2, 5, 9):
            groups.append(shared.join([plans[len(groups)]]))
        if turn == 7:  # leaves in the middle of a block
            left = shared.join([model.plan(PROMPTS[1], own[0])])
        if turn == 12:
            shared.leave(left)
        shared.advance()
        if len(groups) == len(plans) and all(group.finished for group in groups):
            break
    assert [group.texts for group in groups] == alone
    assert graphs.replays > 10
    shared.close()
    assert model.sampler.graphs.borrower is None


def test_a_second_run_steps_eagerly_while_the_first_has_the_engine(model, graphs):
    wanted = eager(model, PROMPTS[:2], SHORT)
    first = model.sample(PROMPTS[:2], SHORT)
    seen = [next(first) for _ in range(2)]
    replays = graphs.replays
    check(list(model.sample(PROMPTS[:2], SHORT)), wanted)
    assert graphs.replays == replays
    check([*seen, *first], wanted)
    assert graphs.replays > replays
    assert model.sampler.graphs.borrower is None


def test_what_cannot_be_captured_is_stepped_eagerly_and_said_once(model, monkeypatch, caplog):
    def fails(function):
        raise RuntimeError("operation not permitted when stream is capturing")

    engine = GraphEngine(model.dit, fails)
    monkeypatch.setattr(model.sampler, "graphs", engine)
    with caplog.at_level(logging.WARNING, logger="coladlm.sampling.graph"):
        for _ in range(2):
            check(list(model.sample(PROMPTS[:2], SHORT)), eager(model, PROMPTS[:2], SHORT))
        model.generate(PROMPTS[:2], dataclasses.replace(SHORT, block_size=1))  # which has an engine of its own
    assert [record.getMessage().count("cannot be captured") for record in caplog.records] == [1]
    assert "not permitted" in caplog.text


@pytest.mark.parametrize("hidden", [False, True], ids=["out of memory", "an error after it"])
def test_a_capture_without_memory_is_tried_again_with_the_next_block(model, monkeypatch, caplog, hidden):
    failed = []

    def captured(function):
        if not failed:
            failed.append(1)
            try:
                raise torch.OutOfMemoryError("CUDA out of memory")
            finally:
                if hidden:
                    raise RuntimeError("the capture was invalidated")
        return tape(function)

    engine = GraphEngine(model.dit, captured)
    monkeypatch.setattr(model.sampler, "graphs", engine)
    check(list(model.sample(PROMPTS[:2], SHORT)), eager(model, PROMPTS[:2], SHORT))
    assert "no memory to capture" in caplog.text
    assert engine._graphs and not engine.broken


def test_an_engine_keeps_so_many_graphs_and_engines_for_other_blocks(model, graphs, monkeypatch):
    monkeypatch.setattr("coladlm.sampling.graph.MOST_GRAPHS", 3)
    engine = model.sampler.graphs
    for steps in (2, 4, 8):
        settings = dataclasses.replace(SHORT, steps=steps)
        check(list(model.sample(PROMPTS[:1], settings)), eager(model, PROMPTS[:1], settings))
        assert len(engine._graphs) <= 3 + 1  # a block has two forms, with guidance and without
        assert {graph.buffers for graph in engine._graphs.values()} <= set(engine._buffers.values())
    assert graphs.captures > 4
    for size in (1, 2, 8, 12):
        model.generate(PROMPTS[:1], dataclasses.replace(SHORT, block_size=size))
    assert list(engine._others) == [8, 12]


def test_in_bfloat16_both_forms_are_as_near_to_float32(model, golden_folder):
    """A sum over more places, padded ones among them, is rounded to another neighbour here and there, so in bfloat16
    the two forms are not the same to the last bit, and texts can part. Each is as far from float32 as the other, and no
    farther from each other than two independent roundings.
    """
    rounded = type(model).from_pretrained(golden_folder, device="cpu", dtype="bfloat16")
    settings = dataclasses.replace(SHORT, max_new_tokens=2)
    prompts = [(prompt + " ") * 14 for prompt in PROMPTS]

    def velocities(of, form):
        """Those of the first step, from the same noise."""
        choose_form(of.sampler, form)
        return next(of.sample(prompts, settings)).velocity

    exact, eagerly, replayed = velocities(model, "eager"), velocities(rounded, "eager"), velocities(rounded, "graph")
    own = (eagerly - exact).norm()
    assert 0 < own < 0.05 * exact.norm()
    assert (replayed - exact).norm() < 1.5 * own
    assert (replayed - eagerly).norm() < 1.5 * own


def test_settled_words_are_watched_eagerly(model, graphs):
    settings = dataclasses.replace(SHORT, stop_when_settled=1)
    check(list(model.sample(PROMPTS[:2], settings)), eager(model, PROMPTS[:2], settings))
    assert graphs.replays == 0


def test_a_tape_writes_where_its_function_wrote_and_makes_no_choice_again():
    x, out, asked = torch.arange(4.0), torch.zeros(4), []

    def double() -> None:
        asked.append(1)
        out.copy_((x.view(2, 2) * 2 + x.view(2, 2)).flatten())

    replay = tape(double)
    x.add_(1)
    replay()
    assert out.tolist() == [3, 6, 9, 12]
    assert len(asked) == 1


def test_inversion_is_replayed_too(model, graphs):
    plan = text_plan(model, lay_out(model, [model.tokenize(PROMPTS[0])])[0])
    found = [event.latents for event in model.run_plans([plan], SHORT, invert=True) if isinstance(event, BlockDone)]
    assert graphs.replays > 0
    model.sampler.graphs = None
    wanted = [event.latents for event in model.run_plans([plan], SHORT, invert=True) if isinstance(event, BlockDone)]
    torch.testing.assert_close(torch.cat(found), torch.cat(wanted), atol=1e-5, rtol=1e-4)


class Clock:
    """A clock for the measurement of forms: a step takes so long, by whether it is replayed."""

    def __init__(self, model, eager: float, graph: float) -> None:
        self.model, self.eager, self.graph, self.now = model, eager, graph, 0.0

    def __call__(self) -> float:
        self.now += self.eager if self.model.sampler.graphs is None else self.graph
        return self.now


@pytest.mark.parametrize(("eager_step", "graph_step"), [(2.0, 1.0), (1.0, 2.0)])
def test_on_a_gpu_the_faster_form_is_taken(model, monkeypatch, eager_step, graph_step):
    monkeypatch.setattr(model.sampler, "graphs", None)
    monkeypatch.setattr("coladlm.sampling.form.GRAPH_DEVICES", ("cpu",))
    choose_form(model.sampler, "auto", compiled=False, clock=Clock(model, eager_step, graph_step))
    assert (model.sampler.graphs is not None) == (graph_step < eager_step)


def test_a_form_may_be_asked_for(model, monkeypatch):
    monkeypatch.setattr(model.sampler, "graphs", None)
    choose_form(model.sampler, "graph")
    assert model.sampler.graphs is not None
    for form in ("eager", "auto"):  # a processor gains nothing from a tape
        choose_form(model.sampler, form)
        assert model.sampler.graphs is None
    with pytest.raises(ValueError, match="form is 'fast', expected one of auto, eager, graph"):
        choose_form(model.sampler, "fast")
    with pytest.raises(ValueError, match="compiled is 'yes', expected True, False or None"):
        choose_form(model.sampler, "eager", "yes")
